package forward

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleet"
	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

// session forwards over one connection.
type session struct {
	*bridge
	link  *fleet.Link
	head  fleet.Head // the last message of the host
	limit int        // bytes of a message with more than one event
}

// resume reads the head, and writes a record if the session starts a run, an empty stream or a take-over.
func (s *session) resume(ctx context.Context) error {
	head, found, err := s.link.Head(ctx)
	if err != nil && !errors.Is(err, fleet.ErrForeign) {
		return err
	}
	s.head = head
	if !found {
		return s.startEmpty(ctx)
	}
	err = s.checkFence(ctx, err)
	if _, ok := errors.AsType[*FenceError](err); ok && s.TakeOver {
		return s.takeOver(ctx, err)
	}
	if err != nil || s.announced {
		return err
	}
	return s.writeStart(ctx, fleet.StartAgain)
}

// checkFence checks that this machine wrote the head, from the history that it has now.
func (s *session) checkFence(ctx context.Context, foreign error) error {
	switch subject := fleet.Subject(s.Host); {
	case foreign != nil:
		return &FenceError{fmt.Sprintf("the last message on %s, number %d of stream %s, was %v: find out who may"+
			" write there; to continue after it, run once with --take-over", subject, s.head.Seq, s.Stream, foreign)}
	case s.head.Machine != s.Machine:
		return otherMachineError(subject, s.head.Machine)
	}
	return s.eventd.checkHead(ctx, s.head, s.state.cursor)
}

// startEmpty starts if the stream has no message of this host.
func (s *session) startEmpty(ctx context.Context) error {
	cursor, err := s.lastCursor(ctx)
	if err != nil {
		return err
	}
	reason := fleet.StartStreamEmpty
	if cursor != s.state.cursor {
		reason = fleet.StartNew
	}
	s.head.Cursor = cursor
	return s.writeStart(ctx, reason)
}

// lastCursor returns the cursor in the state file, or else the cursor before the oldest event. It does not use a
// state file with a later event than the history has, because then the history is an older copy of itself.
func (s *session) lastCursor(ctx context.Context) (string, error) {
	h, err := s.eventd.history(ctx)
	epoch, seq, invalid := hub.ParseCursor(s.state.cursor)
	if invalid != nil || epoch == h.epoch && seq > h.last {
		return hub.FormatCursor(h.epoch, h.oldest-1), err
	}
	return s.state.cursor, err
}

// takeOver continues at lastCursor after a message of another machine.
func (s *session) takeOver(ctx context.Context, fence error) error {
	s.Log.Warn("taking over", slog.String("despite", fence.Error()))
	if s.head.Machine == s.Machine && s.head.Cursor == s.state.cursor {
		s.state.cursor = "" // it is of the other history, as the head is
	}
	cursor, err := s.lastCursor(ctx)
	if err != nil {
		return err
	}
	gap := fleet.Record{Reason: fleet.GapTakeOver, Detail: fence.Error()}
	if err := s.writeGap(ctx, gap, cursor); err != nil {
		return err
	}
	s.TakeOver = false
	return nil
}

// forward follows osctl-eventd from the head until an error.
func (s *session) forward(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	updates, ended := make(chan client.Update), make(chan error, 1)
	go func() {
		defer close(ended)
		ended <- client.Follow(ctx, client.Follower{Address: s.Bus, Cursor: s.head.Cursor}, func(u client.Update) error {
			select {
			case updates <- u:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	err := s.loop(ctx, updates, ended)
	cancel()
	<-ended //nolint:errcheck // ctx is done
	return err
}

func (s *session) loop(ctx context.Context, updates <-chan client.Update, ended <-chan error) error {
	s.reportProgress(ctx)
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.link.Done():
			return s.link.Err()
		case err := <-ended:
			return fmt.Errorf("follow osctl-eventd: %w", err)
		case u := <-updates:
			err = s.handleUpdate(ctx, u)
		case <-s.heartbeat.C:
			err = s.writeAlive(ctx)
		case <-s.tick.C:
			s.handleTick(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// handleTick reports progress, and saves the state file.
func (s *session) handleTick(ctx context.Context) {
	s.reportProgress(ctx)
	s.saveState()
}

// reportProgress reports the status line.
func (s *session) reportProgress(ctx context.Context) {
	s.Progress("Forwarding to " + fleet.Subject(s.Host) + ", at " + s.head.Cursor + s.formatBacklog(ctx))
}

// handleUpdate forwards an update of [client.Follow].
func (s *session) handleUpdate(ctx context.Context, u client.Update) error {
	switch {
	case u.Down != nil:
		s.Log.Warn("osctl-eventd is away", slog.String("reason", client.Explain(u.Down, s.Bus)))
		return s.writeAlive(ctx) // tells the fleet; Follow reconnects by itself
	case u.Up:
		s.Log.Info("osctl-eventd is back")
		return s.writeAlive(ctx)
	case u.Gone != nil:
		return s.writeLoss(ctx, u)
	case len(u.Events) == 0:
		return nil
	}
	epoch, _, err := hub.ParseCursor(u.Cursor)
	if err != nil {
		return err
	}
	return s.writeEvents(ctx, epoch, u.Events)
}

// writeLoss writes a gap for events that osctl-eventd no longer keeps.
func (s *session) writeLoss(ctx context.Context, u client.Update) error {
	was, _, err := hub.ParseCursor(s.head.Cursor)
	if err != nil {
		return err
	}
	is, _, err := hub.ParseCursor(u.Cursor)
	switch {
	case err != nil:
		return err
	case was != is:
		return s.writeGap(ctx, fleet.Record{Reason: fleet.GapEpoch, Detail: u.Gone.Error()}, u.Cursor)
	case u.Lost == 0: // the same history, but shorter
		return otherHistoryError("osctl-eventd numbers its events anew")
	}
	return s.writeGap(ctx, fleet.Record{Reason: fleet.GapLapped, Detail: u.Gone.Error(), Lost: u.Lost}, u.Cursor)
}
