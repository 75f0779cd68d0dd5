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

// errDone ends a stream that has shown all that was asked for.
var errDone = errors.New("done")

// sink is what a stream hands its events to.
type sink interface {
	// event takes the next event of an epoch. It reports whether this event and all before it
	// are handled for good, so that the cursor may be kept at once.
	event(ctx context.Context, e *hub.Event, epoch string) (handled bool, err error)
	// flush handles what event has not yet. Then the cursor may be kept.
	flush(ctx context.Context) error
}

// stream is one run of monitor, or of run.
type stream struct {
	app *app
	selection
	filter hub.Filter
	sink   sink
	file   *cursorfile.File // nil for none

	cursor       string    // where to go on
	since, until time.Time // events outside of it are passed over; zero for no bound
	untilCursor  string    // the last position that is wanted, "" for any
	finite       bool      // end with the newest event there is
	count        int       // how many events, 0 for any number
	stale        bool      // names of the targets may have changed unheard
	tail         bool      // they are the newest ones of a finite stream, which has no file

	end    uint64       // of a finite stream: number of the last event to look at
	epoch  string       // of the events
	shown  int          // how many events so far
	newest []*hub.Event // of a tail: the last ones, a ring
}

// run shows events until there is nothing more to show, or ctx is done.
func (s *stream) run(ctx context.Context) error {
	s.app.endless.Store(true)
	if !s.until.IsZero() && !s.finite {
		if err := s.followUntil(ctx); err != nil {
			return s.result(err)
		}
		s.finite = true // now what came up to that time and is not shown yet
	}
	return s.result(s.follow(ctx))
}

// followUntil follows up to the time --until.
func (s *stream) followUntil(ctx context.Context) error {
	bounded, cancel := context.WithDeadline(ctx, s.until)
	defer cancel()
	err := s.follow(bounded)
	if errors.Is(err, context.DeadlineExceeded) && bounded.Err() != nil && ctx.Err() == nil {
		return nil
	}
	return err
}

// result turns the end of a stream into that of the command.
func (s *stream) result(err error) error {
	switch {
	case err != nil && !errors.Is(err, errDone):
		return err
	case s.app.flaw() != 0:
		return &exitError{status: s.app.flaw()}
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
		return s.take(ctx, u)
	})
}

// loadNames asks for the containers that the targets may stand for. Following begins where this
// list ends, so that no change is left out.
func (s *stream) loadNames(ctx context.Context) error {
	if len(s.targets) == 0 || s.names != nil {
		return nil
	}
	names, cursor, err := s.app.askNames(ctx, s.targets)
	if err != nil {
		return err
	}
	s.cursor = cmp.Or(s.cursor, cursor)
	if err := s.resolveBy(names); err != nil {
		return err
	}
	s.filter, err = s.selection.filter()
	return err
}

// refreshNames asks for the containers again after events were lost. If the service does not
// answer, the next events ask again.
func (s *stream) refreshNames(ctx context.Context) {
	if !s.stale {
		return
	}
	if names, _, err := s.app.askNames(ctx, s.targets); err == nil {
		names.held, s.names, s.stale = s.names.held, names, false
	}
}

// setEnd finds the last event to look at.
func (s *stream) setEnd(ctx context.Context) error {
	if !s.finite && s.untilCursor == "" {
		return nil
	}
	now, err := s.app.newest(ctx)
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
		return fmt.Errorf("--until %s: that cursor is from another epoch; the present one is %s", s.untilCursor, epoch)
	}
	if at < end || !s.finite {
		s.end = at
	}
	return nil
}

// bounded reports whether the stream has an end among the numbers.
func (s *stream) bounded() bool { return s.finite || s.untilCursor != "" }

// take shows what [client.Follow] hands on.
func (s *stream) take(ctx context.Context, u client.Update) error {
	switch {
	case s.app.sayDown(u):
		return nil
	case u.Gone != nil:
		return s.gone(ctx, u)
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
		if err := s.show(ctx, event); err != nil {
			return err
		}
		if s.full() {
			at = event.Seq
			break
		}
	}
	return s.advance(ctx, at, s.full() || s.bounded() && at >= s.end)
}

// full reports whether as many events were shown as were asked for.
func (s *stream) full() bool { return s.count > 0 && !s.tail && s.shown >= s.count }

// gone says what was lost. A finite stream of another epoch ends with what is there now.
func (s *stream) gone(ctx context.Context, u client.Update) error {
	s.app.lost.Store(true)
	why := client.Explain(u.Gone, s.app.bus)
	switch {
	case u.Lost == 0:
		s.app.say("lost an unknown number of events: %s; going on with the oldest that is kept", why)
	case s.filter.Empty():
		s.app.say("lost %s: %s; going on with the oldest that is kept", eventCount(u.Lost), why)
	default:
		s.app.say("lost at most %s: %s; going on with the oldest that is kept", eventCount(u.Lost), why)
	}
	s.cursor = u.Cursor
	s.stale = s.names != nil
	return s.setEnd(ctx)
}

// show shows an event, or keeps it while newer ones may take its place.
func (s *stream) show(ctx context.Context, event *hub.Event) error {
	if wanted, err := s.wants(event); err != nil || !wanted {
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

// advance hands the events of a finished tail to the sink, and only then moves the cursor past them.
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

// moveTo moves the cursor past an event, on the disk first where there is a file.
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
