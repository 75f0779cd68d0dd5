package dbusapi

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/wire"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

// busLink is an address of a bus that can be removed.
type busLink struct{ link, target string }

func newBusLink(t *testing.T, bus *bustest.Bus) *busLink {
	t.Helper()
	target, ok := strings.CutPrefix(bus.Address(), "unix:path=")
	if !ok {
		t.Fatal("the bus is not at a path:", bus.Address())
	}
	d := &busLink{filepath.Join(t.TempDir(), "bus"), target}
	d.open(t)
	return d
}

func (d *busLink) address() string { return "unix:path=" + d.link }

func (d *busLink) open(t *testing.T) {
	t.Helper()
	if err := os.Symlink(d.target, d.link); err != nil {
		t.Fatal(err)
	}
}

func (d *busLink) shut(t *testing.T) {
	t.Helper()
	if err := os.Remove(d.link); err != nil {
		t.Fatal(err)
	}
}

func TestBusRestart(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{})
		d := newBusLink(t, bus)
		s := serveWith(t, Config{Hub: h, Address: d.address()})
		for round := range uint64(3) {
			first := round*20 + 1
			before := apitest.Receive(t, bus, "")
			apitest.Commit(t, h, 10, "x")
			before.WantAll(t, first, first+9)
			d.shut(t)
			bus.Kill()
			apitest.Eventually(t, "the service notices the loss", func() bool { return s.current.Load() == nil })
			if err := s.Check(apitest.Bounded(t)); err != nil {
				t.Error("Check while the bus is away:", err)
			}
			apitest.Commit(t, h, 10, "x")
			bus.Restart(t)
			after := apitest.Receive(t, bus, "")
			d.open(t)
			after.WantAll(t, first+10, first+19)
			before.WantAll(t, first, first+9)
		}
		c := dial(t, bus)
		_, events, err := c.WaitEvents(apitest.Bounded(t), hub.CursorOldest, hub.Filter{}, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		apitest.WantRun(t, apitest.Seqs(events), 1, 60)
		if n := h.Counters()["bus_losses"]; n != 3 {
			t.Errorf("counted %d losses, want 3", n)
		}
		if err := s.Check(apitest.Bounded(t)); err != nil {
			t.Error("Check:", err)
		}
	})
}

// fillOutbox commits events until the outbox is full, because the bus is stopped.
func (s *served) fillOutbox(t *testing.T, h *hub.Hub) {
	t.Helper()
	b := s.current.Load().bus
	full := 0 // times in a row that the number of queued bytes did not change
	before := 0
	apitest.Eventually(t, "the outbox is full", func() bool {
		apitest.Commit(t, h, 100, "load", "id", "101", "text", strings.Repeat("x", 100))
		_, _, waiting := b.Waiting()
		if full++; waiting != before || waiting == 0 {
			full, before = 0, waiting
		}
		return full > 20 || s.current.Load() == nil
	})
}

func TestHungBus(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{History: 1 << 17})
		s := serve(t, bus, h)
		r := apitest.Receive(t, bus, "")
		apitest.Commit(t, h, 1, "x")
		r.WantAll(t, 1, 1)
		bus.Stop()
		s.fillOutbox(t, h)
		last := apitest.Commit(t, h, 5000, "load")
		ctx, cancel := context.WithTimeout(apitest.Bounded(t), 50*time.Millisecond)
		defer cancel()
		hung := s.current.Load()
		if err := s.Check(ctx); err != nil {
			t.Error("Check with a hung bus:", err)
		}
		apitest.Eventually(t, "the connection is given up", func() bool { return s.current.Load() != hung })
		bus.Cont()
		if lost := r.WantAll(t, 1, last); lost > 0 {
			t.Error("lost were", lost)
		}
		if err := s.Check(apitest.Bounded(t)); err != nil || s.current.Load() == nil {
			t.Error("Check after the bus continued:", err)
		}
	})
}

func TestHungBusLapsSignals(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{History: 64})
		s := serve(t, bus, h)
		r := apitest.Receive(t, bus, "")
		apitest.Commit(t, h, 1, "x")
		r.WantAll(t, 1, 1)
		bus.Stop()
		s.fillOutbox(t, h)
		apitest.Commit(t, h, 1000, "load")
		bus.Cont()
		last := apitest.Commit(t, h, 1, "x")
		if lost := r.WantAll(t, 1, last); lost < 500 {
			t.Error("lost were only", lost)
		}
		if r.Lapped == 0 {
			t.Error("no Lapped")
		}
	})
}

func TestHungBusIsGivenUp(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{History: 1 << 17})
		s := serveWith(t, Config{Hub: h, Address: bus.Address(), WriteTimeout: 200 * time.Millisecond})
		r := apitest.Receive(t, bus, "")
		apitest.Commit(t, h, 1, "x")
		r.WantAll(t, 1, 1)
		bus.Stop()
		s.fillOutbox(t, h)
		apitest.Eventually(t, "the connection is given up", func() bool { return s.current.Load() == nil })
		apitest.Commit(t, h, 1000, "load")
		bus.Cont()
		apitest.Eventually(t, "the service is back", func() bool { return s.current.Load() != nil })
		last := apitest.Commit(t, h, 1, "x")
		if lost := r.WantAll(t, 1, last); lost > 0 {
			t.Error("lost were", lost)
		}
	})
}

// A client that does not read its replies fills the memory of dbus-daemon for messages of the service.
// dbus-daemon then neither reads from the service nor notices that the service closes the connection.
func TestReplyQueueFull(t *testing.T) {
	t.Parallel()
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	h := apitest.NewHub(t, hub.Config{})
	s := serveWith(t, Config{Hub: h, Address: bus.Address(), WriteTimeout: 200 * time.Millisecond})
	apitest.Commit(t, h, 80, "load", "text", strings.Repeat("x", 60_000))
	first := s.current.Load()
	client, err := wire.Dial(apitest.Bounded(t), bus.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	call := &wire.Header{
		Type: wire.TypeCall, Path: wire.Path, Interface: wire.Interface, Member: "WaitEvents",
		Destination: wire.Name, Signature: "sa{sv}uu",
	}
	for range 64 {
		e := wire.NewEncoder(nil)
		call.Serial = client.NextSerial()
		e.Message(call, func(e *wire.Encoder) {
			e.String(hub.CursorOldest)
			e.Filter(hub.Filter{})
			e.Uint32(0)
			e.Uint32(0)
		})
		if _, err := client.Write(e.Bytes, apitest.Patience); err != nil {
			t.Fatal(err)
		}
	}
	apitest.Eventually(t, "the service is back on another connection", func() bool {
		now := s.current.Load()
		return now != nil && now != first
	})
}

func TestRunFailsWithoutName(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		owner := bus.ClientAs(t, 0)
		if _, err := owner.CallDriver(apitest.Bounded(t), "RequestName", "su", new(bustest.Body).String(wire.Name).Uint32(0)); err != nil {
			t.Fatal(err)
		}
		s := launch(t, Config{Hub: apitest.NewHub(t, hub.Config{}), Address: bus.Address()})
		err := apitest.Await(t, "Run ends", s.ended)
		if err == nil || !strings.Contains(err.Error(), "already has an owner, "+owner.Name()) {
			t.Error("Run where the name is owned:", err)
		}
		bus.Kill()
		s = launch(t, Config{Hub: apitest.NewHub(t, hub.Config{}), Address: bus.Address()})
		if err := apitest.Await(t, "Run ends", s.ended); err == nil || !strings.Contains(err.Error(), bus.Address()) {
			t.Error("Run without a bus:", err)
		}
	})
}
