package bus

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// StopCalls takes no more calls, and returns when those that were taken are handled. Calls
// that still wait for their turn after limit are refused with ShuttingDown and logged. Calls
// that are being handled have as long again; then StopCalls returns without them.
func (b *Bus) StopCalls(limit time.Duration) {
	left := make(chan []*wire.Message, 1)
	waiting := time.AfterFunc(limit, func() { left <- b.queue.abandon() })
	held := time.AfterFunc(2*limit, b.queue.drop)
	defer held.Stop()
	b.queue.stop()
	if waiting.Stop() {
		return
	}
	var calls, silent int
	for _, m := range <-left {
		calls++
		if m.Flags&wire.FlagNoReply != 0 {
			silent++
			m.Clear()
			continue
		}
		b.refuse(m, hub.ErrClosed)
	}
	if calls > 0 {
		b.config.Log.Warn("calls are not handled: there is no time for them while stopping",
			slog.Int("calls", calls), slog.Int("without_reply", silent))
	}
}

// Confirm returns once the bus has taken everything that was queued with Signals before: it
// has answered a call that was sent behind it.
func (b *Bus) Confirm(ctx context.Context) error {
	_, err := b.call(ctx, "GetId", "", nil)
	return err
}

// errLeft says that nothing more is written, because Leave has closed that way.
var errLeft = errors.New("bus: left")

// Leave gives up the name, and waits until the bus has taken all that was queued: it has
// answered, and has read to the end of what we wrote. Then the session has ended.
func (b *Bus) Leave(ctx context.Context) error {
	defer b.logLate()
	b.mu.Lock()
	b.leaving = true
	b.mu.Unlock()
	_, err := b.call(ctx, "ReleaseName", "s", func(e *wire.Encoder) { e.String(b.config.Name) })
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { b.GiveUp(ctx.Err()) })
	defer stop()
	if err := b.out.flush(); err != nil {
		return err
	}
	b.out.close(errLeft)
	if err := b.conn.CloseWrite(); err != nil {
		return err
	}
	<-b.Done()
	return ctx.Err()
}

// logLate tells the log of calls that came while stopping and wanted no reply: nobody else
// hears that they were refused.
func (b *Bus) logLate() {
	b.mu.Lock()
	late := b.late
	b.mu.Unlock()
	if late > 0 {
		b.config.Log.Warn("calls are not handled: they came while stopping, and want no reply", slog.Uint64("calls", late))
	}
}
