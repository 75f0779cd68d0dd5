package forward

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleet"
	"github.com/osctl/eventd/hub"
)

const (
	maxChunk  = 256 << 10 // bytes of a message, so that a slow link sends it in time; a single event may be larger
	maxDetail = 200       // bytes of a record's detail
)

// writeEvents writes consecutive events in as few messages as possible. It writes a gap for an event
// that exceeds a message.
func (s *session) writeEvents(ctx context.Context, epoch string, events []*hub.Event) error {
	for len(events) > 0 {
		n, lines := s.fillMessage(epoch, events)
		last := events[n-1]
		err := s.write(ctx, hub.FormatCursor(epoch, last.Seq), last.Time, lines)
		switch {
		case err == nil:
		case !errors.Is(err, fleet.ErrTooLarge):
			return err
		case n > 1:
			s.limit = len(lines) / 2
			continue
		default:
			detail := fmt.Sprintf("event %d of type %s has %d bytes", last.Seq, last.Type, len(lines))
			gap := fleet.Record{Reason: fleet.GapTooLarge, Detail: detail, Lost: 1}
			if err := s.writeGap(ctx, gap, hub.FormatCursor(epoch, last.Seq)); err != nil {
				return err
			}
		}
		events = events[n:]
	}
	return nil
}

// fillMessage returns the lines of the first events that fit into a message, and their number, which is
// at least one.
func (s *session) fillMessage(epoch string, events []*hub.Event) (n int, lines []byte) {
	for n < len(events) {
		before := len(lines)
		lines = append(events[n].AppendJSON(lines, epoch), '\n')
		if n > 0 && len(lines) > s.limit {
			return n, lines[:before]
		}
		n++
	}
	return n, lines
}

// write writes a message that moves the host to cursor. at is the time of the event at the cursor, zero
// if it is unknown.
func (s *session) write(ctx context.Context, cursor string, at time.Time, lines []byte) error {
	status := &fleet.Status{Interval: s.Alive.Seconds(), State: s.stateAt(cursor)}
	head := fleet.Head{Cursor: cursor, Machine: s.Machine, Time: at, Status: status}
	seq, err := s.link.Publish(ctx, head, s.head.Seq, lines)
	if err != nil {
		return err
	}
	s.head = head
	s.head.Seq = seq
	if s.trouble != "" {
		s.Log.Info("forwarding again", slog.String("server", s.link.Server()), slog.String("cursor", cursor))
	}
	s.pause, s.trouble, s.since = firstPause, "", time.Time{}
	s.state.cursor = cursor
	select {
	case <-s.tick.C: // the messages of one reply may take longer than the watchdog of systemd allows
		s.handleTick(ctx)
	default:
	}
	return nil
}

// writeRecord writes a record, which moves the host to its cursor. writeRecord also saves the state file,
// because a new epoch begins with a record; see [eventd.checkHead].
func (s *session) writeRecord(ctx context.Context, r fleet.Record, at time.Time) error {
	r.Host, r.Machine, r.Time = s.Host, s.Machine, time.Now().UTC().Truncate(time.Microsecond)
	r.Detail = r.Detail[:min(len(r.Detail), maxDetail)]
	line, err := r.Line()
	if err != nil {
		return err
	}
	if err := s.write(ctx, r.Cursor, at, line); err != nil {
		return err
	}
	s.saveState()
	return nil
}

// writeGap writes a record for the missing events between the head and a cursor.
func (s *session) writeGap(ctx context.Context, r fleet.Record, to string) error {
	r.Type, r.From, r.Cursor = fleet.TypeGap, s.head.Cursor, to
	s.Log.Warn("events are missing in the stream", slog.String("reason", r.Reason), slog.String("from", r.From),
		slog.String("to", to), slog.Uint64("lost", r.Lost), slog.String("detail", r.Detail))
	return s.writeRecord(ctx, r, time.Time{})
}

// writeStart writes a record that this bridge starts at the head.
func (s *session) writeStart(ctx context.Context, reason string) error {
	r := fleet.Record{Type: fleet.TypeStart, Reason: reason, Version: s.Version}
	if err := s.writeState(ctx, r); err != nil {
		return err
	}
	s.announced = true
	return nil
}

// writeAlive writes a heartbeat.
func (s *session) writeAlive(ctx context.Context) error {
	return s.writeState(ctx, fleet.Record{Type: fleet.TypeAlive})
}

// writeState writes a record with the state of the host, without moving the host.
func (s *session) writeState(ctx context.Context, r fleet.Record) error {
	s.updateHistory(ctx)
	r.Cursor, r.Interval, r.State = s.head.Cursor, s.Alive.Seconds(), s.stateAt(s.head.Cursor)
	return s.writeRecord(ctx, r, s.head.Time)
}
