package netwatch

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/nstest"
	"github.com/osctl/eventd/netwatch/rtnl"
)

// holdFor is how long an up waits.
const holdFor = 500 * time.Millisecond

// TestInside changes an interface inside a container, and expects the events in the same order, although
// the kernel reports the end on the host later.
func TestInside(t *testing.T) {
	t.Run("reported at once", func(t *testing.T) { testInside(t, 20, true) })
	// If both ends have the same ifindex, the kernel waits up to a second (linkwatch_urgent_event).
	t.Run("reported late", func(t *testing.T) { testInside(t, 2, false) })
}

func testInside(t *testing.T, rounds int, urgent bool) {
	t.Helper()
	h := newHome(t)
	run(t, unlimited(h.w))
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
		t.Errorf("%d searches for a known interface", n)
	}

	own, err := h.inside.Pair("docker0", "docker1", nil) // a pair of the container's own
	must(t, err)
	must(t, h.inside.Up(own))
	must(t, h.inside.Rename(own, "eth0"))
	must(t, h.inside.Delete(own))
	h.want(t)

	must(t, h.host.Rename(host, "h2"))
	h.want(t, "rename h2 name=live was=h of=tank/101")
	h.owners.stop("101")
	h.hear(func(l *rtnl.Link) bool { return l.Deleted })
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
	run(t, unlimited(h.w))
	_, peer := h.running()
	h.want(t, "up h name=p of=tank/101")
	for range 5 {
		must(t, h.inside.Move(peer, other))
		there := h.index(other, "p")
		must(t, other.Up(there))
		h.until("h", hub.LinkUp)
		h.want(t, "down h name=p of=tank/101", "up h name=p of=tank/102")
		must(t, other.Rename(there, "q"))
		must(t, other.Down(there)) // the host gets no message about its return
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

// TestIDsAreReused kills one container and starts another at once, so that the nsid, the name and the
// ifindex inside are reused.
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
			settle(t, h.w)
		}
		h.owners.stop(id)
		if i%2 == 0 {
			h.hear(func(l *rtnl.Link) bool { return l.Deleted })
		}
	}
	for len(of) > 0 && h.hub.Status().Interfaces > 0 { // the kernel deletes dead namespaces later
		settle(t, h.w)
	}
	settle(t, h.w)
	named := 0
	for _, e := range h.events.read(t) {
		want := of[indexOf(e)]
		if e.ID != "" && e.ID != want {
			t.Errorf("the owner is %s: %s", want, describe(e))
		}
		if e.ID != "" {
			named++
		}
	}
	foldAll(t, h.events.events)
	if len(nsids) > rounds/2 || named < rounds/2 {
		t.Errorf("%d ids, %d of %d events with an owner: this tests nothing", len(nsids), named, len(h.events.events))
	}
	t.Logf("%d ids, %d of %d events with an owner", len(nsids), named, len(h.events.events))
}

// TestUnknownOwner expects the up of an interface without an owner to wait for half a second, other
// interfaces not to wait, and its later changes not to wait again.
func TestUnknownOwner(t *testing.T) {
	h, nobody, host := unknownOwner(t)
	must(t, h.host.Down(host))
	h.want(t, "down n name=p")
	h.owners.set("103", nobody) // while n is down: the question is repeated, and an answer while n is up is announced
	must(t, h.host.Up(host))
	h.until("n", hub.LinkUp)
	got := h.newEvents(t) // the last question may be older than the owner
	if len(got) == 0 || strings.TrimSuffix(got[0], " of=tank/103") != "up n name=p" {
		t.Errorf("events:\n%s", strings.Join(got, "\n"))
	}
	for rows, _ := h.hub.Interfaces(); rows[0].ID != "103" && rows[1].ID != "103"; rows, _ = h.hub.Interfaces() {
		settle(t, h.w)
	}
	h.events.read(t)
	must(t, h.host.Down(host))
	h.want(t, "down n name=p of=tank/103")
}

// unknownOwner makes an interface without an owner and then one with a known owner. It expects the
// second to be announced first. It tries again if the machine is so busy that the first stops waiting
// before.
func unknownOwner(t *testing.T) (h *home, nobody *nstest.NS, host int) {
	t.Helper()
	for range 20 {
		h, nobody = newHome(t), nstest.New(t)
		h.w.table.HoldFor(holdFor)
		run(t, h.w)
		host = h.pair("n", "p", nobody)
		must(t, h.host.Up(host))
		started := time.Now()
		must(t, nobody.Up(h.index(nobody, "p")))
		h.until("n", hub.LinkUp)
		h.running()
		for len(h.events.read(t)) < 2 {
			must(t, h.w.Check(t.Context()))
		}
		if waited := time.Since(started); waited < holdFor {
			t.Fatalf("the up waited only for %v", waited)
		}
		got := describeAll(h.events.events)
		if slices.Equal(got, []string{"up h name=p of=tank/101", "up n name=p"}) {
			return h, nobody, host
		}
		// The second may stop waiting, too, before its owner is found.
		if got[0] != "up n name=p" || strings.TrimSuffix(got[1], " of=tank/101") != "up h name=p" {
			t.Fatalf("events:\n%s", strings.Join(got, "\n"))
		}
	}
	t.Fatal("the interface with an owner waits for the one without")
	return nil, nil, 0
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

// TestReportedOwner expects a reported owner to count if no container is found, until the veth is
// deleted, and to be marked.
func TestReportedOwner(t *testing.T) {
	h := newHome(t)
	h.owners.drop("101") // its namespace has no owner
	h.w.table.HoldFor(holdFor)
	run(t, h.w)
	of := func(action, id, name, veth string) {
		t.Helper()
		report(t, h.hub, "osctld.service", "pool", "dozer", "id", id, "action", action, "name", name, "veth", veth, "new_name", name+"x")
	}
	host, peer := h.running()
	h.row(t, "/ p ")
	of("up", "7", "lan", "h")
	h.row(t, "dozer/7 p osctld.service") // the name is the kernel's
	of("down", "8", "wan", "h")          // may mean an earlier veth of that name
	of("rename", "7", "lan", "h")
	h.row(t, "dozer/7 p osctld.service")
	must(t, h.inside.Rename(peer, "eth1"))
	h.row(t, "dozer/7 eth1 osctld.service")
	of("remove", "9", "lan", "h")
	settle(t, h.w)
	h.row(t, "dozer/7 eth1 osctld.service")
	of("remove", "7", "lan", "h")
	h.row(t, "/ eth1 ")
	of("add", "10", "lan", "h")
	h.row(t, "dozer/10 eth1 osctld.service")
	must(t, h.host.Delete(host))
	h.running()
	h.row(t, "/ p ")

	of("add", "11", "lan", "later")
	of("add", "12", "lan", "h") // applied after the report before it
	h.row(t, "dozer/12 p osctld.service")
	h.events.read(t)
	held := true
	for range 20 { // on a busy machine an up that does not wait may be late, too
		nobody := nstest.New(t)
		later := h.pair("later", "p", nobody)
		must(t, h.host.Up(later))
		started := time.Now()
		must(t, nobody.Up(h.index(nobody, "p")))
		h.until("later", hub.LinkUp)
		h.want(t, "up later name=p of=dozer/11 by=osctld.service")
		if held = time.Since(started) >= holdFor; !held {
			break
		}
		must(t, h.host.Delete(later))
		h.want(t, "down later name=p of=dozer/11 by=osctld.service")
		of("add", "11", "lan", "later")
		settle(t, h.w)
		h.events.read(t)
	}
	if held {
		t.Error("the up of an interface with a reported owner waits")
	}
	foldAll(t, slices.DeleteFunc(h.events.events, func(e *hub.Event) bool { return e.Source != hub.SourceNetlink }))
}

// TestReportAgainstCgroup expects a container that was found to keep its veth, although a report before
// or after names another owner.
func TestReportAgainstCgroup(t *testing.T) {
	for _, first := range []string{"veth", "report"} {
		h := newHome(t)
		run(t, h.w)
		lie := func() {
			report(t, h.hub, "liar.service", "pool", "dozer", "id", "7", "action", "add", "name", "lan", "veth", "h")
			settle(t, h.w)
		}
		if first == "report" {
			lie()
		}
		_, peer := h.running()
		h.row(t, "tank/101 p ")
		lie()
		h.events.read(t)
		must(t, h.inside.Down(peer))
		h.until("h", hub.LinkNoCarrier)
		h.want(t, "down h name=p of=tank/101")
		lie()
		h.events.read(t)
		must(t, h.inside.Up(peer))
		h.until("h", hub.LinkUp)
		h.want(t, "up h name=p of=tank/101")
		for _, e := range h.events.events {
			if e.Source == hub.SourceNetlink && e.ID != "101" {
				t.Errorf("with the %s first: %s", first, describe(e))
			}
		}
	}
}

// TestSelfReferringID gives the watched namespace an id in itself, which all its messages carry from then
// on. A container has the host's network. It expects that container to own nothing, because no link names that id.
func TestSelfReferringID(t *testing.T) {
	h := newHome(t)
	h.owners.set("102", h.host)
	run(t, h.w)
	must(t, h.host.Handle().SetNetNsIdByFd(h.host.FD(), 77))
	_, peer := h.running()
	must(t, h.inside.Rename(peer, "eth0"))
	h.want(t, "up h name=p of=tank/101", "rename h name=p to=eth0 of=tank/101")
	a := h.pair("a", "b", nil)
	must(t, h.host.Up(a))
	must(t, h.host.Up(h.index(h.host, "b")))
	h.until("a", hub.LinkUp)
	must(t, h.host.Move(h.index(h.host, "b"), h.inside))
	h.until("a", hub.LinkNoCarrier)
	h.want(t, "up b name=a", "up a name=b", "down b name=a", "down a name=b")
}
