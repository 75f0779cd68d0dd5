package dbusapi

import (
	"context"
	"errors"
	"time"

	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// emitBatch is how many signals are put into the outbox at a time.
const emitBatch = 64

// emit sends the events of a subscription as signals over c until ctx is done or
// the connection is lost, whose error it returns. A bus that is slow makes it lag;
// what it could not send in time it tells with the signal Lapped.
func (s *Service) emit(ctx context.Context, c *conn) error {
	var buf [emitBatch]*hub.Event
	for ctx.Err() == nil {
		s.lapses.tell(s.log, time.Now())
		bound, cancel := s.lapses.bound(ctx)
		n, err := s.sub.Next(bound, buf[:])
		cancel()
		var lapped *hub.LappedError
		switch {
		case errors.As(err, &lapped):
			s.lapses.add(lapped)
			s.lapses.tell(s.log, time.Now()) // the bus may take it late
			err = s.emitLapped(c, lapped)
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			err = nil // the log is to be told
		case err == nil:
			err = s.emitEvents(c, buf[:n])
		}
		if err != nil {
			return err
		}
		clear(buf[:n])
	}
	return ctx.Err()
}

func (s *Service) emitEvents(c *conn, events []*hub.Event) error {
	h := wire.Header{Type: wire.TypeSignal, Path: Path, Interface: Interface, Member: "Event", Signature: wire.EventType}
	return c.out.addSignals(func(e *wire.Encoder) {
		for _, event := range events {
			h.Serial = 0
			c.append(e, &h, func(e *wire.Encoder) {
				e.Bytes = append(e.Bytes, event.Encoding(wire.EncodeEvent)...)
			})
			c.out.mark(e, event.Seq)
		}
	})
}

func (s *Service) emitLapped(c *conn, lapped *hub.LappedError) error {
	h := wire.Header{Type: wire.TypeSignal, Path: Path, Interface: Interface, Member: "Lapped", Signature: "tt"}
	return c.out.addSignals(func(e *wire.Encoder) {
		c.append(e, &h, func(e *wire.Encoder) {
			e.Uint64(lapped.First)
			e.Uint64(lapped.Last)
		})
		c.out.mark(e, lapped.Last)
	})
}

// drain sends what is left, after everything that makes events has stopped, and
// waits until it is on the socket. What is not even in the outbox by then it tells with the
// signal Lapped: who listens is not to miss in silence what there was no time for.
func (s *Service) drain(c *conn, by time.Time) error {
	var buf [emitBatch]*hub.Event
	for time.Now().Before(by) {
		n, err := s.sub.Poll(buf[:])
		var lapped *hub.LappedError
		switch {
		case errors.As(err, &lapped):
			s.lapses.add(lapped)
			err = s.emitLapped(c, lapped)
		case n > 0:
			err = s.emitEvents(c, buf[:n])
		case err == nil, errors.Is(err, hub.ErrClosed):
			return c.out.flushSignals()
		}
		if err != nil {
			return err
		}
	}
	if lapped := s.sub.Skip(); lapped != nil {
		s.lapses.add(lapped)
		if err := s.emitLapped(c, lapped); err != nil {
			return err
		}
	}
	return c.out.flushSignals()
}
