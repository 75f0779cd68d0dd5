package dbusapi

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

// door is an address of a bus that can be shut.
type door struct{ link, target string }

func newDoor(t *testing.T, bus *bustest.Bus) *door {
	t.Helper()
	target, err := socketPath(bus.Address())
	if err != nil {
		t.Fatal(err)
	}
	d := &door{filepath.Join(t.TempDir(), "bus"), target}
	d.open(t)
	return d
}

func (d *door) address() string { return "unix:path=" + d.link }

func (d *door) open(t *testing.T) {
	t.Helper()
	if err := os.Symlink(d.target, d.link); err != nil {
		t.Fatal(err)
	}
}

func (d *door) shut(t *testing.T) {
	t.Helper()
	if err := os.Remove(d.link); err != nil {
		t.Fatal(err)
	}
}

func TestBusRestart(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := newHub(t, hub.Config{})
		d := newDoor(t, bus)
		s := serveWith(t, Config{Hub: h, Address: d.address()})
		for round := range uint64(3) {
			first := round*20 + 1
			before := receive(t, bus, "")
			commit(t, h, 10, "x")
			before.wantAll(t, first, first+9)
			d.shut(t)
			bus.Kill()
			eventually(t, "the loss is seen", func() bool { return s.current.Load() == nil })
			if err := s.Check(bounded(t)); err != nil {
				t.Error("Check while the bus is away:", err)
			}
			commit(t, h, 10, "x")
			bus.Restart(t)
			after := receive(t, bus, "")
			d.open(t)
			after.wantAll(t, first+10, first+19)
			before.wantAll(t, first, first+9)
		}
		c := dial(t, bus)
		_, events, err := c.WaitEvents(bounded(t), hub.CursorOldest, hub.Filter{}, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		wantRun(t, seqs(events), 1, 60)
		if n := h.Counters()["bus_losses"]; n != 3 {
			t.Errorf("%d losses were counted", n)
		}
		if err := s.Check(bounded(t)); err != nil {
			t.Error("Check:", err)
		}
	})
}

// held is a socket whose Write, once all is written, does not return before it is let go.
type held struct {
	net.Conn
	letGo chan struct{}
}

func (c *held) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	<-c.letGo
	return n, err
}

// What went to the socket counts as sent, also if the bus dies before that is noted.
func TestBusDiesDuringWrite(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := newHub(t, hub.Config{})
		d := newDoor(t, bus)
		s := serveWith(t, Config{Hub: h, Address: d.address()})
		before := receive(t, bus, "")
		conn := s.current.Load().conn
		letGo := make(chan struct{})
		eventually(t, "the writer rests", func() bool {
			conn.out.mu.Lock()
			defer conn.out.mu.Unlock()
			if conn.out.busy || conn.out.waiting() {
				return false
			}
			conn.out.sock = &held{conn.out.sock, letGo}
			return true
		})
		commit(t, h, 1, "x")
		before.wantAll(t, 1, 1)
		d.shut(t)
		bus.Kill()
		await(t, "the loss is seen", conn.done)
		// Time enough to do it wrong.
		for end := time.After(200 * time.Millisecond); s.current.Load() != nil; {
			select {
			case <-end:
			case <-time.After(time.Millisecond):
				continue
			}
			break
		}
		close(letGo)
		bus.Restart(t)
		after := receive(t, bus, "")
		d.open(t)
		last := commit(t, h, 1, "x")
		after.wantAll(t, 2, last)
	})
}

// fill commits events until the bus, which is stopped, takes no more.
func (s *served) fill(t *testing.T, h *hub.Hub) {
	t.Helper()
	out := s.current.Load().conn.out
	eventually(t, "the outbox is full", func() bool {
		commit(t, h, 100, "load", "id", "101", "text", strings.Repeat("x", 100))
		out.mu.Lock()
		defer out.mu.Unlock()
		return len(out.signals)-out.head >= outboxHigh && out.busy
	})
}

func TestBusStops(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := newHub(t, hub.Config{History: 1 << 17})
		s := serve(t, bus, h)
		r := receive(t, bus, "")
		commit(t, h, 1, "x")
		r.wantAll(t, 1, 1)
		bus.Stop()
		s.fill(t, h)
		last := commit(t, h, 5000, "load")
		ctx, cancel := context.WithTimeout(bounded(t), 50*time.Millisecond)
		defer cancel()
		hung := s.current.Load()
		if err := s.Check(ctx); err != nil {
			t.Error("a bus that hangs is a reason to restart:", err)
		}
		eventually(t, "the connection is given up", func() bool { return s.current.Load() != hung })
		bus.Cont()
		if lost := r.wantAll(t, 1, last); lost > 0 {
			t.Error("lost were", lost)
		}
		if err := s.Check(bounded(t)); err != nil || s.current.Load() == nil {
			t.Error("once the bus goes on:", err)
		}
	})
}

func TestBusStopsForTooLong(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := newHub(t, hub.Config{History: 64})
		s := serve(t, bus, h)
		r := receive(t, bus, "")
		commit(t, h, 1, "x")
		r.wantAll(t, 1, 1)
		bus.Stop()
		s.fill(t, h)
		commit(t, h, 1000, "load")
		bus.Cont()
		last := commit(t, h, 1, "x")
		if lost := r.wantAll(t, 1, last); lost < 500 {
			t.Error("lost were only", lost)
		}
		if r.lapped == 0 {
			t.Error("nobody was told")
		}
	})
}

func TestBusStopsAndIsLeft(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := newHub(t, hub.Config{History: 1 << 17})
		s := serveWith(t, Config{Hub: h, Address: bus.Address(), WriteTimeout: 200 * time.Millisecond})
		r := receive(t, bus, "")
		commit(t, h, 1, "x")
		r.wantAll(t, 1, 1)
		bus.Stop()
		s.fill(t, h)
		eventually(t, "the connection is given up", func() bool { return s.current.Load() == nil })
		commit(t, h, 1000, "load")
		bus.Cont()
		eventually(t, "the service is back", func() bool { return s.current.Load() != nil })
		last := commit(t, h, 1, "x")
		if lost := r.wantAll(t, 1, last); lost > 0 {
			t.Error("lost were", lost)
		}
	})
}

func TestNameIsTakenAway(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := newHub(t, hub.Config{})
		s := serve(t, bus, h)
		r := receive(t, bus, "")
		commit(t, h, 10, "x")
		session := s.current.Load()
		// A dbus-broker tells the loss before it answers.
		_ = session.conn.bus.BusObject().CallWithContext(bounded(t), busInterface+".ReleaseName", 0, Name).Err
		eventually(t, "the name is owned again", func() bool { now := s.current.Load(); return now != nil && now != session })
		commit(t, h, 10, "x")
		r.wantAll(t, 1, 20)
		if _, err := dial(t, bus).Report(bounded(t), "x", nil); err != nil {
			t.Error(err)
		}
		if n := h.Counters()["bus_losses"]; n != 1 {
			t.Errorf("%d losses were counted", n)
		}
	})
}

func TestNoService(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		owner := bus.ClientAs(t, 0)
		if _, err := owner.CallDriver(bounded(t), "RequestName", "su", new(bustest.Body).String(Name).Uint32(0)); err != nil {
			t.Fatal(err)
		}
		s := launch(t, Config{Hub: newHub(t, hub.Config{}), Address: bus.Address()})
		err := await(t, "Run ends", s.ended)
		if err == nil || !strings.Contains(err.Error(), "already has an owner, "+owner.Name()) {
			t.Error("Run where the name is owned:", err)
		}
		bus.Kill()
		s = launch(t, Config{Hub: newHub(t, hub.Config{}), Address: bus.Address()})
		if err := await(t, "Run ends", s.ended); err == nil || !strings.Contains(err.Error(), bus.Address()) {
			t.Error("Run without a bus:", err)
		}
	})
}
