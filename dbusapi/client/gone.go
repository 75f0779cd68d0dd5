package client

import (
	"context"

	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// isGone reports whether a call failed because the events after the cursor are no longer kept. If the
// service refuses a well-formed cursor, that is beyond its newest event, because the service restarted
// with an older state.
func (f *follow) isGone(err error) bool {
	if HasName(err, wire.ErrInvalidCursor) {
		_, _, malformed := hub.ParseCursor(f.Cursor)
		return malformed == nil
	}
	return HasName(err, wire.ErrGone)
}

// skipLost moves the cursor past lost events, and delivers their number.
func (f *follow) skipLost(ctx context.Context, c *Client, cause error) error {
	if err := f.markUp(); err != nil {
		return err
	}
	if f.Cursor == hub.CursorOldest {
		return nil // the oldest event was dropped meanwhile; no requested event is lost
	}
	ctx, cancel := context.WithTimeout(ctx, f.replyTimeout)
	defer cancel()
	lost := Update{Gone: cause}
	var fresh *listing
	if f.list == nil {
		oldest, err := c.oldestCursor(ctx)
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
	lost.Lost = countBetween(f.Cursor, lost.Cursor)
	f.Cursor = lost.Cursor
	if err := f.deliver(lost); err != nil || fresh == nil {
		return err
	}
	return f.deliverList(fresh)
}

// oldestCursor returns the cursor before the oldest event that is kept.
func (c *Client) oldestCursor(ctx context.Context) (string, error) {
	p, err := c.Properties(ctx)
	if err != nil {
		return "", err
	}
	v, _ := p.Get("OldestSequence")
	return hub.FormatCursor(p.Text("Epoch"), max(v.Uint(), 1)-1), nil
}

// countBetween returns the number of events between two cursors, 0 if it is not known.
func countBetween(from, to string) uint64 {
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
