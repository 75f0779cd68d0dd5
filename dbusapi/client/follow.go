package client

import (
	"context"
	"errors"
	"time"

	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// Follower configures [Follow].
type Follower struct {
	Address string     // of the bus, see [ResolveAddress]
	Filter  hub.Filter // selects the events
	Cursor  string     // where to begin: "" for now, [hub.CursorOldest], or a cursor
	// Pulse is the interval at which the service must answer while no event comes, and how late it
	// may answer. With 0 a service that hangs counts as down after 70 s.
	Pulse time.Duration
}

// Update is what [Follow] passes to its function: events, a moved cursor, or a change of the service.
type Update struct {
	// Events are the next events, oldest first.
	Events []*hub.Event
	// Cursor is the position after Events, from which a later Follow can continue. It also moves
	// without events, past events that do not match the filter, but then at most every 30 s, because
	// a program may save it. It is "" while there is no position yet; the first Update with a Cursor
	// means that following has begun.
	Cursor string
	// Gone is set if the events after the last Cursor are no longer kept: the follower
	// was too slow or away for too long, or the service had to drop its history. Follow
	// continues with the oldest event that is kept; in a new epoch these may be events that
	// it has passed before. Watch continues with a list.
	Gone error
	// Lost, with Gone, is the number of lost events. With a filter it is an upper bound,
	// because it is not known which of them would have matched. 0 means that the number
	// is not known, because the service has a new epoch.
	Lost uint64
	// Down is set once each time the service or the bus goes away. Follow continues when it is
	// back. With [ErrLimitsExceeded] the service is there, but has too many pending waits. Then Follow
	// polls it, with pauses of up to a second, so events still come, but later.
	Down error
	// Up is set when the service is back, or has room for a wait again, before any event from it.
	Up bool
}

const (
	followWait     = time.Minute      // timeout of a WaitEvents call of Follow
	cursorInterval = 30 * time.Second // between updates that only move the cursor

	// defaultReplyTimeout is how late the reply to a call may come. After that the service
	// counts as down.
	defaultReplyTimeout = 10 * time.Second

	// firstRetry and lastRetry are the limits of the back-off, which doubles each time.
	firstRetry = 20 * time.Millisecond
	lastRetry  = time.Second
)

// Follow passes all events that match the filter to handle, in order and each once, until ctx is done or
// handle returns an error, which Follow returns. It survives restarts of the service and of the bus, and a
// service that hangs. If the epoch is still the same, it continues after the last event; otherwise it
// reports Gone, and may pass events again. Only its first call starts the service; a service that stops
// later stays stopped. If the first call fails, or a call fails permanently, Follow returns that error.
//
// While handle works, the call for the next events is pending, so at most one reply, with at most 1,024
// events, waits for handle.
func Follow(ctx context.Context, f Follower, handle func(Update) error) error {
	return (&follow{Follower: f, handle: handle, replyTimeout: defaultReplyTimeout}).run(ctx)
}

// follow is the state of [Follow] or [Watch] across connections.
type follow struct {
	Follower     // with the Cursor after the last reply
	handle       func(Update) error
	replyTimeout time.Duration // see defaultReplyTimeout
	started      bool          // the service answered once
	passedCursor string        // of the last Update by deliverEvents
	passedAt     time.Time     // time of that Update
	down         bool          // the last session failed, or the follower is limited
	handlerErr   error         // from handle; it ends Follow
	pause        time.Duration // of the back-off
	limitedAt    time.Time     // when the service last refused a wait

	list     func(context.Context, *Client) (listing, error) // of Watch; nil for Follow
	refresh  time.Duration                                   // interval of lists; 0 for none
	nextList time.Time                                       // when to list again; zero for never
	pending  *listing                                        // delivered after the events before it
}

// listing is a fetched list.
type listing struct {
	cursor  string
	seq     uint64 // of the cursor
	deliver func() error
}

func (f *follow) run(ctx context.Context) error {
	for {
		err := f.session(ctx)
		switch {
		case f.handlerErr != nil:
			return f.handlerErr
		case ctx.Err() != nil:
			return ctx.Err()
		case !f.started || !isTemporary(err):
			return err
		}
		if err := f.backOff(ctx, err); err != nil {
			return err
		}
	}
}

// session follows over one connection until it fails. While the handler works on one reply, the call for
// the next events is pending.
func (f *follow) session(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c, err := Dial(ctx, f.Address)
	if err != nil {
		return err
	}
	defer c.Close()
	var ahead chan waitResult // of the pending call; nil if there is none
	defer func() {
		cancel()
		if ahead != nil {
			<-ahead
		}
	}()
	if f.started {
		c = c.withoutStart()
	}
	wait := time.Duration(0) // the first call fixes the position
	f.pending = nil
	if f.list != nil {
		f.nextList = time.Now()
	}
	for {
		if ahead == nil {
			if err := f.fetchList(ctx, c); err != nil {
				return err
			}
			ahead = f.startWaitCall(ctx, c, f.Cursor, f.boundWait(wait))
		}
		p := <-ahead
		ahead, c = nil, c.withoutStart()
		wait = followWait
		if f.limited() {
			wait = lastRetry
		}
		if p.err == nil && len(p.events) > 0 && f.pending == nil && f.nextList.IsZero() {
			ahead = f.startWaitCall(ctx, c, p.next, wait)
		}
		limited, err := f.handleResult(ctx, c, p)
		if err != nil {
			return err
		}
		if limited {
			wait = 0
		}
	}
}

// handleResult handles the result of a call. It reports whether the service refused to let it wait.
func (f *follow) handleResult(ctx context.Context, c *Client, p waitResult) (limited bool, err error) {
	switch {
	case p.err == nil:
		return false, f.handleReply(p.next, p.events)
	case f.started && HasName(p.err, ErrLimitsExceeded):
		return true, f.backOff(ctx, p.err)
	case f.isGone(p.err):
		return false, f.skipLost(ctx, c, p.err)
	}
	return false, p.err
}

// boundWait shortens a wait to end at the next list.
func (f *follow) boundWait(wait time.Duration) time.Duration {
	switch {
	case f.pending != nil:
		return 0
	case !f.nextList.IsZero():
		return min(wait, max(time.Until(f.nextList), time.Millisecond))
	}
	return wait
}

// waitResult is the result of a WaitEvents call.
type waitResult struct {
	next   string
	events []*hub.Event
	err    error
}

// startWaitCall calls waitEvents in a goroutine and sends the result. The goroutine ends when the call
// is answered or ctx is done.
func (f *follow) startWaitCall(ctx context.Context, c *Client, cursor string, wait time.Duration) chan waitResult {
	result := make(chan waitResult, 1)
	go func() {
		var p waitResult
		p.next, p.events, p.err = f.waitEvents(ctx, c, cursor, wait)
		result <- p
	}()
	return result
}

// waitEvents waits for the next events. It runs concurrently with the handler, so it reads only constant
// fields.
func (f *follow) waitEvents(ctx context.Context, c *Client, cursor string, wait time.Duration) (string, []*hub.Event, error) {
	late := f.replyTimeout
	if f.Pulse > 0 && wait > 0 {
		wait, late = min(wait, f.Pulse), f.Pulse
	}
	ctx, cancel := context.WithTimeout(ctx, wait+late)
	defer cancel()
	return c.WaitEvents(ctx, cursor, f.Filter, 0, wait)
}

// markUp records that the service answered, and delivers Up if it was down.
func (f *follow) markUp() error {
	f.started = true
	if !f.down || f.limited() {
		return nil
	}
	f.down = false
	return f.deliver(Update{Up: true, Cursor: f.Cursor})
}

// handleReply delivers the reply to a WaitEvents call. It delivers a pending list after all events
// before the list.
func (f *follow) handleReply(next string, events []*hub.Event) error {
	if err := f.markUp(); err != nil {
		return err
	}
	if f.pending != nil {
		_, seq, err := hub.ParseCursor(next)
		if err != nil {
			return err
		}
		if seq >= f.pending.seq {
			before := 0
			for before < len(events) && events[before].Seq <= f.pending.seq {
				before++
			}
			if err := f.deliverEvents(f.pending.cursor, events[:before]); err != nil {
				return err
			}
			if err := f.deliverList(f.pending); err != nil {
				return err
			}
			events = events[before:]
		}
	}
	return f.deliverEvents(next, events)
}

// deliverEvents delivers events and the cursor after them. Without events it delivers a new cursor, after
// cursorInterval.
func (f *follow) deliverEvents(next string, events []*hub.Event) error {
	f.Cursor = next
	if len(events) == 0 && (next == f.passedCursor || time.Since(f.passedAt) < cursorInterval) {
		return nil
	}
	f.passedCursor, f.passedAt = next, time.Now()
	return f.deliver(Update{Events: events, Cursor: next})
}

func (f *follow) deliver(u Update) error {
	f.handlerErr = f.handle(u)
	return f.handlerErr
}

// isTemporary reports whether a failure may end by itself.
func isTemporary(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return true // the connection
	}
	switch e.Name {
	case wire.ErrServiceUnknown, wire.ErrNameHasNoOwner, wire.ErrNoReply, wire.ErrTimeout, wire.ErrShuttingDown, wire.ErrLimitsExceeded,
		"org.freedesktop.DBus.Error.Disconnected", "org.freedesktop.DBus.Error.TimedOut",
		"org.freedesktop.DBus.Error.LimitsExceeded": // as when the queue of a service that hangs is full
		return true
	}
	return false
}
