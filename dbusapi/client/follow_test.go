package client

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// followRecorder records the updates of a running Follow.
type followRecorder struct {
	ended chan error
	mu    sync.Mutex
	steps []string // "down", "up", "gone" or "events" by update; consecutive "events" are merged
	seqs  []uint64 // since the last "gone"
	last  string   // cursor
}

func startFollow(ctx context.Context, t *testing.T, f Follower) *followRecorder {
	t.Helper()
	g := &followRecorder{ended: make(chan error, 1)}
	go func() { g.ended <- Follow(ctx, f, g.take) }()
	return g
}

func (g *followRecorder) take(u Update) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	step := "events"
	switch {
	case u.Gone != nil:
		step = "gone"
		g.seqs = nil
	case u.Down != nil:
		step = "down"
	case u.Up:
		step = "up"
	}
	if n := len(g.steps); n == 0 || step != "events" || g.steps[n-1] != "events" {
		g.steps = append(g.steps, step)
	}
	g.seqs = append(g.seqs, apitest.Seqs(u.Events)...)
	if u.Cursor != "" {
		g.last = u.Cursor
	}
	return nil
}

// until waits for event last, and wants all numbers up to it since the last gap.
func (g *followRecorder) until(t *testing.T, last uint64) {
	t.Helper()
	apitest.Eventually(t, "events are followed", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.seqs) > 0 && g.seqs[len(g.seqs)-1] >= last
	})
	g.mu.Lock()
	defer g.mu.Unlock()
	apitest.WantRun(t, g.seqs, 1, last)
}

func (g *followRecorder) untilStep(t *testing.T, step string) {
	t.Helper()
	apitest.Eventually(t, "the update "+step, func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.steps) > 0 && g.steps[len(g.steps)-1] == step
	})
}

func (g *followRecorder) wantSteps(t *testing.T, want string) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if got := strings.Join(g.steps, " "); got != want {
		t.Errorf("updates were %q, want %q", got, want)
	}
}

func TestFollow(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{})
		s := serve(t, bus, h)
		ctx, cancel := context.WithCancel(apitest.Bounded(t))
		apitest.Commit(t, h, 5, "x")
		g := startFollow(ctx, t, Follower{Address: bus.Address(), Cursor: hub.CursorOldest})
		g.until(t, 5)
		apitest.Commit(t, h, 5, "x")
		g.until(t, 10)
		// The service restarts with the same hub.
		if err := s.stop(t); err != nil {
			t.Fatal(err)
		}
		g.untilStep(t, "down")
		apitest.Commit(t, h, 5, "x")
		s = serve(t, bus, h)
		g.until(t, 15)
		g.wantSteps(t, "events down up events")
		// The bus restarts.
		bus.Kill()
		g.untilStep(t, "down")
		apitest.Commit(t, h, 5, "x")
		bus.Restart(t)
		g.until(t, 20)
		g.wantSteps(t, "events down up events down up events")
		// The service restarts without a log.
		if err := s.stop(t); err != nil {
			t.Fatal(err)
		}
		g.untilStep(t, "down")
		h = apitest.NewHub(t, hub.Config{})
		apitest.Commit(t, h, 3, "x")
		serve(t, bus, h)
		apitest.Eventually(t, "events after the gap", func() bool {
			g.mu.Lock()
			defer g.mu.Unlock()
			return strings.HasSuffix(strings.Join(g.steps, " "), "up gone events")
		})
		g.until(t, 3)
		g.wantSteps(t, "events down up events down up events down up gone events")
		cancel()
		if err := apitest.Await(t, "Follow ends", g.ended); !errors.Is(err, context.Canceled) {
			t.Error("Follow ended with", err)
		}
		if g.last != hub.FormatCursor(apitest.Epoch(h), 3) {
			t.Error("the last cursor is", g.last)
		}
	})
}

func TestFollowUnderLoad(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		const events = 10_000
		serve(t, bus, apitest.NewHub(t, hub.Config{}))
		ctx, cancel := context.WithCancel(apitest.Bounded(t))
		g := startFollow(ctx, t, Follower{Address: bus.Address(), Cursor: hub.CursorOldest, Filter: apitest.Only(t, "type", "load")})
		done := apitest.Pour(t, apitest.OpenStream(t, bus, 0), events, bustest.FlagNoReply)
		g.until(t, events)
		g.wantSteps(t, "events")
		cancel()
		apitest.Await(t, "Follow ends", g.ended)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestFollowEnds(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		stop := errors.New("enough")
		refuse := func(Update) error { return stop }
		if err := Follow(apitest.Bounded(t), Follower{Address: bus.Address()}, refuse); !HasName(err, wire.ErrServiceUnknown) {
			t.Error("Follow without a service:", err)
		}
		h := apitest.NewHub(t, hub.Config{})
		s := serve(t, bus, h)
		waits := monitorWaits(t, bus)
		apitest.Commit(t, h, 1, "x")
		if err := Follow(apitest.Bounded(t), Follower{Address: bus.Address(), Cursor: hub.CursorOldest}, refuse); !errors.Is(err, stop) {
			t.Error("Follow whose handler fails at events:", err)
		}
		if err := Follow(apitest.Bounded(t), Follower{Address: bus.Address(), Cursor: "other:7"}, refuse); !errors.Is(err, stop) {
			t.Error("Follow whose handler fails at Gone:", err)
		}
		if err := Follow(apitest.Bounded(t), Follower{Address: bus.Address(), Cursor: "nonsense"}, refuse); !HasName(err, ErrInvalidCursor) {
			t.Error("Follow from nonsense:", err)
		}
		// The handler of a waiting Follow fails at Down.
		ended := make(chan error, 1)
		refuseDown := func(u Update) error {
			if u.Down != nil {
				return stop
			}
			return nil
		}
		go func() { ended <- Follow(t.Context(), Follower{Address: bus.Address()}, refuseDown) }()
		waits.until(t, 1)
		if err := s.stop(t); err != nil {
			t.Fatal(err)
		}
		if err := apitest.Await(t, "Follow ends", ended); !errors.Is(err, stop) {
			t.Error("Follow whose handler fails at Down:", err)
		}
		bus.Kill()
		if err := Follow(apitest.Bounded(t), Follower{Address: bus.Address()}, refuse); err == nil || errors.Is(err, stop) {
			t.Error("Follow without a bus:", err)
		}
	})
}

// If the oldest event is dropped during the call for it, Follow asks again and reports no loss.
func TestFollowOldestGone(t *testing.T) {
	t.Parallel()
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	service := ownName(t, bus)
	ctx, cancel := context.WithCancel(apitest.Bounded(t))
	g := startFollow(ctx, t, Follower{Address: bus.Address(), Cursor: hub.CursorOldest})
	answer(t, service, nextWait(t, service, hub.CursorOldest), &bustest.Message{Type: bustest.TypeError, ErrorName: ErrGone})
	answer(t, service, nextWait(t, service, hub.CursorOldest), eventAt(7))
	nextWait(t, service, "e:7")
	g.wantSteps(t, "events")
	cancel()
	if err := apitest.Await(t, "Follow ends", g.ended); !errors.Is(err, context.Canceled) {
		t.Error("Follow ended with", err)
	}
}

// Follow survives a limit of the bus, as when the queue of a service that hangs is full.
func TestFollowBusLimit(t *testing.T) {
	t.Parallel()
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	calls := 0
	answerCalls(t, bus, func(*bustest.Message) *bustest.Message {
		switch calls++; calls {
		case 1:
			return eventAt(1)
		case 2:
			return &bustest.Message{Type: bustest.TypeError, ErrorName: "org.freedesktop.DBus.Error.LimitsExceeded"}
		case 3:
			return eventAt(2)
		}
		return nil
	})
	ctx, cancel := context.WithCancel(apitest.Bounded(t))
	g := startFollow(ctx, t, Follower{Address: bus.Address()})
	g.until(t, 2)
	g.wantSteps(t, "events down up events")
	cancel()
	if err := apitest.Await(t, "Follow ends", g.ended); !errors.Is(err, context.Canceled) {
		t.Error("Follow ended with", err)
	}
}
