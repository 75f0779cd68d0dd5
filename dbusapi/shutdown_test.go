package dbusapi

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

func TestShutdownUnderLoad(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := newHub(t, hub.Config{})
		s := serve(t, bus, h)
		r := receive(t, bus, "")
		var (
			mu       sync.Mutex
			answered []uint64
			wg       sync.WaitGroup
		)
		for i := range 4 {
			c := dial(t, bus)
			ctx := bounded(t)
			wg.Go(func() {
				for {
					seq, err := c.Report(ctx, "load", options("id", strconv.Itoa(i)))
					if err == nil {
						mu.Lock()
						answered = append(answered, seq)
						mu.Unlock()
						continue
					}
					if !HasName(err, ErrShuttingDown) && !HasName(err, errServiceUnknown) && !HasName(err, errNoReply) && !HasName(err, errNameHasNoOwner) {
						t.Error("a late call:", err)
					}
					return
				}
			})
		}
		pending := []<-chan waited{
			pull(t, dial(t, bus), "", only(t, "type", "never"), time.Hour),
			pull(t, dial(t, bus), "", only(t, "type", "never"), time.Hour),
		}
		s.untilPending(t, 2)
		eventually(t, "load", func() bool { s := h.Status(); return s.Last > 300 })
		if err := s.stop(t); err != nil {
			t.Error("Run:", err)
		}
		wg.Wait()
		for _, p := range pending {
			if w := await(t, "the pending call", p); !HasName(w.err, ErrShuttingDown) {
				t.Errorf("the pending call was answered: %v", w.err)
			}
		}
		status := h.Status()
		r.wantAll(t, 1, status.Last)
		slices.Sort(answered)
		if n := len(answered); uint64(n) > status.Last || n < 300 {
			t.Errorf("%d reports were answered, %d taken", n, status.Last)
		}
		for _, seq := range answered {
			if seq == 0 || seq > status.Last {
				t.Errorf("the report with number %d was answered, the last is %d", seq, status.Last)
			}
		}
		_, err := dial(t, bus).Report(bounded(t), "x", nil)
		wantError(t, err, errServiceUnknown)
	})
}

// The hub may go first.
func TestClosedHub(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := newHub(t, hub.Config{})
		s := serve(t, bus, h)
		r := receive(t, bus, "")
		c := dial(t, bus)
		result := pull(t, c, "", only(t, "type", "never"), time.Hour)
		s.untilPending(t, 1)
		last := commit(t, h, 100, "x")
		h.Close()
		if w := await(t, "the pending call", result); !HasName(w.err, ErrShuttingDown) {
			t.Error("the pending call:", w.err)
		}
		_, err := c.Report(bounded(t), "x", nil)
		wantError(t, err, ErrShuttingDown)
		_, _, err = c.WaitEvents(bounded(t), "", hub.Filter{}, 0, 0)
		wantError(t, err, ErrShuttingDown)
		if err := s.stop(t); err != nil {
			t.Error("Run:", err)
		}
		r.wantAll(t, 1, last)
	})
}

// A call that comes while the service stops is refused.
func TestCallWhileStopping(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := newHub(t, hub.Config{})
		s := serve(t, bus, h)
		s.current.Load().work.stop()
		c := dial(t, bus)
		_, err := c.Report(bounded(t), "x", nil)
		wantError(t, err, ErrShuttingDown)
		if _, err := c.Properties(bounded(t)); !HasName(err, ErrShuttingDown) {
			t.Error(err)
		}
		if s := h.Status(); s.Last != 0 {
			t.Error("the event was taken")
		}
	})
}

func TestShutdownWithStoppedBus(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := newHub(t, hub.Config{})
		// Nothing but the end's own limit can end a write.
		s := serveWith(t, Config{Hub: h, Address: bus.Address(), WriteTimeout: time.Hour})
		pull(t, dial(t, bus), "", only(t, "type", "never"), time.Hour)
		s.untilPending(t, 1)
		bus.Stop()
		s.fill(t, h)
		if err := s.stop(t); err != nil {
			t.Error("Run:", err)
		}
		bus.Cont()
	})
}

// A service that is told to end while it looks for its bus ends.
func TestShutdownWithoutBus(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		s := serve(t, bus, newHub(t, hub.Config{}))
		bus.Kill()
		eventually(t, "the loss is seen", func() bool { return s.current.Load() == nil })
		if err := s.stop(t); err != nil {
			t.Error("Run:", err)
		}
		s = serveAfterRestart(t, bus)
		bus.Stop()
		if err := s.stop(t); err != nil {
			t.Error("Run:", err)
		}
		bus.Cont()
	})
}

func serveAfterRestart(t *testing.T, bus *bustest.Bus) *served {
	t.Helper()
	bus.Restart(t)
	return serve(t, bus, newHub(t, hub.Config{}))
}

// What an ended service leaves behind: nothing on the bus, a good cursor in the hub.
func TestServiceAfterService(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := newHub(t, hub.Config{})
		r := receive(t, bus, "")
		for round := range uint64(3) {
			s := serve(t, bus, h)
			if _, err := dial(t, bus).Report(bounded(t), "x", options("text", strings.Repeat("y", 100))); err != nil {
				t.Fatal(err)
			}
			if err := s.stop(t); err != nil {
				t.Fatal(err)
			}
			r.wantAll(t, 1, round+1)
		}
	})
}
