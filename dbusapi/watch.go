package dbusapi

import (
	"context"
	"time"

	"github.com/osctl/eventd/hub"
)

// Watcher says what [Watch] watches. Row is [hub.Container] or [hub.Interface].
type Watcher[Row any] struct {
	Address string // of the bus, as [ResolveAddress] gives it
	// List fetches the list: (*Client).Containers or (*Client).Interfaces.
	List func(*Client, context.Context, hub.Filter) ([]Row, string, error)
	Rows hub.Filter // which rows are listed
	// Events says which events are handed on.
	Events hub.Filter
	// Cursor is where the events begin: "" for where the first list ends, or what an
	// earlier run kept, so that the events since then come before the list.
	Cursor string
	// Refresh is how often to list again though nothing was lost. States of an interface
	// other than up are not announced: who wants those asks for them. 0 for never.
	Refresh time.Duration
	Pulse   time.Duration // see [Follower]
}

// Watched is what [Watch] hands on: a list, or one of the updates of [Follow].
type Watched[Row any] struct {
	Update
	// Listed is set where Rows is the whole list, as it was at Cursor.
	Listed bool
	Rows   []Row
}

// Watch hands a list on, and then the events that come after exactly that list; so
// that list and events together are the state at any time. It lists again when events
// are gone, when the service or the bus was away, and as often as Refresh says, and
// before such a list it hands on all events that it already holds: no event that is
// kept is left out, and none comes twice.
//
// It lasts and fails as [Follow] does.
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
		return listing{cursor: cursor, seq: seq, hand: func() error {
			return handle(Watched[Row]{Update: Update{Cursor: cursor}, Listed: true, Rows: rows})
		}}, err
	}
	return f.run(ctx)
}

// relist lists if it is time to. The list is handed on at once where no events come
// before it, else when they have come.
func (f *follow) relist(ctx context.Context, c *Client) error {
	if f.due.IsZero() || time.Now().Before(f.due) || f.pending != nil {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, f.patience)
	defer cancel()
	l, err := f.list(bounded, c)
	if err != nil {
		return err
	}
	if err := f.answered(); err != nil {
		return err
	}
	if f.Cursor != "" {
		f.pending = &l
		return nil
	}
	f.Cursor = l.cursor
	return f.handListing(&l)
}

// handListing hands a list on, and says when the next one is due.
func (f *follow) handListing(l *listing) error {
	f.pending, f.due = nil, time.Time{}
	if f.refresh > 0 {
		f.due = time.Now().Add(f.refresh)
	}
	f.ended = l.hand()
	return f.ended
}
