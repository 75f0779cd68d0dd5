package dbusapi

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/osctl/eventd/dbusapi/bus"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// emitBatch is the number of signals that are queued at a time.
const emitBatch = 64

// emitter sends events as signals, across sessions. It is one goroutine with one subscription. If the
// bus is so slow that the history drops unsent events, the emitter sends Lapped and continues at the
// middle of the history, so that it is not lapped again at once.
//
// Events pass four positions: read (the position of sub), queued (queued), written to the socket
// (bus.Written) and confirmed by the bus (confirmedSeq). None is ahead of the one before it.
type emitter struct {
	sub          *hub.Subscription
	log          *slog.Logger
	lapses       lapses
	start        uint64        // number of the last event before this session
	queued       atomic.Uint64 // number of the last event whose signal was queued
	confirmedSeq atomic.Uint64 // number of the last event whose signal the bus confirmed
}

func newEmitter(h *hub.Hub, log *slog.Logger) (*emitter, error) {
	sub, err := h.Subscribe(hub.Filter{}, "")
	if err != nil {
		return nil, err
	}
	e := &emitter{sub: sub, log: log}
	e.startSession()
	e.queued.Store(e.start)
	e.confirmedSeq.Store(e.start)
	return e, nil
}

// startSession records the start of a session.
func (e *emitter) startSession() { _, e.start = e.sub.Position() }

// rewind goes back to the first signal that was not written completely, to send it over the next
// connection.
func (e *emitter) rewind(written uint64) {
	at := max(e.start, written)
	e.sub.Rewind(at)
	e.queued.Store(at)
}

// confirmed returns the number of the last event whose signal the bus confirmed.
func (e *emitter) confirmed() uint64 { return e.confirmedSeq.Load() }

// run sends signals until ctx is done or the bus is lost.
func (e *emitter) run(ctx context.Context, b *bus.Bus) error {
	var buf [emitBatch]*hub.Event
	for ctx.Err() == nil {
		e.lapses.logIfDue(e.log, time.Now())
		bound, cancel := e.lapses.untilDue(ctx)
		n, err := e.sub.Next(bound, buf[:])
		cancel()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			continue // a log line is due
		}
		if err := e.send(ctx, b, buf[:n], err); err != nil {
			return err
		}
		clear(buf[:n])
	}
	return ctx.Err()
}

// drain sends the remaining signals, after all sources of events have stopped, and has the bus confirm
// them. It replaces signals that are not queued when ctx is done by Lapped, so that receivers know of
// them. For that, and for the confirmation, it has until last is done.
func (e *emitter) drain(ctx, last context.Context, b *bus.Bus) error {
	var buf [emitBatch]*hub.Event
	for ctx.Err() == nil {
		n, err := e.sub.Poll(buf[:])
		if n == 0 && err == nil || errors.Is(err, hub.ErrClosed) {
			break
		}
		if err := e.send(ctx, b, buf[:n], err); err != nil && ctx.Err() == nil {
			return err
		}
	}
	if lapped := e.sub.Skip(); lapped != nil {
		if err := e.sendLapped(last, b, lapped); err != nil {
			return err
		}
	}
	return e.confirm(last, b)
}

// confirm has the bus confirm the queued signals.
func (e *emitter) confirm(ctx context.Context, b *bus.Bus) error {
	seq := e.queued.Load()
	if err := b.Confirm(ctx); err != nil {
		return err
	}
	e.confirmedSeq.Store(max(seq, e.confirmedSeq.Load()))
	return nil
}

// send queues the result of the subscription: events, or a LappedError. If that fails, it rewinds the
// subscription.
func (e *emitter) send(ctx context.Context, b *bus.Bus, events []*hub.Event, err error) error {
	var lapped *hub.LappedError
	switch {
	case errors.As(err, &lapped):
		if more := e.sub.SkipHalf(); more != nil {
			lapped.Last = more.Last
		}
		return e.sendLapped(ctx, b, lapped)
	case err != nil:
		return err
	case len(events) == 0:
		return nil
	}
	err = b.Signals(ctx, func(s *bus.Signals) {
		for _, event := range events {
			s.Add(signal("Event", wire.EventType), event.Seq, func(e *wire.Encoder) {
				e.Bytes = append(e.Bytes, event.Encoding(wire.EncodeEvent)...)
			})
		}
	})
	if err != nil {
		e.sub.Rewind(events[0].Seq - 1)
		return err
	}
	e.queued.Store(events[len(events)-1].Seq)
	return nil
}

func (e *emitter) sendLapped(ctx context.Context, b *bus.Bus, lapped *hub.LappedError) error {
	e.lapses.add(lapped)
	e.lapses.logIfDue(e.log, time.Now()) // before the bus takes the signal, which may be late
	err := b.Signals(ctx, func(s *bus.Signals) {
		s.Add(signal("Lapped", "tt"), lapped.Last, func(e *wire.Encoder) {
			e.Uint64(lapped.First)
			e.Uint64(lapped.Last)
		})
	})
	if err != nil {
		e.sub.Rewind(lapped.First - 1)
		return err
	}
	e.queued.Store(lapped.Last)
	return nil
}

func signal(member, sig string) *wire.Header {
	return &wire.Header{Path: wire.Path, Interface: wire.Interface, Member: member, Signature: sig}
}
