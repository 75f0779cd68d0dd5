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
	Address string     // of the bus, as [ResolveAddress] gives it
	Filter  hub.Filter // selects the events
	Cursor  string     // where to begin: "" for now, [hub.CursorOldest], or a cursor
	// Pulse is the time between pings of the service while no event comes, and the time that the
	// service has to answer one. 0 sends none: a service that hangs then counts as down after 70 s.
	Pulse time.Duration
}

// Update is what [Follow] passes to its function: events, a moved cursor, or a change of the service.
type Update struct {
	// Events are the next events, oldest first.
	Events []*hub.Event
	// Cursor is the position after Events: a later Follow can continue from there. It also
	// moves without events, past events that do not match the filter. With the first Update that has
	// a Cursor following has begun. It is "" while there is no position yet.
	Cursor string
	// Gone is set if the events after the last Cursor are no longer kept: the follower
	// was too slow or away for too long, or the service had to drop its history. Follow
	// continues with the oldest event that is kept.
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
	// followWait is how long one WaitEvents call of Follow waits.
	followWait = time.Minute

	// answerTime is how long after its time the reply to a call may come. A service that
	// takes longer counts as down.
	answerTime = 10 * time.Second

	// firstRetry and lastRetry bound the back-off before a lost service is tried again. It
	// doubles each time.
	firstRetry = 20 * time.Millisecond
	lastRetry  = time.Second
)

// Follow passes all events that match the filter to handle, in order and each once, until ctx is done or
// handle returns an error, which Follow returns. It survives restarts of the service and of the bus, and a
// service that hangs. If the epoch is the same then, it continues after the last event; otherwise it
// reports Gone. Its first call starts a service that does not run; a service that is stopped later stays
// stopped. If the first call fails, or the service refuses a call for good, Follow returns that error.
//
// While handle works, the call for the next events is pending, so at most one reply, with at most 1,024
// events, waits for handle.
func Follow(ctx context.Context, f Follower, handle func(Update) error) error {
	return (&follow{Follower: f, handle: handle, patience: answerTime}).run(ctx)
}

// follow is the state of Follow, and of [Watch], over its connections.
type follow struct {
	Follower // its Cursor is where the last Update ended
	handle   func(Update) error
	patience time.Duration // see answerTime
	started  bool          // the service answered once
	placed   bool          // handle was given a cursor
	down     bool          // the last session failed, or the follower is limited
	ended    error         // what handle returned; nil while it wants more
	pause    time.Duration // of the back-off
	refused  time.Time     // when the service last refused to let it wait

	list     func(context.Context, *Client) (listing, error) // of Watch; nil for Follow
	refresh  time.Duration                                   // list again after so long; 0 for never
	nextList time.Time                                       // when to list again; zero for never
	pending  *listing                                        // handed on after the events before it
}

// listing is a list that was fetched.
type listing struct {
	cursor string // that belongs to it
	seq    uint64 // of the cursor
	handOn func() error
}

func (f *follow) run(ctx context.Context) error {
	for {
		err := f.session(ctx)
		switch {
		case f.ended != nil:
			return f.ended
		case ctx.Err() != nil:
			return ctx.Err()
		case !f.started || !mayPass(err):
			return err
		}
		if err := f.backOff(ctx, err); err != nil {
			return err
		}
	}
}

// session follows over one connection until something fails. While the handler has the events
// of one reply, the call for the next one is under way.
func (f *follow) session(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c, err := Dial(ctx, f.Address)
	if err != nil {
		return err
	}
	defer c.Close()
	var ahead chan pulled // the call that is under way, nil if there is none
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
			ahead = f.startPull(ctx, c, f.Cursor, f.boundWait(wait))
		}
		p := <-ahead
		ahead, c = nil, c.withoutStart()
		wait = followWait
		if f.limited() {
			wait = lastRetry
		}
		if p.err == nil && len(p.events) > 0 && f.pending == nil && f.nextList.IsZero() {
			ahead = f.startPull(ctx, c, p.next, wait)
		}
		limited, err := f.take(ctx, c, p)
		if err != nil {
			return err
		}
		if limited {
			wait = 0
		}
	}
}

// take takes what a call brought. It reports whether the service did not let it wait.
func (f *follow) take(ctx context.Context, c *Client, p pulled) (limited bool, err error) {
	switch {
	case p.err == nil:
		return false, f.takeReply(p.next, p.events)
	case f.started && HasName(p.err, ErrLimitsExceeded):
		return true, f.backOff(ctx, p.err)
	case f.isGone(p.err):
		return false, f.skipLost(ctx, c, p.err)
	}
	return false, p.err
}

// boundWait shortens a wait if a list is to come.
func (f *follow) boundWait(wait time.Duration) time.Duration {
	switch {
	case f.pending != nil:
		return 0
	case !f.nextList.IsZero():
		return min(wait, max(time.Until(f.nextList), time.Millisecond))
	}
	return wait
}

// pulled is what a WaitEvents call brought.
type pulled struct {
	next   string
	events []*hub.Event
	err    error
}

// startPull makes a call in a goroutine of its own, which ends once the call is answered or
// ctx is done. The caller receives the result.
func (f *follow) startPull(ctx context.Context, c *Client, cursor string, wait time.Duration) chan pulled {
	result := make(chan pulled, 1)
	go func() {
		var p pulled
		p.next, p.events, p.err = f.pull(ctx, c, cursor, wait)
		result <- p
	}()
	return result
}

// pull waits for the next events. It runs beside the handler, and reads only what is constant.
func (f *follow) pull(ctx context.Context, c *Client, cursor string, wait time.Duration) (string, []*hub.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+f.patience)
	defer cancel()
	if f.Pulse <= 0 || wait == 0 {
		return c.WaitEvents(ctx, cursor, f.Filter, 0, wait)
	}
	alive, stop := c.startPings(ctx, f.Pulse)
	next, events, err := c.WaitEvents(alive, cursor, f.Filter, 0, wait)
	if silent := stop(); err != nil && silent != nil { // err would only say that alive ended
		err = silent
	}
	return next, events, err
}

// noteAnswer notes that the service answered, and says so after it was away.
func (f *follow) noteAnswer() error {
	f.started = true
	if !f.down || f.limited() {
		return nil
	}
	f.down = false
	return f.handOn(Update{Up: true, Cursor: f.Cursor})
}

// takeReply hands on the reply to a WaitEvents call. A pending list is handed on once all
// events before it were.
func (f *follow) takeReply(next string, events []*hub.Event) error {
	if err := f.noteAnswer(); err != nil {
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
			if err := f.moveCursor(f.pending.cursor, events[:before]); err != nil {
				return err
			}
			if err := f.handOnList(f.pending); err != nil {
				return err
			}
			events = events[before:]
		}
	}
	return f.moveCursor(next, events)
}

// moveCursor hands on events and the cursor after them, where either is new.
func (f *follow) moveCursor(next string, events []*hub.Event) error {
	if len(events) == 0 && next == f.Cursor && f.placed {
		return nil
	}
	f.Cursor, f.placed = next, true
	return f.handOn(Update{Events: events, Cursor: next})
}

func (f *follow) handOn(u Update) error {
	f.ended = f.handle(u)
	return f.ended
}

// mayPass reports whether the reason of a failure may pass by itself.
func mayPass(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return true // the connection
	}
	switch e.Name {
	case wire.ErrServiceUnknown, wire.ErrNameHasNoOwner, wire.ErrNoReply, wire.ErrTimeout, wire.ErrShuttingDown, wire.ErrLimitsExceeded,
		"org.freedesktop.DBus.Error.Disconnected", "org.freedesktop.DBus.Error.TimedOut":
		return true
	}
	return false
}
