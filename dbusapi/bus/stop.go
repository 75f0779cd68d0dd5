package bus

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// StopCalls refuses further calls, and waits until the queued ones are handled. After limit, it refuses
// those that are still queued with ShuttingDown, and logs that. Running and held calls have the same
// time again; then StopCalls returns without them.
func (b *Bus) StopCalls(limit time.Duration) {
	left := make(chan []*wire.Message, 1)
	waiting := time.AfterFunc(limit, func() { left <- b.queue.abandon() })
	held := time.AfterFunc(2*limit, b.queue.dropHeld)
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
		b.config.Log.Warn("refused queued calls: no time is left while stopping",
			slog.Int("calls", calls), slog.Int("without_reply", silent))
	}
}

// Confirm waits until the bus has taken all queued signals: it calls the bus after them, and waits for
// the reply.
func (b *Bus) Confirm(ctx context.Context) error {
	_, err := b.call(ctx, "GetId", "", nil)
	return err
}

// errLeft is the error of the outbox after Leave.
var errLeft = errors.New("bus: left")

// Leave releases the name, waits until the bus has read all queued messages, and ends the session. It returns
// an error if the session ended otherwise.
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
	if err := b.Err(); !errors.Is(err, wire.ErrBusClosed) {
		return err
	}
	return nil
}

// logLate logs the number of calls without reply that were refused while stopping, because their
// senders do not learn of that.
func (b *Bus) logLate() {
	b.mu.Lock()
	late := b.lateCalls
	b.mu.Unlock()
	if late > 0 {
		b.config.Log.Warn("refused calls that came while stopping and want no reply", slog.Uint64("calls", late))
	}
}
