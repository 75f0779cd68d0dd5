package dbusapi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"github.com/osctl/eventd/hub"
)

// Follower says what [Follow] follows.
type Follower struct {
	Address string     // of the bus, as [ResolveAddress] gives it
	Filter  hub.Filter // which events
	Cursor  string     // where to begin: "" for now, [hub.CursorOldest], or a cursor
}

// Update is what [Follow] hands on: events, or one of the other fields.
type Update struct {
	// Events are the next events, oldest first.
	Events []*hub.Event
	// Cursor is the position after Events. Who keeps it may go on from there in
	// another run. It is "" while there is none.
	Cursor string
	// Gone says that the events after the last Cursor are no longer kept: the
	// service was restarted without a log, or the follower was too slow. Follow goes
	// on with the oldest event there is.
	Gone error
	// Down says that the service or the bus went away, once for each time. Follow
	// goes on when it is back.
	Down error
	// Up is set once the service is back, before its first events.
	Up bool
}

// followWait is how long one WaitEvents call of Follow waits.
const followWait = time.Minute

// Follow hands all events that pass the filter to handle, in order and each once,
// until ctx is done or handle returns an error, which it returns. It survives
// restarts of the service and of the bus. If the first call fails, or one is
// refused for a reason that does not pass, it returns that error.
func Follow(ctx context.Context, f Follower, handle func(Update) error) error {
	state := &follow{Follower: f, handle: handle}
	pause := firstRetry
	for {
		err := state.session(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case state.ended != nil:
			return state.ended
		case !state.started || !passing(err):
			return err
		}
		if !state.down {
			state.down = true
			pause = firstRetry
			if err := handle(Update{Down: err, Cursor: state.Cursor}); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, lastRetry)
	}
}

// follow is the state of Follow over its connections.
type follow struct {
	Follower
	handle  func(Update) error
	started bool  // a call succeeded once
	down    bool  // the last session failed
	ended   error // handle wants no more
}

// session follows over one connection until something fails.
func (f *follow) session(ctx context.Context) error {
	c, err := Dial(ctx, f.Address)
	if err != nil {
		return err
	}
	defer c.Close()
	wait := time.Duration(0) // the first call fixes the position
	for {
		next, events, err := c.WaitEvents(ctx, f.Cursor, f.Filter, 0, wait)
		switch {
		case HasName(err, ErrGone): // also of "oldest", when what that was left meanwhile
			err = f.hand(Update{Gone: err})
			f.Cursor = hub.CursorOldest
		case err == nil:
			f.started = true
			if f.down {
				f.down = false
				err = f.hand(Update{Up: true, Cursor: f.Cursor})
			}
			f.Cursor = next
			if err == nil && len(events) > 0 {
				err = f.hand(Update{Events: events, Cursor: next})
			}
			wait = followWait
		}
		if err != nil {
			return err
		}
	}
}

func (f *follow) hand(u Update) error {
	f.ended = f.handle(u)
	return f.ended
}

// passing reports whether the reason of a failure may pass by itself.
func passing(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return true // the connection
	}
	switch e.Name {
	case errServiceUnknown, errNameHasNoOwner, errNoReply, errTimeout, ErrShuttingDown, ErrLimitsExceeded,
		"org.freedesktop.DBus.Error.Disconnected", "org.freedesktop.DBus.Error.TimedOut":
		return true
	}
	return false
}

// Explain says in words for a person what to do about an error of this package.
func Explain(err error, address string) string {
	var e *Error
	switch {
	case errors.As(err, &e) && (e.Name == errServiceUnknown || e.Name == errNameHasNoOwner):
		return fmt.Sprintf("osctl-eventd is not running on the bus %s: start it (systemctl start osctl-eventd), or name its bus with --bus", address)
	case errors.As(err, &e) && e.Name == errAccessDenied:
		return fmt.Sprintf("not allowed: %s. Be root; for reading it is enough to be in the group osctl-eventd", e.Message)
	case errors.As(err, &e) && e.Name == errNoReply:
		return "osctl-eventd went away before it answered; try again"
	case errors.As(err, &e) && e.Name == ErrGone:
		return "osctl-eventd no longer keeps them: it was restarted, or they were too many"
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("osctl-eventd, or the bus %s, does not answer: see whether they run (systemctl status osctl-eventd dbus)", address)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return err.Error() + ": is the bus running? Name another one with --bus"
	case errors.As(err, &e):
		return e.Error()
	}
	return err.Error()
}
