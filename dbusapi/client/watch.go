package client

import (
	"context"
	"time"

	"github.com/osctl/eventd/hub"
)

// Watcher configures [Watch]. Row is [hub.Container] or [hub.Interface].
type Watcher[Row any] struct {
	Address string // of the bus, see [ResolveAddress]
	// List fetches the list: (*Client).Containers or (*Client).Interfaces.
	List   func(*Client, context.Context, hub.Filter) ([]Row, string, error)
	Rows   hub.Filter // selects the rows
	Events hub.Filter // selects the events
	// Cursor is where the events begin: "" for the cursor of the first list, or the cursor of an
	// earlier run, so that the events since then come before the list.
	Cursor string
	// Refresh is the interval at which to list again even if nothing was lost, 0 for never. It
	// updates fields that change without an event, such as from down to no carrier.
	Refresh time.Duration
	Pulse   time.Duration // see [Follower]
}

// Watched is what [Watch] passes to its function: a list, or one of the updates of [Follow].
type Watched[Row any] struct {
	Update
	// Listed is set if Rows is the whole list, at Cursor.
	Listed bool
	Rows   []Row
}

// Watch passes a list to handle, and then the events after exactly that list, so that the list plus the
// events is always the current state. It lists again when events are gone, when the service or the bus
// was away, and at the interval Refresh. Before such a list it passes all events that precede it. If events
// are gone, it skips to the list, and Lost counts the skipped events if the epoch is the same. It skips no
// other event, and passes none twice.
//
// It ends and fails like [Follow].
func Watch[Row any](ctx context.Context, w Watcher[Row], handle func(Watched[Row]) error) error {
	f := &follow{
		Follower:     Follower{Address: w.Address, Filter: w.Events, Cursor: w.Cursor, Pulse: w.Pulse},
		handle:       func(u Update) error { return handle(Watched[Row]{Update: u}) },
		refresh:      w.Refresh,
		replyTimeout: defaultReplyTimeout,
	}
	f.list = func(ctx context.Context, c *Client) (listing, error) {
		rows, cursor, err := w.List(c, ctx, w.Rows)
		if err != nil {
			return listing{}, err
		}
		_, seq, err := hub.ParseCursor(cursor)
		return listing{cursor: cursor, seq: seq, deliver: func() error {
			return handle(Watched[Row]{Update: Update{Cursor: cursor}, Listed: true, Rows: rows})
		}}, err
	}
	return f.run(ctx)
}

// fetchList lists if it is time to. It delivers the list at once if no events come before it; otherwise
// the list stays pending.
func (f *follow) fetchList(ctx context.Context, c *Client) error {
	if f.nextList.IsZero() || time.Now().Before(f.nextList) || f.pending != nil {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, f.replyTimeout)
	defer cancel()
	l, err := f.list(bounded, c)
	if err != nil {
		return err
	}
	if err := f.markUp(); err != nil {
		return err
	}
	if f.Cursor != "" {
		f.pending = &l
		return nil
	}
	f.Cursor = l.cursor
	return f.deliverList(&l)
}

// deliverList delivers a list, and sets the time of the next one.
func (f *follow) deliverList(l *listing) error {
	f.pending, f.nextList = nil, time.Time{}
	if f.refresh > 0 {
		f.nextList = time.Now().Add(f.refresh)
	}
	f.handlerErr = l.deliver()
	return f.handlerErr
}
