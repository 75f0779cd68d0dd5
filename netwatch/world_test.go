package netwatch

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/netwatch/containers"
	"github.com/osctl/eventd/netwatch/rtnl"
)

// world has the parts of the model beside its links: namespaces with reused ids and their owners, and
// the changes that the kernel reports late.
type world struct {
	m       *model
	ns      map[int32]*fakeNS
	made    int      // namespaces so far
	carrier []uint32 // links here whose carrier changed without a message yet
	dying   []uint32 // links whose namespace is dead, but which are not deleted yet
	clock   time.Time
	calm    bool

	missed map[int32]bool // ids whose owner was not found at least once

	owners map[uint32][]string        // of each link, in order
	rises  map[uint32]map[string]bool // owners of each link when it came up
	names  map[uint32]map[string]bool // names of each link inside
}

type fakeNS struct {
	id   string // of the container that owns it, "" if none does
	next uint32 // the next ifindex
}

var modelBegan = time.Unix(1000, 0)

func newWorld(m *model) *world {
	return &world{
		m: m, ns: map[int32]*fakeNS{}, clock: modelBegan, missed: map[int32]bool{},
		owners: map[uint32][]string{}, rises: map[uint32]map[string]bool{}, names: map[uint32]map[string]bool{},
	}
}

// Owner returns the present owner of a namespace, or finds none. The id may have been reused without a
// message.
func (w *world) Owner(nsid int32, still func() bool) (c containers.Container, found bool, next time.Time) {
	defer func() { // more happens before the answer is applied
		for range w.meanwhile() {
			w.m.happen()
		}
	}()
	if ns := w.ns[nsid]; ns != nil && ns.id != "" && still() && (w.calm || w.m.draw("found", 3) > 0) {
		return containers.Container{Pool: "tank", ID: ns.id}, true, time.Time{}
	}
	w.missed[nsid] = true
	if !w.calm {
		next = w.clock.Add(time.Duration(w.m.draw("next search", 3)) * 50 * time.Millisecond)
	}
	return containers.Container{}, false, next
}

func (w *world) meanwhile() int {
	if w.calm {
		return 0
	}
	return w.m.draw("while asking", 3)
}

func (w *world) Left(containers.Container, int32) bool { return false }

func (w *world) Runs(c containers.Container) bool {
	for _, ns := range w.ns {
		if ns.id == c.ID {
			return true
		}
	}
	return false
}

func (w *world) Run(context.Context, func(containers.Container, int32), func(containers.StateChange)) {
}

func (w *world) Begin(map[containers.Container]containers.State) []containers.StateChange {
	return nil
}
func (w *world) Missing() []string { return nil }

// any returns a namespace, and makes it if there is none with that id.
func (w *world) any() int32 {
	nsid := int32(w.m.draw("nsid", 3))
	if w.ns[nsid] == nil {
		w.make(nsid)
	}
	return nsid
}

func (w *world) make(nsid int32) {
	w.made++
	ns := &fakeNS{next: 2}
	if w.m.draw("somebody's", 5) > 0 {
		ns.id = fmt.Sprintf("c%d", w.made)
	}
	w.ns[nsid] = ns
	w.m.say(nsidMessage(unix.RTM_NEWNSID, nsid))
}

// enter puts the peer of a link into a namespace.
func (w *world) enter(ifindex uint32, nsid int32, name string) rtnl.Peer {
	ns := w.ns[nsid]
	p := rtnl.Peer{NSID: nsid, Ifindex: ns.next}
	ns.next++
	w.m.inner[p] = &fakeLink{name: name, peer: rtnl.Peer{NSID: 0, Ifindex: ifindex}}
	w.owners[ifindex] = append(w.owners[ifindex], ns.id)
	w.called(ifindex, name)
	w.m.links[ifindex].peer = p
	w.carries(ifindex)
	return p
}

func (w *world) called(ifindex uint32, name string) {
	if w.names[ifindex] == nil {
		w.names[ifindex] = map[string]bool{}
	}
	w.names[ifindex][name] = true
}

// carries sets the flags of a link whose peer is in a namespace, and reports whether they changed.
func (w *world) carries(ifindex uint32) bool {
	l := w.m.links[ifindex]
	was := l.flags
	if l.flags&unix.IFF_UP != 0 {
		l.flags = flagsNoCarrier
		if inner := w.m.inner[l.peer]; inner != nil && inner.flags&unix.IFF_UP != 0 {
			l.flags = flagsUp
		}
	}
	if l.flags == flagsUp && was != flagsUp {
		w.rose(ifindex)
	}
	return was != l.flags
}

func (w *world) rose(ifindex uint32) {
	if w.rises[ifindex] == nil {
		w.rises[ifindex] = map[string]bool{}
	}
	if ns := w.ns[w.m.links[ifindex].peer.NSID]; ns != nil {
		w.rises[ifindex][ns.id] = true
	}
}

// foreign draws a link whose peer is in a namespace, and returns its ifindex and peer.
func (w *world) foreign() (uint32, rtnl.Peer, *fakeLink) {
	peers := slices.SortedFunc(maps.Keys(w.m.inner), func(a, b rtnl.Peer) int {
		return int(a.NSID-b.NSID)*1000 + int(a.Ifindex) - int(b.Ifindex)
	})
	if len(peers) == 0 {
		return 0, rtnl.Peer{}, nil
	}
	p := peers[w.m.draw("peer", len(peers))]
	return w.m.inner[p].peer.Ifindex, p, w.m.inner[p]
}

// happen makes one change in or of a namespace.
func (w *world) happen() {
	m := w.m
	ifindex, p, inner := w.foreign()
	what := m.draw("in the world", 8)
	switch {
	case what == 0 && len(w.carrier) > 0:
		w.linkWatch()
	case what == 1 && len(w.dying) > 0:
		w.cleanUp()
	case inner == nil:
		m.pair()
	case what <= 2:
		inner.flags ^= unix.IFF_UP
		m.sayFrom(p.NSID, newLink(p.Ifindex, inner))
		if w.carries(ifindex) {
			w.carrier = append(w.carrier, ifindex)
		}
	case what <= 4:
		inner.name = fmt.Sprintf("e%d", m.draw("inner name", 1000))
		w.called(ifindex, inner.name)
		m.sayFrom(p.NSID, newLink(p.Ifindex, inner))
	case what == 5:
		w.die(p.NSID)
	case what == 6:
		w.moveOn(ifindex, p, inner)
	default: // a message about a veth of the container's own
		m.sayFrom(p.NSID, newLink(p.Ifindex+uint32(m.draw("own", 2)), &fakeLink{name: "own", peer: rtnl.Peer{NSID: 1, Ifindex: 1000}}))
	}
}

// linkWatch queues the messages about changed carriers.
func (w *world) linkWatch() {
	for _, ifindex := range w.carrier {
		if w.m.links[ifindex] != nil {
			w.m.tell(ifindex)
		}
	}
	w.carrier = nil
}

// die kills a namespace. Its id may be reused before the message that it is free.
func (w *world) die(nsid int32) {
	m := w.m
	delete(w.ns, nsid)
	peers := slices.Collect(maps.Keys(m.inner))
	slices.SortFunc(peers, func(a, b rtnl.Peer) int { return int(a.Ifindex) - int(b.Ifindex) })
	for _, p := range peers {
		if p.NSID == nsid {
			w.sayWithoutID(p)
			m.links[m.inner[p].peer.Ifindex].peer.NSID = rtnl.NSIDUnknown
			delete(m.inner, p)
		}
	}
	for _, ifindex := range slices.Sorted(maps.Keys(m.links)) {
		if m.links[ifindex].peer.NSID == rtnl.NSIDUnknown && !slices.Contains(w.dying, ifindex) {
			w.dying = append(w.dying, ifindex)
		}
	}
	if m.draw("used again at once", 3) == 0 {
		w.make(nsid)
		m.next++
		ifindex := m.next
		m.changed++
		m.links[ifindex] = &fakeLink{name: fmt.Sprintf("v%d", ifindex), flags: unix.IFF_UP}
		p := w.enter(ifindex, nsid, "eth0")
		m.inner[p].flags = unix.IFF_UP
		w.carries(ifindex)
		m.tell(ifindex)
	}
	m.say(nsidMessage(unix.RTM_DELNSID, nsid))
}

// sayWithoutID queues the last messages about a peer as the kernel may send them while the id of their
// namespace is freed: as if the watched namespace had sent them.
func (w *world) sayWithoutID(p rtnl.Peer) {
	l := &fakeLink{name: w.m.inner[p].name, peer: alone}
	which := 0
	if !w.calm {
		which = w.m.draw("without an id", 6)
	}
	if which == 1 || which == 3 {
		w.m.say(newLink(p.Ifindex, l))
	}
	if which == 2 || which == 3 {
		w.m.say(delLink(p.Ifindex, l, nil))
	}
}

// cleanUp deletes the links whose namespace is dead.
func (w *world) cleanUp() {
	m := w.m
	for _, ifindex := range w.dying {
		l := m.links[ifindex]
		if l == nil {
			continue
		}
		l.flags, l.peer = 0, alone
		m.tell(ifindex)
		delete(m.links, ifindex)
		m.changed++
		m.say(delLink(ifindex, l, nil))
	}
	w.dying = nil
}

// moveOn moves a peer to another namespace, without a message about the link here.
func (w *world) moveOn(ifindex uint32, p rtnl.Peer, inner *fakeLink) {
	m := w.m
	to := w.any()
	delete(m.inner, p)
	was := m.links[ifindex].flags
	q := w.enter(ifindex, to, inner.name)
	m.sayFrom(p.NSID, delLink(p.Ifindex, inner, &rtnl.Peer{NSID: 5, Ifindex: q.Ifindex}))
	m.sayFrom(to, newLink(q.Ifindex, m.inner[q]))
	if was != m.links[ifindex].flags {
		w.carrier = append(w.carrier, ifindex)
	}
}

// settle takes turns without faults until nothing is left to do.
func (w *world) settle() {
	m := w.m
	w.calm = true
	m.between = nil
	m.releaseHub()
	w.linkWatch()
	w.cleanUp()
	for range 3000 {
		idle := m.turn()
		if idle && len(m.queue) == 0 && m.pending == nil && m.w.resync.synced() && m.w.table.Settled() && m.w.table.Next().IsZero() && !m.w.lagging() {
			return
		}
		w.clock = w.clock.Add(5 * time.Millisecond)
		if m.w.resync.synced() {
			w.clock = w.clock.Add(100 * time.Millisecond)
		}
	}
	m.t.Fatalf("never settled: %+v", m.w.resync)
}
