package dbusapi

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// Times of the end of a [Service].
const (
	// stopTimeout bounds the orderly end: answering, sending the last signals.
	stopTimeout = 3 * time.Second

	// backlogTimeout and drainTimeout are how much of it may go by with handling the calls
	// that were taken, and with putting signals into the outbox. What is left over then is
	// refused, or told with the signal Lapped.
	backlogTimeout = 1 * time.Second
	drainTimeout   = 2 * time.Second
)

// finish ends a session in order, with its emitter, that ends some time after cancel. It
// takes no longer than stopTimeout.
func (s *Service) finish(ss *session, cancel func(), ended <-chan error) error {
	begin := time.Now()
	timer := time.AfterFunc(stopTimeout, func() {
		ss.fail(fmt.Errorf("stopping took more than %v", stopTimeout))
	})
	defer timer.Stop()
	defer s.logLate(ss)
	ss.conn.out.hurry()
	left := ss.work.stopWithin(backlogTimeout) // from then on nothing is committed
	s.logLeft(left)
	cancel()
	<-ended //nolint:errcheck // its end was asked for
	ss.waits.close()
	if err := s.drain(ss.conn, begin.Add(drainTimeout)); err != nil {
		return err
	}
	s.refuse(ss, left)
	if err := ss.conn.bus.BusObject().CallWithContext(ss.ctx, busInterface+".ReleaseName", 0, Name).Err; err != nil {
		return ss.conn.reason(err)
	}
	return ss.conn.out.flush()
}

// logLeft tells the log of calls that were taken, as there is no time left for them. Who
// wanted no reply does not hear of it.
func (s *Service) logLeft(left []*message) {
	var calls, silent int
	for _, m := range left {
		switch {
		case m.Type != wire.TypeCall: // says that its sender has left
		case m.Flags&wire.FlagNoReply != 0:
			silent++
			fallthrough
		default:
			calls++
		}
	}
	if calls > 0 {
		s.log.Warn("calls are not handled: there is no time for them while stopping",
			slog.Int("calls", calls), slog.Int("without_reply", silent))
	}
}

// logLate tells the log of calls that came while stopping and wanted no reply: nobody else
// hears that they were refused.
func (s *Service) logLate(ss *session) {
	if late := ss.late.Load(); late > 0 {
		s.log.Warn("calls are not handled: they came while stopping, and want no reply", slog.Uint64("calls", late))
	}
}

// refuse refuses calls that were taken, as there is no time left for them.
func (s *Service) refuse(ss *session, left []*message) {
	for _, m := range left {
		if m.Type == wire.TypeCall && m.Flags&wire.FlagNoReply == 0 && ss.conn.send(errorReply(m, toError(hub.ErrClosed))) != nil {
			return // the connection is lost, and the bus tells them
		}
	}
}

// logStopped tells the log of an end that was not in order.
func (s *Service) logStopped(err error) {
	_, sent := s.sub.Position()
	if last := s.hub.Status().Last; sent < last {
		s.log.Warn("stopped without the bus: the last signals were not sent", slog.Any("error", err),
			slog.Uint64("first_seq", sent+1), slog.Uint64("last_seq", last))
		return
	}
	select {
	case <-s.ready:
	default:
		return // it was never there
	}
	s.log.Warn("stopped without taking leave of the bus: all signals were sent", slog.Any("error", err))
}
