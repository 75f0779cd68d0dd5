package dbusapi

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/wire"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

func TestShutdownUnderLoad(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{})
		s := serve(t, bus, h)
		r := apitest.Receive(t, bus, "")
		var (
			mu       sync.Mutex
			answered []uint64
			wg       sync.WaitGroup
		)
		for i := range 4 {
			c := dial(t, bus)
			ctx := apitest.Bounded(t)
			wg.Go(func() {
				for {
					seq, err := c.Report(ctx, "load", apitest.Options("id", strconv.Itoa(i)))
					if err == nil {
						mu.Lock()
						answered = append(answered, seq)
						mu.Unlock()
						continue
					}
					if !wire.HasName(err, wire.ErrShuttingDown) && !wire.HasName(err, wire.ErrServiceUnknown) && !wire.HasName(err, wire.ErrNoReply) && !wire.HasName(err, wire.ErrNameHasNoOwner) {
						t.Error("a late call:", err)
					}
					return
				}
			})
		}
		pending := []<-chan waitResult{
			startWait(t, dial(t, bus), "", apitest.Only(t, "type", "never"), time.Hour),
			startWait(t, dial(t, bus), "", apitest.Only(t, "type", "never"), time.Hour),
		}
		s.untilPending(t, 2)
		apitest.Eventually(t, "load", func() bool { s := h.Status(); return s.Last > 300 })
		if err := s.stop(t); err != nil {
			t.Error("Run:", err)
		}
		wg.Wait()
		for _, p := range pending {
			if w := apitest.Await(t, "the pending call", p); !wire.HasName(w.err, wire.ErrShuttingDown) {
				t.Errorf("the pending call was answered: %v", w.err)
			}
		}
		status := h.Status()
		r.WantAll(t, 1, status.Last)
		slices.Sort(answered)
		if n := len(answered); uint64(n) > status.Last || n < 300 {
			t.Errorf("%d reports were answered, the hub has %d", n, status.Last)
		}
		for _, seq := range answered {
			if seq == 0 || seq > status.Last {
				t.Errorf("a report got number %d, the last is %d", seq, status.Last)
			}
		}
		_, err := dial(t, bus).Report(apitest.Bounded(t), "x", nil)
		apitest.WantError(t, err, wire.ErrServiceUnknown)
	})
}

// The hub may close before the service.
func TestClosedHub(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{})
		s := serve(t, bus, h)
		r := apitest.Receive(t, bus, "")
		c := dial(t, bus)
		result := startWait(t, c, "", apitest.Only(t, "type", "never"), time.Hour)
		s.untilPending(t, 1)
		last := apitest.Commit(t, h, 100, "x")
		h.Close()
		if w := apitest.Await(t, "the pending call", result); !wire.HasName(w.err, wire.ErrShuttingDown) {
			t.Error("the pending call:", w.err)
		}
		_, err := c.Report(apitest.Bounded(t), "x", nil)
		apitest.WantError(t, err, wire.ErrShuttingDown)
		_, _, err = c.WaitEvents(apitest.Bounded(t), "", hub.Filter{}, 0, 0)
		apitest.WantError(t, err, wire.ErrShuttingDown)
		if err := s.stop(t); err != nil {
			t.Error("Run:", err)
		}
		r.WantAll(t, 1, last)
	})
}

// A stopping service refuses calls.
func TestCallWhileStopping(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{})
		s := serve(t, bus, h)
		s.current.Load().bus.StopCalls(time.Hour)
		c := dial(t, bus)
		_, err := c.Report(apitest.Bounded(t), "x", nil)
		apitest.WantError(t, err, wire.ErrShuttingDown)
		if _, err := c.Properties(apitest.Bounded(t)); !wire.HasName(err, wire.ErrShuttingDown) {
			t.Error(err)
		}
		if s := h.Status(); s.Last != 0 {
			t.Error("the refused report made an event")
		}
	})
}

func TestShutdownWithStoppedBus(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{})
		// Only stopTimeout can end a write.
		s := serveWith(t, Config{Hub: h, Address: bus.Address(), WriteTimeout: time.Hour})
		startWait(t, dial(t, bus), "", apitest.Only(t, "type", "never"), time.Hour)
		s.untilPending(t, 1)
		bus.Stop()
		s.fillOutbox(t, h)
		if err := s.stop(t); err != nil {
			t.Error("Run:", err)
		}
		bus.Cont()
	})
}

// A service without a bus stops when its context ends.
func TestShutdownWithoutBus(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		s := serve(t, bus, apitest.NewHub(t, hub.Config{}))
		bus.Kill()
		apitest.Eventually(t, "the service notices the loss", func() bool { return s.current.Load() == nil })
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
	return serve(t, bus, apitest.NewHub(t, hub.Config{}))
}

// A service can follow another one on the same bus and hub, and sends each signal once.
func TestConsecutiveServices(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{})
		r := apitest.Receive(t, bus, "")
		for round := range uint64(3) {
			s := serve(t, bus, h)
			if _, err := dial(t, bus).Report(apitest.Bounded(t), "x", apitest.Options("text", strings.Repeat("y", 100))); err != nil {
				t.Fatal(err)
			}
			if err := s.stop(t); err != nil {
				t.Fatal(err)
			}
			r.WantAll(t, 1, round+1)
		}
	})
}
