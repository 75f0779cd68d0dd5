package client

import (
	"context"
	"errors"
	"testing"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

// errEnough ends a Follow or Watch of a test.
var errEnough = errors.New("enough")

// Follow from a saved cursor reports the exact number of lost events.
func TestFollowLost(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{History: 10})
		serve(t, bus, h)
		apitest.Commit(t, h, 25, "x")
		for _, test := range []struct {
			name, cursor string
			gone         bool
			lost, first  uint64
		}{
			{"kept", hub.FormatCursor(apitest.Epoch(h), 15), false, 0, 16},
			{"just lost", hub.FormatCursor(apitest.Epoch(h), 14), true, 1, 16},
			{"long lost", hub.FormatCursor(apitest.Epoch(h), 3), true, 12, 16},
			{"another epoch", "other:3", true, 0, 16},
			{"beyond the newest", hub.FormatCursor(apitest.Epoch(h), 99), true, 0, 16},
			{"oldest", hub.CursorOldest, false, 0, 16},
		} {
			t.Run(test.name, func(t *testing.T) {
				gone, lost, cursor := false, uint64(0), ""
				err := Follow(apitest.Bounded(t), Follower{Address: bus.Address(), Cursor: test.cursor}, func(u Update) error {
					switch {
					case u.Gone != nil:
						gone, lost, cursor = true, u.Lost, u.Cursor
					case len(u.Events) > 0:
						apitest.WantRun(t, apitest.Seqs(u.Events), test.first, 25)
						return errEnough
					}
					return nil
				})
				if !errors.Is(err, errEnough) || gone != test.gone || lost != test.lost {
					t.Errorf("%v, gone %v, lost %d, want %v and %d", err, gone, lost, test.gone, test.lost)
				}
				if want := hub.FormatCursor(apitest.Epoch(h), test.first-1); gone && cursor != want {
					t.Errorf("continues from %s, want %s", cursor, want)
				}
			})
		}
	})
}

// commitBatch commits n events at once, so that no reply has only a part of them.
func commitBatch(t *testing.T, h *hub.Hub, n int) {
	t.Helper()
	batch := hub.Batch{}
	for range n {
		e, err := hub.NewEvent("x", nil, "test")
		if err != nil {
			t.Fatal(err)
		}
		batch.Events = append(batch.Events, e)
	}
	if _, err := h.Commit(batch); err != nil {
		t.Fatal(err)
	}
}

// If a follower is lapped repeatedly, the delivered and the lost events add up.
func TestFollowSlow(t *testing.T) {
	t.Parallel()
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	h := apitest.NewHub(t, hub.Config{History: 8})
	serve(t, bus, h)
	first := apitest.Commit(t, h, 1, "x")
	var got, lost, gaps uint64
	err := Follow(apitest.Bounded(t), Follower{Address: bus.Address(), Cursor: hub.FormatCursor(apitest.Epoch(h), first-1)}, func(u Update) error {
		got += uint64(len(u.Events))
		if u.Gone != nil {
			lost += u.Lost
			gaps++
		}
		if gaps == 20 {
			return errEnough
		}
		if len(u.Events) > 0 {
			commitBatch(t, h, 13) // more than are kept
		}
		return nil
	})
	status := h.Status()
	at := status.Last
	if !errors.Is(err, errEnough) || got+lost+8 != at || lost != 20*5 {
		t.Errorf("%v: got %d and lost %d of %d", err, got, lost, at)
	}
}

// The cursor moves past foreign events, so that a saved one stays valid for longer.
func TestFollowCursorMoves(t *testing.T) {
	t.Parallel()
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	h := apitest.NewHub(t, hub.Config{History: 10})
	serve(t, bus, h)
	apitest.Commit(t, h, 30, "other")
	ctx, cancel := context.WithCancel(apitest.Bounded(t))
	defer cancel()
	err := Follow(ctx, Follower{Address: bus.Address(), Filter: apitest.Only(t, "type", "x"), Cursor: hub.CursorOldest}, func(u Update) error {
		if len(u.Events) != 0 || u.Cursor != hub.FormatCursor(apitest.Epoch(h), 30) {
			t.Errorf("update %+v", u)
		}
		return errEnough
	})
	if !errors.Is(err, errEnough) {
		t.Error(err)
	}
}
