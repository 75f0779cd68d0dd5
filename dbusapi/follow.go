package dbusapi

import (
	"context"
	"errors"
	"time"

	"github.com/osctl/eventd/hub"
)

// Follower says what [Follow] follows.
type Follower struct {
	Address string     // of the bus, as [ResolveAddress] gives it
	Filter  hub.Filter // which events
	Cursor  string     // where to begin: "" for now, [hub.CursorOldest], or a cursor
	// Pulse is how often to ask whether the service is still there while no event
	// comes, and how long it may take to answer that. 0 for never: one that hangs then
	// counts as down after 70 s.
	Pulse time.Duration
}

// Update is what [Follow] hands on: events, a moved cursor, or a word on what happened.
type Update struct {
	// Events are the next events, oldest first.
	Events []*hub.Event
	// Cursor is the position after Events. Who keeps it may go on from there in
	// another run. It also moves without events, past those that the filter held back;
	// the first time it says that following has begun. It is "" while there is none.
	Cursor string
	// Gone says that the events after the last Cursor are no longer kept: the follower
	// was too slow or away for too long, or the service had to drop its history. Follow
	// goes on with the oldest event there is.
	Gone error
	// Lost, with Gone, is how many events that were. With a filter it is an upper
	// bound: which of them would have passed is not known. 0 means that it cannot be
	// known, as the epoch is another one.
	Lost uint64
	// Down says that the service or the bus went away, once for each time. Follow
	// goes on when it is back. With [ErrLimitsExceeded] the service is there, but lets
	// too many others wait already: Follow asks it again and again instead, once a second
	// in the end, so that events still come, and later.
	Down error
	// Up is set once the service is back, before anything else that comes of it, or once
	// it lets Follow wait.
	Up bool
}

// followWait is how long one WaitEvents call of Follow waits.
const followWait = time.Minute

// answerTime is how long after its time the answer to a call may come. A service that
// takes longer counts as down.
const answerTime = 10 * time.Second

// Follow hands all events that pass the filter to handle, in order and each once,
// until ctx is done or handle returns an error, which it returns. It survives
// restarts of the service and of the bus, and a service that hangs: with the same epoch
// it goes on where it was, with another one it says Gone. Its first call starts a service that does not run;
// one that is stopped later stays so. If the first call fails, or one is refused for a
// reason that does not pass, it returns that error.
func Follow(ctx context.Context, f Follower, handle func(Update) error) error {
	return (&follow{Follower: f, handle: handle, patience: answerTime}).run(ctx)
}

// follow is the state of Follow, and of [Watch], over its connections.
type follow struct {
	Follower
	handle   func(Update) error
	patience time.Duration // see answerTime
	started  bool          // the service answered once
	placed   bool          // a position was handed on
	down     bool          // the last session failed
	ended    error         // handle wants no more
	refused  time.Time     // when the service last refused to let it wait
	pause    time.Duration // before the next try

	list    func(context.Context, *Client) (listing, error) // of Watch; nil for Follow
	refresh time.Duration                                   // list again after so long; 0 for never
	due     time.Time                                       // when to list again; zero for never
	pending *listing                                        // handed on after the events before it
}

// listing is a list that was fetched.
type listing struct {
	cursor string // that belongs to it
	seq    uint64 // of the cursor
	hand   func() error
}

func (f *follow) run(ctx context.Context) error {
	for {
		err := f.session(ctx)
		switch {
		case f.ended != nil:
			return f.ended
		case ctx.Err() != nil:
			return ctx.Err()
		case !f.started || !passing(err):
			return err
		}
		if err := f.backOff(ctx, err); err != nil {
			return err
		}
	}
}

// backOff says why the service cannot be followed now, once, and waits before the next try:
// longer each time, until answered says that all is well.
func (f *follow) backOff(ctx context.Context, why error) error {
	f.pause = min(2*f.pause, lastRetry)
	if HasName(why, ErrLimitsExceeded) {
		f.refused = time.Now()
	}
	if !f.down {
		f.down, f.pause = true, firstRetry
		if err := f.hand(Update{Down: why, Cursor: f.Cursor}); err != nil {
			return err
		}
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(f.pause):
		return nil
	}
}

// limited reports whether the service refused of late to let the follower wait. A call that
// finds events at once says nothing about that, as it does not wait.
func (f *follow) limited() bool {
	return !f.refused.IsZero() && time.Since(f.refused) < 5*lastRetry
}

// session follows over one connection until something fails.
func (f *follow) session(ctx context.Context) error {
	c, err := Dial(ctx, f.Address)
	if err != nil {
		return err
	}
	defer c.Close()
	if f.started {
		c = c.asItIs()
	}
	wait := time.Duration(0) // the first call fixes the position
	f.pending = nil
	if f.list != nil {
		f.due = time.Now()
	}
	for {
		if err := f.relist(ctx, c); err != nil {
			return err
		}
		if f.pending != nil {
			wait = 0
		} else if !f.due.IsZero() {
			wait = min(wait, max(time.Until(f.due), time.Millisecond))
		}
		next, events, err := f.pull(ctx, c, wait)
		switch {
		case f.started && HasName(err, ErrLimitsExceeded):
			if err := f.backOff(ctx, err); err != nil {
				return err
			}
			wait = 0
			continue
		case err == nil:
			err = f.advance(next, events)
		case f.noLongerKept(err):
			err = f.gone(ctx, c, err)
		}
		if err != nil {
			return err
		}
		wait, c = followWait, c.asItIs()
		if f.limited() {
			wait = lastRetry
		}
	}
}

// pull waits for the next events.
func (f *follow) pull(ctx context.Context, c *Client, wait time.Duration) (string, []*hub.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+f.patience)
	defer cancel()
	if f.Pulse <= 0 || wait == 0 {
		return c.WaitEvents(ctx, f.Cursor, f.Filter, 0, wait)
	}
	felt, stop := c.feelPulse(ctx, f.Pulse)
	next, events, err := c.WaitEvents(felt, f.Cursor, f.Filter, 0, wait)
	if silent := stop(); err != nil && silent != nil { // or err would only say that felt ended
		err = silent
	}
	return next, events, err
}

// answered notes that the service answered, and says so after it was away.
func (f *follow) answered() error {
	f.started = true
	if !f.down || f.limited() {
		return nil
	}
	f.down = false
	return f.hand(Update{Up: true, Cursor: f.Cursor})
}

// advance takes the reply to a WaitEvents call. A list that waits is handed on when
// all events before it were.
func (f *follow) advance(next string, events []*hub.Event) error {
	if err := f.answered(); err != nil {
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
			if err := f.move(f.pending.cursor, events[:before]); err != nil {
				return err
			}
			if err := f.handListing(f.pending); err != nil {
				return err
			}
			events = events[before:]
		}
	}
	return f.move(next, events)
}

// move hands on events and the cursor after them, where there is news.
func (f *follow) move(next string, events []*hub.Event) error {
	if len(events) == 0 && next == f.Cursor && f.placed {
		return nil
	}
	f.Cursor, f.placed = next, true
	return f.hand(Update{Events: events, Cursor: next})
}

// noLongerKept reports whether a call failed because the events after the cursor are
// no longer there. A cursor in good form that is refused is from beyond the newest
// event: the service was given an older state.
func (f *follow) noLongerKept(err error) bool {
	if HasName(err, ErrInvalidCursor) {
		_, _, bad := hub.ParseCursor(f.Cursor)
		return bad == nil
	}
	return HasName(err, ErrGone)
}

// gone finds a position to go on from, and hands on what was lost.
func (f *follow) gone(ctx context.Context, c *Client, cause error) error {
	if err := f.answered(); err != nil {
		return err
	}
	if f.Cursor == hub.CursorOldest {
		return nil // it moved on in that moment: nothing is missing that was promised
	}
	ctx, cancel := context.WithTimeout(ctx, f.patience)
	defer cancel()
	lost := Update{Gone: cause}
	var fresh *listing
	if f.list == nil {
		oldest, err := c.oldest(ctx)
		if err != nil {
			return err
		}
		lost.Cursor = oldest
	} else {
		l, err := f.list(ctx, c)
		if err != nil {
			return err
		}
		fresh, lost.Cursor = &l, l.cursor
	}
	lost.Lost = between(f.Cursor, lost.Cursor)
	f.Cursor = lost.Cursor
	if err := f.hand(lost); err != nil || fresh == nil {
		return err
	}
	return f.handListing(fresh)
}

// oldest returns the cursor before the oldest event that is kept now.
func (c *Client) oldest(ctx context.Context) (string, error) {
	p, err := c.Properties(ctx)
	if err != nil {
		return "", err
	}
	v, _ := p.Get("OldestSequence")
	return hub.FormatCursor(p.Text("Epoch"), max(v.Uint(), 1)-1), nil
}

// between returns how many events lie between two cursors, 0 if that is not known.
func between(from, to string) uint64 {
	was, first, err := hub.ParseCursor(from)
	if err != nil {
		return 0
	}
	is, last, err := hub.ParseCursor(to)
	if err != nil || was != is || last < first {
		return 0
	}
	return last - first
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
