package netwatch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/nstest"
	"github.com/osctl/eventd/netwatch/owner"
)

var _ Owners = (*owner.Finder)(nil)

// register is Owners that asks the kernel for the ids of the namespaces it was told of.
type register struct {
	host *nstest.NS

	mu    sync.Mutex
	known map[string]*nstest.NS // by container id
	finds int
}

func newRegister(host *nstest.NS) *register {
	return &register{host: host, known: map[string]*nstest.NS{}}
}

func (r *register) set(id string, ns *nstest.NS) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[id] = ns
}

// stop takes a container out and kills its namespace.
func (r *register) stop(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ns := r.known[id]
	delete(r.known, id)
	ns.Close()
}

func (r *register) Find(_ context.Context, nsid int32) (owner.Container, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.finds++
	for id, ns := range r.known {
		if got, err := r.host.Handle().GetNetNsIdByFd(ns.FD()); err == nil && int32(got) == nsid {
			return owner.Container{Pool: "tank", ID: id}, true
		}
	}
	return owner.Container{}, false
}

func (r *register) walks() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.finds
}

func (r *register) NextWalk() time.Time { return time.Now() }
func (r *register) Forget(int32)        {}
func (r *register) ForgetAll()          {}
func (r *register) Missing() []string   { return []string{"nothing but a test"} }

// home is a place whose containers are known.
type home struct {
	*place
	owners *register
	hub    *hub.Hub
	events *eventLog
	w      *Watcher
}

func newHome(t *testing.T) *home {
	t.Helper()
	h := &home{place: &place{TB: t, host: nstest.New(t), inside: nstest.New(t)}, hub: newHub(t)}
	h.bare = openBare(t, h.host)
	h.owners = newRegister(h.host)
	h.owners.set("101", h.inside)
	h.events = follow(t, h.hub)
	h.w = newWatcherIn(t, h.host, &Config{Hub: h.hub, Owners: h.owners})
	return h
}

// said settles and returns the events since the last call.
func (h *home) said(t *testing.T) []string {
	t.Helper()
	must(t, h.w.Settle(t.Context()))
	n := len(h.events.events)
	return describeAll(h.events.read(t)[n:])
}

func (h *home) want(t *testing.T, want ...string) {
	t.Helper()
	if got := h.said(t); !slices.Equal(got, want) {
		t.Errorf("events:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestInside lets a container do things to its interface, and wants the events in the
// order in which they were done, although the kernel tells of the end here later.
func TestInside(t *testing.T) {
	t.Run("told at once", func(t *testing.T) { testInside(t, 20, true) })
	// Of the same ifindex, the kernel waits for up to a second (linkwatch_urgent_event).
	t.Run("told late", func(t *testing.T) { testInside(t, 2, false) })
}

func testInside(t *testing.T, rounds int, urgent bool) {
	t.Helper()
	h := newHome(t)
	run(t, h.w)
	if urgent {
		_, err := h.inside.Pair("a", "b", nil)
		must(t, err)
	}
	host := h.pair("h", "shuffled", h.inside)
	peer := h.index(h.inside, "shuffled")
	must(t, h.inside.Rename(peer, "again"))
	must(t, h.inside.Rename(peer, "eth0"))
	must(t, h.host.Up(host))
	must(t, h.inside.Up(peer))
	h.until("h", hub.LinkUp)
	h.want(t, "up h name=eth0 of=tank/101")
	walks := h.owners.walks()

	for i := range rounds {
		old, name := "eth"+strconv.Itoa(i), "eth"+strconv.Itoa(i+1)
		must(t, h.inside.Down(peer))
		must(t, h.inside.Rename(peer, name))
		must(t, h.inside.Up(peer))
		h.until("h", hub.LinkUp)
		h.want(t, "down h name="+old+" of=tank/101", "rename h name="+old+" to="+name+" of=tank/101", "up h name="+name+" of=tank/101")
	}
	must(t, h.inside.Rename(peer, "live"))
	h.want(t, fmt.Sprintf("rename h name=eth%d to=live of=tank/101", rounds))
	if n := h.owners.walks() - walks; n != 0 {
		t.Errorf("%d walks for a known interface", n)
	}

	own, err := h.inside.Pair("docker0", "docker1", nil) // what the container has for itself
	must(t, err)
	must(t, h.inside.Up(own))
	must(t, h.inside.Rename(own, "eth0"))
	must(t, h.inside.Delete(own))
	h.want(t)

	must(t, h.host.Rename(host, "h2"))
	h.want(t, "rename h2 name=live was=h of=tank/101")
	h.owners.stop("101")
	h.hear(func(l *link) bool { return l.deleted })
	h.want(t, "down h2 name=live of=tank/101")
	if rows, _ := h.hub.Interfaces(); len(rows) != 0 {
		t.Errorf("view: %v", rows)
	}
}

// TestPeerMovesOn moves a peer from one container to another and back.
func TestPeerMovesOn(t *testing.T) {
	h := newHome(t)
	other := nstest.New(t)
	h.owners.set("102", other)
	run(t, h.w)
	_, peer := h.running()
	h.want(t, "up h name=p of=tank/101")
	for range 5 {
		must(t, h.inside.Move(peer, other))
		there := h.index(other, "p")
		must(t, other.Up(there))
		h.until("h", hub.LinkUp)
		h.want(t, "down h name=p of=tank/101", "up h name=p of=tank/102")
		must(t, other.Rename(there, "q"))
		must(t, other.Down(there)) // the host hears nothing of how it comes back
		h.until("h", hub.LinkNoCarrier)
		must(t, other.Move(there, h.inside))
		h.want(t, "rename h name=p to=q of=tank/102", "down h name=q of=tank/102")
		rows, _ := h.hub.Interfaces()
		if rows[0].ID != "101" || rows[0].Name != "q" {
			t.Errorf("view: %+v", rows)
		}
		peer = h.index(h.inside, "q")
		must(t, h.inside.Rename(peer, "p"))
		must(t, h.inside.Up(peer))
		h.until("h", hub.LinkUp)
		h.want(t, "rename h name=q to=p of=tank/101", "up h name=p of=tank/101")
	}
}

// TestIDsAreReused kills one container and starts another at once, so that the id of
// the namespace, the name and the ifindex inside are those of the one before.
func TestIDsAreReused(t *testing.T) {
	const rounds = 100
	h := newHome(t)
	run(t, h.w)
	of := map[uint32]string{}
	nsids := map[int]bool{}
	for i := range rounds {
		id := strconv.Itoa(1000 + i)
		ns, err := nstest.Open()
		must(t, err)
		host := h.pair("h"+id, "eth0", ns)
		of[uint32(host)] = id
		nsid, err := h.host.Handle().GetNetNsIdByFd(ns.FD())
		must(t, err)
		nsids[nsid] = true
		must(t, h.host.Up(host))
		must(t, ns.Up(h.index(ns, "eth0")))
		h.until("h"+id, hub.LinkUp)
		h.owners.set(id, ns) // some time after it is up
		if i%2 == 0 {
			must(t, h.w.Settle(t.Context()))
		}
		h.owners.stop(id)
		if i%2 == 0 {
			h.hear(func(l *link) bool { return l.deleted })
		}
	}
	for len(of) > 0 && h.hub.Status().Interfaces > 0 { // the kernel cleans up behind us
		must(t, h.w.Settle(t.Context()))
	}
	must(t, h.w.Settle(t.Context()))
	named := 0
	for _, e := range h.events.read(t) {
		want := of[indexOf(e)]
		if e.ID != "" && e.ID != want {
			t.Errorf("of %s: %s", want, describe(e))
		}
		if e.ID != "" {
			named++
		}
	}
	foldAll(t, h.events.events)
	if len(nsids) > rounds/2 || named < rounds {
		t.Errorf("%d ids, %d of %d events with an owner: this tested nothing", len(nsids), named, len(h.events.events))
	}
	t.Logf("%d ids, %d of %d events with an owner", len(nsids), named, len(h.events.events))
}

// TestUnknownOwner wants an up to wait for half a second, others not to wait for it,
// and what comes later to wait no more.
func TestUnknownOwner(t *testing.T) {
	h := newHome(t)
	run(t, h.w)
	nobody := nstest.New(t)
	host := h.pair("n", "p", nobody)
	must(t, h.host.Up(host))
	started := time.Now()
	must(t, nobody.Up(h.index(nobody, "p")))
	h.until("n", hub.LinkUp)
	h.running()
	for !slices.Equal(describeAll(h.events.read(t)), []string{"up h name=p of=tank/101"}) {
		must(t, h.w.Check(t.Context()))
	}
	if waited := time.Since(started); waited > 400*time.Millisecond {
		t.Logf("the other waited for %v", waited)
	}
	h.want(t, "up n name=p")
	if waited := time.Since(started); waited < holdFor || waited > 20*holdFor {
		t.Errorf("waited for %v", waited)
	}
	h.owners.set("103", nobody)
	must(t, h.host.Down(host))
	must(t, h.host.Up(host))
	h.until("n", hub.LinkUp)
	h.want(t, "down n name=p", "up n name=p")
	for rows, _ := h.hub.Interfaces(); rows[0].ID != "103" && rows[1].ID != "103"; rows, _ = h.hub.Interfaces() {
		must(t, h.w.Settle(t.Context()))
	}
	must(t, h.host.Down(host))
	h.want(t, "down n name=p of=tank/103")
}

func report(t *testing.T, h *hub.Hub, source string, pairs ...string) {
	t.Helper()
	var options hub.Options
	for i := 0; i < len(pairs); i += 2 {
		options = append(options, hub.Option{Name: pairs[i], Value: hub.String(pairs[i+1])})
	}
	e, err := hub.NewEvent(hub.TypeNetif, options, source)
	must(t, err)
	_, err = h.Commit(hub.Batch{Events: []*hub.Event{e}})
	must(t, err)
}

// TestReportedOwner wants what a manager reports to win, until the veth is gone.
func TestReportedOwner(t *testing.T) {
	h := newHome(t)
	run(t, h.w)
	of := func(action, id, name, veth string) {
		t.Helper()
		report(t, h.hub, "osctld.service", "pool", "dozer", "id", id, "action", action, "name", name, "veth", veth, "new_name", name+"x")
	}
	row := func(want string) {
		t.Helper()
		for range 10000 {
			rows, _ := h.hub.Interfaces()
			if len(rows) == 1 && rows[0].Pool+"/"+rows[0].ID+" "+rows[0].Name == want {
				return
			}
			must(t, h.w.Settle(t.Context()))
		}
		rows, _ := h.hub.Interfaces()
		t.Fatalf("view %v, want %s", rows, want)
	}
	host, peer := h.running()
	row("tank/101 p")
	of("up", "7", "lan", "h")
	row("dozer/7 lan")
	of("down", "8", "wan", "h") // too late to mean this one, for all that is known
	of("rename", "7", "lan", "h")
	row("dozer/7 lanx")
	must(t, h.inside.Rename(peer, "eth1"))
	row("dozer/7 eth1")
	of("remove", "9", "lan", "h")
	must(t, h.w.Settle(t.Context()))
	row("dozer/7 eth1")
	of("remove", "7", "lan", "h")
	row("tank/101 eth1")
	of("add", "10", "lan", "h")
	row("dozer/10 lan")
	must(t, h.host.Delete(host))
	h.running()
	row("tank/101 p")

	of("add", "11", "lan", "later")
	of("add", "12", "lan", "h") // taken after the one before
	row("dozer/12 lan")
	h.events.read(t)
	nobody := nstest.New(t)
	later := h.pair("later", "p", nobody)
	must(t, h.host.Up(later))
	must(t, nobody.Up(h.index(nobody, "p")))
	h.until("later", hub.LinkUp)
	started := time.Now()
	h.want(t, "up later name=lan of=dozer/11")
	if time.Since(started) > holdFor {
		t.Error("held back")
	}
	foldAll(t, slices.DeleteFunc(h.events.events, func(e *hub.Event) bool { return e.Source != hub.SourceNetlink }))
}

// TestWithoutBroadcast wants the watcher to do without CAP_NET_BROADCAST what it can,
// and to say so.
func TestWithoutBroadcast(t *testing.T) {
	h := newHome(t)
	must(t, h.w.Close())
	deaf := nstest.New(t)
	h.host, h.owners.host = deaf, deaf
	h.bare = openBare(t, deaf)
	var err error
	deaf.Do(func() {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		err = errors.Join(unix.Capget(&header, &data[0]), func() error {
			data[0].Effective &^= 1 << unix.CAP_NET_BROADCAST
			return unix.Capset(&header, &data[0])
		}())
	})
	must(t, err)
	h.w = newWatcherIn(t, deaf, &Config{Hub: h.hub, Owners: h.owners})
	run(t, h.w)
	if got, want := h.w.Missing(), []string{"nothing but a test", missingBroadcast}; !slices.Equal(got, want) {
		t.Errorf("missing: %q", got)
	}
	_, peer := h.running()
	h.want(t, "up h name=p of=tank/101")
	must(t, h.inside.Down(peer))
	must(t, h.inside.Rename(peer, "eth0"))
	must(t, h.inside.Up(peer))
	h.until("h", hub.LinkUp)
	must(t, h.host.Down(h.index(h.host, "h")))
	must(t, h.host.Up(h.index(h.host, "h")))
	h.until("h", hub.LinkUp)
	got := h.said(t)
	if n := len(got); n < 3 || got[n-1] != "up h name=eth0 of=tank/101" || !slices.Contains(got, "rename h name=p to=eth0 resync of=tank/101") &&
		!slices.Contains(got, "rename h name=p to=eth0 of=tank/101 resync") {
		t.Errorf("events:\n%s", strings.Join(got, "\n"))
	}
	foldAll(t, h.events.events)
}

// TestSelfReferringID gives the watched namespace an id in itself, with which all of
// its messages come from then on.
func TestSelfReferringID(t *testing.T) {
	h := newHome(t)
	run(t, h.w)
	must(t, h.host.Handle().SetNetNsIdByFd(h.host.FD(), 77))
	_, peer := h.running()
	must(t, h.inside.Rename(peer, "eth0"))
	h.want(t, "up h name=p of=tank/101", "rename h name=p to=eth0 of=tank/101")
	second := newWatcherIn(t, h.host, &Config{Hub: newHub(t)})
	if second.self != 77 {
		t.Errorf("own id %d", second.self)
	}
	must(t, second.Close())
}

// TestManyStart starts many containers at once and wants each event with its owner.
func TestManyStart(t *testing.T) {
	const workers, each = 8, 25
	h := newHome(t)
	run(t, h.w)
	var mu sync.Mutex
	of := map[uint32]string{}
	var all sync.WaitGroup
	for n := range workers {
		all.Go(func() {
			for i := range each {
				id := fmt.Sprintf("%d-%d", n, i)
				ns, err := nstest.Open()
				if err != nil {
					t.Error(err)
					return
				}
				h.owners.set(id, ns)
				host, err := h.host.Pair("h"+id, "eth0", ns)
				peer, err2 := ns.Index("eth0")
				if err := errors.Join(err, err2, h.host.Up(host), ns.Up(peer)); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				of[uint32(host)] = id
				mu.Unlock()
				for up := false; !up; {
					l, err := h.host.Handle().LinkByIndex(host)
					up = err == nil && l.Attrs().RawFlags&unix.IFF_LOWER_UP != 0 && l.Attrs().OperState == netlink.OperUp
				}
				must(t, h.w.Settle(t.Context()))
				h.owners.stop(id)
			}
		})
	}
	all.Wait()
	for h.hub.Status().Interfaces > 0 {
		must(t, h.w.Settle(t.Context()))
	}
	events := h.events.read(t)
	for _, e := range events {
		if want := of[indexOf(e)]; e.ID != want || e.Options.Text("name") != "eth0" {
			t.Errorf("of %s: %s", want, describe(e))
		}
	}
	foldAll(t, events)
	if len(events) != 2*workers*each {
		t.Errorf("%d events", len(events))
	}
}
