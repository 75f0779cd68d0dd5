package dbusapi

import (
	"context"
	"errors"
	"testing"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

// enough ends a Follow or Watch of a test.
var errEnough = errors.New("enough")

// TestFollowLost goes on from cursors that a caller kept, and expects to be told
// exactly how many events are missing.
func TestFollowLost(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := newHub(t, hub.Config{History: 10})
		serve(t, bus, h)
		commit(t, h, 25, "x")
		for _, test := range []struct {
			name, cursor string
			gone         bool
			lost, first  uint64
		}{
			{"kept", hub.FormatCursor(epoch(h), 15), false, 0, 16},
			{"just lost", hub.FormatCursor(epoch(h), 14), true, 1, 16},
			{"long lost", hub.FormatCursor(epoch(h), 3), true, 12, 16},
			{"another epoch", "other:3", true, 0, 16},
			{"beyond the newest", hub.FormatCursor(epoch(h), 99), true, 0, 16},
			{"oldest", hub.CursorOldest, false, 0, 16},
		} {
			t.Run(test.name, func(t *testing.T) {
				gone, lost, cursor := false, uint64(0), ""
				err := Follow(bounded(t), Follower{Address: bus.Address(), Cursor: test.cursor}, func(u Update) error {
					switch {
					case u.Gone != nil:
						gone, lost, cursor = true, u.Lost, u.Cursor
					case len(u.Events) > 0:
						wantRun(t, seqs(u.Events), test.first, 25)
						return errEnough
					}
					return nil
				})
				if !errors.Is(err, errEnough) || gone != test.gone || lost != test.lost {
					t.Errorf("%v, gone %v, lost %d, want %v and %d", err, gone, lost, test.gone, test.lost)
				}
				if want := hub.FormatCursor(epoch(h), test.first-1); gone && cursor != want {
					t.Errorf("goes on from %s, want %s", cursor, want)
				}
			})
		}
	})
}

// TestFollowSlow laps a follower again and again: what it got and what it was told to
// have lost is everything.
func TestFollowSlow(t *testing.T) {
	t.Parallel()
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	h := newHub(t, hub.Config{History: 8})
	serve(t, bus, h)
	first := commit(t, h, 1, "x")
	var got, lost, gaps uint64
	err := Follow(bounded(t), Follower{Address: bus.Address(), Cursor: hub.FormatCursor(epoch(h), first-1)}, func(u Update) error {
		got += uint64(len(u.Events))
		if u.Gone != nil {
			lost += u.Lost
			gaps++
		}
		if gaps == 20 {
			return errEnough
		}
		if len(u.Events) > 0 {
			commit(t, h, 13, "x") // more than are kept
		}
		return nil
	})
	status := h.Status()
	at := status.Last
	if !errors.Is(err, errEnough) || got+lost+8 != at || lost != 20*5 {
		t.Errorf("%v: got %d and lost %d of %d", err, got, lost, at)
	}
}

// A filter moves the cursor past what it holds back, so that a kept one stays young.
func TestFollowCursorMoves(t *testing.T) {
	t.Parallel()
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	h := newHub(t, hub.Config{History: 10})
	serve(t, bus, h)
	commit(t, h, 30, "other")
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	err := Follow(ctx, Follower{Address: bus.Address(), Filter: only(t, "type", "x"), Cursor: hub.CursorOldest}, func(u Update) error {
		if len(u.Events) != 0 || u.Cursor != hub.FormatCursor(epoch(h), 30) {
			t.Errorf("update %+v", u)
		}
		return errEnough
	})
	if !errors.Is(err, errEnough) {
		t.Error(err)
	}
}
