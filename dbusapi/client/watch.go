package client

import (
	"context"
	"time"

	"github.com/osctl/eventd/hub"
)

// Watcher configures [Watch]. Row is [hub.Container] or [hub.Interface].
type Watcher[Row any] struct {
	Address string // of the bus, as [ResolveAddress] gives it
	// List fetches the list: (*Client).Containers or (*Client).Interfaces.
	List func(*Client, context.Context, hub.Filter) ([]Row, string, error)
	Rows hub.Filter // which rows are listed
	// Events selects the events to pass on.
	Events hub.Filter
	// Cursor is where the events begin: "" for the cursor of the first list, or the cursor of an
	// earlier run, so that the events since then come before the list.
	Cursor string
	// Refresh is the time after which to list again even if nothing was lost, 0 for never. It
	// updates fields of a row that can change without an event, such as that an interface is down
	// or has no carrier.
	Refresh time.Duration
	Pulse   time.Duration // see [Follower]
}

// Watched is what [Watch] passes to its function: a list, or one of the updates of [Follow].
type Watched[Row any] struct {
	Update
	// Listed is set where Rows is the whole list, as it was at Cursor.
	Listed bool
	Rows   []Row
}

// Watch passes a list to handle, and then the events after exactly that list, so the list and the events
// together are the state at any time. It lists again when events are gone, when the service or the bus was
// away, and as often as Refresh says. Before such a list it passes all events that precede it: it skips no
// event that is kept, and passes none twice.
//
// It ends and fails as [Follow] does.
func Watch[Row any](ctx context.Context, w Watcher[Row], handle func(Watched[Row]) error) error {
	f := &follow{
		Follower: Follower{Address: w.Address, Filter: w.Events, Cursor: w.Cursor, Pulse: w.Pulse},
		handle:   func(u Update) error { return handle(Watched[Row]{Update: u}) },
		refresh:  w.Refresh,
		patience: answerTime,
	}
	f.list = func(ctx context.Context, c *Client) (listing, error) {
		rows, cursor, err := w.List(c, ctx, w.Rows)
		if err != nil {
			return listing{}, err
		}
		_, seq, err := hub.ParseCursor(cursor)
		return listing{cursor: cursor, seq: seq, handOn: func() error {
			return handle(Watched[Row]{Update: Update{Cursor: cursor}, Listed: true, Rows: rows})
		}}, err
	}
	return f.run(ctx)
}

// fetchList lists if it is time to. The list is handed on at once where no events come
// before it, else after those.
func (f *follow) fetchList(ctx context.Context, c *Client) error {
	if f.nextList.IsZero() || time.Now().Before(f.nextList) || f.pending != nil {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, f.patience)
	defer cancel()
	l, err := f.list(bounded, c)
	if err != nil {
		return err
	}
	if err := f.noteAnswer(); err != nil {
		return err
	}
	if f.Cursor != "" {
		f.pending = &l
		return nil
	}
	f.Cursor = l.cursor
	return f.handOnList(&l)
}

// handOnList hands a list on, and sets the time of the next one.
func (f *follow) handOnList(l *listing) error {
	f.pending, f.nextList = nil, time.Time{}
	if f.refresh > 0 {
		f.nextList = time.Now().Add(f.refresh)
	}
	f.ended = l.handOn()
	return f.ended
}
