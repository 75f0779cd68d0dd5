package client

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

// watchedState is the state that a client builds from a list and the events after it.
type watchedState struct {
	mu    sync.Mutex
	state map[string]string // by id
	seq   uint64            // of the last event or list
	steps []string          // as in followRecorder, and "list"
}

func (f *watchedState) take(t *testing.T) func(Watched[hub.Container]) error {
	return func(w Watched[hub.Container]) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		_, at, _ := hub.ParseCursor(w.Cursor)
		step := ""
		switch {
		case w.Listed:
			step = "list"
			state := map[string]string{}
			for _, row := range w.Rows {
				state[row.ID] = row.State
			}
			// The list equals the state from the events.
			if f.seq == at && f.state != nil && !maps.Equal(state, f.state) {
				t.Errorf("at %d the list is %v, the events give %v", at, state, f.state)
			}
			f.state, f.seq = state, at
		case w.Gone != nil:
			step, f.state = "gone", nil
		case w.Down != nil:
			step = "down"
		case w.Up:
			step = "up"
		}
		for _, e := range w.Events {
			if e.Seq != f.seq+1 {
				t.Errorf("event %d after %d", e.Seq, f.seq)
			}
			f.seq, f.state[e.ID] = e.Seq, e.Action
		}
		if step != "" {
			f.steps = append(f.steps, step)
		}
		return nil
	}
}

// until waits until the state is that of the hub.
func (f *watchedState) until(t *testing.T, h *hub.Hub) {
	t.Helper()
	rows, cursor := h.Containers()
	_, last, _ := hub.ParseCursor(cursor)
	want := map[string]string{}
	for _, row := range rows {
		want[row.ID] = row.State
	}
	apitest.Eventually(t, "the state is known", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.seq == last && maps.Equal(f.state, want)
	})
}

// wantSteps waits for the number of wanted steps, because a list may come after its state is reached by
// events.
func (f *watchedState) wantSteps(t *testing.T, want string) {
	t.Helper()
	apitest.Eventually(t, "the updates "+want, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.steps) >= len(strings.Fields(want))
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	if got := strings.Join(f.steps, " "); got != want {
		t.Errorf("updates were %q, want %q", got, want)
	}
}

// change reports n changes of ten containers.
func change(t *testing.T, h *hub.Hub, n int) {
	t.Helper()
	states := []string{"starting", "running", "stopped"}
	for i := range n {
		apitest.Commit(t, h, 1, hub.TypeState, "pool", "tank", "id", strconv.Itoa(i%10), "state", states[i%3])
	}
}

// The list plus the events is the state of the hub, across restarts of the service and of the bus, and in
// another epoch.
func TestWatch(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{})
		s := serve(t, bus, h)
		change(t, h, 20)
		ctx, cancel := context.WithCancel(apitest.Bounded(t))
		defer cancel()
		f, ended := &watchedState{}, make(chan error, 1)
		go func() {
			ended <- Watch(ctx, Watcher[hub.Container]{Address: bus.Address(), List: (*Client).Containers}, f.take(t))
		}()
		f.until(t, h)
		change(t, h, 33)
		f.until(t, h)
		f.wantSteps(t, "list")
		down := func() {
			apitest.Eventually(t, "down", func() bool {
				f.mu.Lock()
				defer f.mu.Unlock()
				return f.steps[len(f.steps)-1] == "down"
			})
		}
		if err := s.stop(t); err != nil {
			t.Fatal(err)
		}
		down()
		change(t, h, 7)
		s = serve(t, bus, h)
		f.until(t, h)
		f.wantSteps(t, "list down up list")
		bus.Kill()
		down()
		change(t, h, 1500) // more than one reply has
		bus.Restart(t)
		f.until(t, h)
		f.wantSteps(t, "list down up list down up list")
		if err := s.stop(t); err != nil {
			t.Fatal(err)
		}
		down()
		h = apitest.NewHub(t, hub.Config{})
		change(t, h, 2)
		serve(t, bus, h)
		f.until(t, h)
		change(t, h, 5)
		f.until(t, h)
		f.wantSteps(t, "list down up list down up list down up gone list")
		cancel()
		if err := apitest.Await(t, "Watch ends", ended); !errors.Is(err, context.Canceled) {
			t.Error("Watch ended with", err)
		}
	})
}

// With continuous lists during a flood of events, each event comes once, and each list equals the state
// from the events before it.
func TestWatchRefresh(t *testing.T) {
	t.Parallel()
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	h := apitest.NewHub(t, hub.Config{})
	serve(t, bus, h)
	change(t, h, 10)
	ctx, cancel := context.WithCancel(apitest.Bounded(t))
	defer cancel()
	f, ended := &watchedState{}, make(chan error, 1)
	go func() {
		ended <- Watch(ctx, Watcher[hub.Container]{Address: bus.Address(), List: (*Client).Containers, Refresh: time.Nanosecond}, f.take(t))
	}()
	f.until(t, h)
	change(t, h, 10_000)
	f.until(t, h)
	apitest.Eventually(t, "it lists again", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return slices.Contains(f.steps[1:], "list")
	})
	cancel()
	apitest.Await(t, "Watch ends", ended)
}

// From a saved cursor, the events since then come before the list, unless they are gone.
func TestWatchFromCursor(t *testing.T) {
	t.Parallel()
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	h := apitest.NewHub(t, hub.Config{History: 10})
	serve(t, bus, h)
	change(t, h, 20)
	for _, test := range []struct {
		seq  uint64
		want string
	}{{15, "16 17 18 19 20 list"}, {5, "lost 15 list"}} {
		var got []string
		err := Watch(apitest.Bounded(t), Watcher[hub.Container]{
			Address: bus.Address(), List: (*Client).Containers, Cursor: hub.FormatCursor(apitest.Epoch(h), test.seq),
		}, func(w Watched[hub.Container]) error {
			for _, e := range w.Events {
				got = append(got, strconv.FormatUint(e.Seq, 10))
			}
			if w.Gone != nil {
				got = append(got, "lost "+strconv.FormatUint(w.Lost, 10))
			}
			if w.Listed {
				got = append(got, "list")
				return errEnough
			}
			return nil
		})
		if got := strings.Join(got, " "); !errors.Is(err, errEnough) || got != test.want {
			t.Errorf("from %d: %v, %q, want %q", test.seq, err, got, test.want)
		}
	}
}
