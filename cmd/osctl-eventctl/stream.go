package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/osctl/eventd/cmd/internal/cursorfile"
	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

// errDone ends a stream that is complete.
var errDone = errors.New("done")

// sink consumes the events of a stream.
type sink interface {
	// event consumes the next event of an epoch. handled means that this event and all before it
	// are handled for good, so that the stream may save the cursor at once.
	event(ctx context.Context, e *hub.Event, epoch string) (handled bool, err error)
	// flush handles all pending events. Then the stream may save the cursor.
	flush(ctx context.Context) error
}

// stream reads events for monitor, run, show and wait.
type stream struct {
	app *app
	selection
	filter hub.Filter
	sink   sink
	file   *cursorfile.File // nil for none

	cursor       string    // the position of the stream
	since, until time.Time // bounds of the events' times; zero for none
	untilCursor  string    // the last cursor, "" for none
	finite       bool      // end with the newest event
	count        int       // maximum number of events, 0 for any
	stale        bool      // events were lost, so names of targets may have changed
	tail         bool      // show the last count events of a finite stream without a file

	end    uint64       // number of the last event, if bounded
	epoch  string       // of the events
	shown  int          // number of matching events so far
	newest []*hub.Event // the last count events of a tail, a ring
}

// run reads events until the stream is complete, or ctx is done.
func (s *stream) run(ctx context.Context) error {
	s.app.endless.Store(true)
	if !s.until.IsZero() && !s.finite {
		if err := s.followUntil(ctx); err != nil {
			return s.result(err)
		}
		s.finite = true // now read the remaining events up to that time
	}
	return s.result(s.follow(ctx))
}

// followUntil follows until the time --until.
func (s *stream) followUntil(ctx context.Context) error {
	bounded, cancel := context.WithDeadline(ctx, s.until)
	defer cancel()
	err := s.follow(bounded)
	if errors.Is(err, context.DeadlineExceeded) && bounded.Err() != nil && ctx.Err() == nil {
		return nil
	}
	return err
}

// result converts the error that ended the stream to that of the command.
func (s *stream) result(err error) error {
	switch {
	case err != nil && !errors.Is(err, errDone):
		return err
	case s.app.resultStatus() != 0:
		return &exitError{status: s.app.resultStatus()}
	}
	return nil
}

func (s *stream) follow(ctx context.Context) error {
	address, err := s.app.address()
	if err != nil {
		return err
	}
	if err := s.loadNames(ctx); err != nil {
		return err
	}
	if err := s.setEnd(ctx); err != nil {
		return err
	}
	return client.Follow(ctx, client.Follower{Address: address, Filter: s.filter, Cursor: s.cursor, Pulse: pulse}, func(u client.Update) error {
		return s.handleUpdate(ctx, u)
	})
}

// loadNames reads the containers that the targets may name. The stream begins at the cursor of that
// list, so that it sees every change of a name. Once events have been followed it does nothing, because
// a list would start a stopped service.
func (s *stream) loadNames(ctx context.Context) error {
	if len(s.targets) == 0 || s.names != nil || s.epoch != "" {
		return nil
	}
	names, cursor, err := s.app.askNames(ctx, s.targets)
	if err != nil {
		return err
	}
	s.cursor = cmp.Or(s.cursor, cursor)
	if err := s.setNames(names); err != nil {
		return err
	}
	s.filter, err = s.selection.filter()
	return err
}

// refreshNames reads the containers again after events were lost. If the service does not answer,
// the next update tries again.
func (s *stream) refreshNames(ctx context.Context) {
	if !s.stale {
		return
	}
	if names, _, err := s.app.askNames(ctx, s.targets); err == nil {
		names.resolved, s.names, s.stale = s.names.resolved, names, false
	}
}

// setEnd sets the number of the last event of a bounded stream.
func (s *stream) setEnd(ctx context.Context) error {
	if !s.finite && s.untilCursor == "" {
		return nil
	}
	now, err := s.newestCursor(ctx)
	if err != nil {
		return err
	}
	epoch, end, err := hub.ParseCursor(now)
	if err != nil {
		return err
	}
	s.end = end
	if s.untilCursor == "" {
		return nil
	}
	wanted, at, err := hub.ParseCursor(s.untilCursor)
	if err != nil {
		return err
	}
	if wanted != epoch {
		return fmt.Errorf("--until %s: the cursor is from another epoch than the present %s", s.untilCursor, epoch)
	}
	if at < end || !s.finite {
		s.end = at
	}
	return nil
}

// newestCursor returns the cursor of the newest event. It starts the service unless events have been followed.
func (s *stream) newestCursor(ctx context.Context) (cursor string, err error) {
	err = s.app.call(ctx, func(ctx context.Context, c *client.Client) error {
		if s.epoch == "" {
			cursor, _, err = c.WaitEvents(ctx, "", hub.Filter{}, 1, 0)
			return err
		}
		properties, err := c.Properties(ctx)
		cursor = properties.Text("Cursor")
		return err
	})
	return cursor, err
}

// bounded reports whether the stream has a last event.
func (s *stream) bounded() bool { return s.finite || s.untilCursor != "" }

// handleUpdate handles an update of [client.Follow].
func (s *stream) handleUpdate(ctx context.Context, u client.Update) error {
	switch {
	case s.app.warnOutage(u):
		return nil
	case u.Gone != nil:
		return s.reportLoss(ctx, u)
	}
	epoch, at, err := hub.ParseCursor(u.Cursor)
	if err != nil {
		return err
	}
	s.epoch = epoch
	s.refreshNames(ctx)
	for _, event := range u.Events {
		if s.bounded() && event.Seq > s.end {
			at = min(at, s.end)
			break
		}
		if err := s.showEvent(ctx, event); err != nil {
			return err
		}
		if s.full() {
			at = event.Seq
			break
		}
	}
	return s.advance(ctx, at, s.full() || s.bounded() && at >= s.end)
}

// full reports whether count events were shown.
func (s *stream) full() bool { return s.count > 0 && !s.tail && s.shown >= s.count }

// reportLoss reports lost events, and continues with the oldest kept event. In another epoch a finite
// stream gets a new end, and is complete if no event is kept: no update would say so.
func (s *stream) reportLoss(ctx context.Context, u client.Update) error {
	s.app.lost.Store(true)
	lost := "an unknown number of events"
	switch {
	case u.Lost > 0 && s.filter.Empty():
		lost = formatCount(u.Lost)
	case u.Lost > 0:
		lost = "at most " + formatCount(u.Lost)
	}
	s.app.warn("lost %s: %s; continuing with the oldest kept event", lost, client.Explain(u.Gone, s.app.bus))
	s.cursor = u.Cursor
	s.stale = s.names != nil
	epoch, at, err := hub.ParseCursor(u.Cursor)
	if err != nil {
		return err
	}
	s.epoch = epoch
	if err := s.setEnd(ctx); err != nil {
		return err
	}
	if !s.bounded() || at < s.end {
		return nil
	}
	return s.advance(ctx, at, true)
}

// showEvent hands a matching event to the sink. A tail keeps it instead, until it is complete.
func (s *stream) showEvent(ctx context.Context, event *hub.Event) error {
	if wanted, err := s.matches(event); err != nil || !wanted {
		return err
	}
	if event.Time.Before(s.since) || !s.until.IsZero() && event.Time.After(s.until) {
		return nil
	}
	s.shown++
	switch {
	case !s.tail:
		handled, err := s.sink.event(ctx, event, s.epoch)
		if err != nil || !handled {
			return err
		}
		return s.moveTo(event.Seq)
	case len(s.newest) < s.count:
		s.newest = append(s.newest, event)
	default:
		s.newest[(s.shown-1)%s.count] = event
	}
	return nil
}

// advance flushes the sink, and then moves the cursor. over means that the stream is complete: a tail
// goes to the sink first.
func (s *stream) advance(ctx context.Context, at uint64, over bool) error {
	if over {
		for i := range s.newest {
			if _, err := s.sink.event(ctx, s.newest[(s.shown+i)%len(s.newest)], s.epoch); err != nil {
				return err
			}
		}
	}
	if err := s.sink.flush(ctx); err != nil {
		return err
	}
	if err := s.moveTo(at); err != nil {
		return err
	}
	if over {
		return errDone
	}
	return nil
}

// moveTo moves the cursor past an event, first in the cursor file.
func (s *stream) moveTo(seq uint64) error {
	cursor := hub.FormatCursor(s.epoch, seq)
	if s.file != nil {
		if err := s.file.Save(cursor); err != nil {
			return err
		}
	}
	s.cursor = cursor
	return nil
}
