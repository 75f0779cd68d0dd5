package netwatch

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/links"
	"github.com/osctl/eventd/netwatch/rtnl"
)

const (
	flagsUp        = unix.IFF_UP | unix.IFF_LOWER_UP
	flagsNoCarrier = unix.IFF_UP
)

// model drives a watcher against the model of the kernel. All changes and their order are drawn; nothing
// runs concurrently.
type model struct {
	*fake
	w    *Watcher
	hub  *hub.Hub
	next uint32
	t    *rapid.T
	*world
	release func() // empties the hub's queue; nil if it is not full

	ofInterface, ofContainer links.Budget
}

func (m *model) must(err error) {
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *model) draw(what string, n int) int { return rapid.IntRange(0, n-1).Draw(m.t, what) }

// any draws a link.
func (m *model) any() (uint32, *fakeLink) {
	if len(m.links) == 0 {
		return 0, nil
	}
	all := slices.Sorted(maps.Keys(m.links))
	ifindex := all[m.draw("link", len(all))]
	return ifindex, m.links[ifindex]
}

// happen makes one change in the kernel.
func (m *model) happen() {
	if m.draw("where", 2) == 0 {
		m.world.happen()
		return
	}
	ifindex, l := m.any()
	switch what := m.draw("what", 12); {
	case what == 0 || l == nil && what < 9:
		m.pair()
	case what <= 3:
		m.flags(ifindex, l, []uint32{0, flagsNoCarrier, flagsUp}[m.draw("flags", 3)])
		m.tell(ifindex)
	case what <= 5:
		l.name = fmt.Sprintf("n%d", m.draw("name", 1000))
		if m.draw("flags too", 2) == 0 {
			m.flags(ifindex, l, flagsUp)
		}
		m.tell(ifindex)
	case what == 6:
		m.remove(ifindex, nil)
	case what == 7:
		m.remove(ifindex, &rtnl.Peer{NSID: m.world.any()})
	case what == 8:
		m.clock = m.clock.Add(time.Duration(m.draw("time", 300)) * time.Millisecond)
	case what == 9:
		m.fault()
	default:
		m.tell(ifindexOr(ifindex, l, m))
	}
}

// flags sets the flags of a link. If the peer is in a namespace, the carrier depends on the peer.
func (m *model) flags(ifindex uint32, l *fakeLink, flags uint32) {
	if l.peer.NSID == rtnl.NSIDLocal {
		l.flags = flags
		return
	}
	if l.flags&unix.IFF_UP == 0 || flags == 0 {
		l.flags = flags & unix.IFF_UP
	}
	m.carries(ifindex)
}

// ifindexOr returns ifindex, or that of a new pair if there is no link.
func ifindexOr(ifindex uint32, l *fakeLink, m *model) uint32 {
	if l == nil {
		return m.pair()
	}
	return ifindex
}

func (m *model) pair() uint32 {
	m.next += 2
	a, b := m.next-1, m.next
	m.changed++
	m.links[a] = &fakeLink{name: fmt.Sprintf("v%d", a), peer: rtnl.Peer{NSID: 1, Ifindex: 2}}
	if m.draw("both here", 2) == 0 {
		m.enter(a, m.world.any(), "eth0")
		m.tell(a)
		return a
	}
	m.links[a].peer = rtnl.Peer{NSID: rtnl.NSIDLocal}
	m.tell(a)
	m.links[a].peer.Ifindex = b
	m.links[b] = &fakeLink{name: fmt.Sprintf("v%d", b), peer: rtnl.Peer{NSID: rtnl.NSIDLocal, Ifindex: a}}
	m.tell(b)
	return b
}

func (m *model) remove(ifindex uint32, to *rtnl.Peer) {
	l := m.links[ifindex]
	if m.draw("said down", 2) == 0 {
		l.flags = 0
		m.tell(ifindex)
	}
	delete(m.links, ifindex)
	m.changed++
	other := m.links[l.peer.Ifindex]
	if l.peer.NSID != rtnl.NSIDLocal || other == nil || other.peer != (rtnl.Peer{NSID: rtnl.NSIDLocal, Ifindex: ifindex}) {
		m.say(delLink(ifindex, l, to))
		if inner := m.inner[l.peer]; inner != nil && l.peer.NSID >= 0 {
			delete(m.inner, l.peer)
			m.sayFrom(l.peer.NSID, delLink(l.peer.Ifindex, inner, nil))
		}
		return
	}
	if other.peer = alone; to == nil {
		m.say(delLink(ifindex, l, nil))
		return
	}
	p := m.enter(l.peer.Ifindex, to.NSID, l.name)
	m.say(delLink(ifindex, l, &p))
	m.sayFrom(p.NSID, newLink(p.Ifindex, m.inner[p]))
	m.carrier = append(m.carrier, l.peer.Ifindex)
}

// fault causes one fault.
func (m *model) fault() {
	switch m.draw("fault", 6) {
	case 0:
		m.loseRequest = true
	case 1:
		m.failPart = true
	case 2: // a message is garbage, or longer than the buffer
		m.replace(datagram{err: rtnl.ErrMalformed})
	case 3: // a record of a dump that was given up
		l := newLink(1, &fakeLink{name: "x"})
		l.Request = m.dumpSeq + 1000
		m.say(l)
	case 4: // the hub's queue becomes full, or is released
		if m.release == nil {
			var err error
			m.release, err = fillQueue(m.hub)
			m.must(err)
		} else {
			m.releaseHub()
		}
	default: // the kernel drops a message because it has no memory
		m.pending = rtnl.ErrLost
		m.congested = len(m.queue) > 0
		m.overruns++
	}
}

// releaseHub releases the hub's queue if it is full.
func (m *model) releaseHub() {
	if m.release != nil {
		m.release()
		m.release = nil
		_, err := m.hub.Commit(hub.Batch{})
		m.must(err)
	}
}

// replace replaces the newest queued message, unless a dump runs.
func (m *model) replace(with datagram) {
	if len(m.queue) > 0 && !m.dumping {
		m.queue[len(m.queue)-1] = with
	}
}

// turn takes one turn of the watcher.
func (m *model) turn() (idle bool) {
	idle, err := m.w.turn(false)
	m.w.waitCommitted()
	m.must(err)
	return idle
}

func newModel(t *rapid.T) *model {
	h, err := hub.New(t.Context(), hub.Config{History: 1 << 16})
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{links: map[uint32]*fakeLink{}, inner: map[rtnl.Peer]*fakeLink{}}
	m := &model{fake: f, hub: h, t: t}
	m.world = newWorld(m)
	w, err := newWatcher(&Config{Hub: h, Logger: slog.New(slog.DiscardHandler), Owners: m.world}, f, true)
	m.must(err)
	w.now = func() time.Time { return m.clock }
	m.ofInterface, m.ofContainer = links.InterfaceBudget, links.ContainerBudget
	if m.draw("budgets", 2) == 0 {
		m.ofInterface, m.ofContainer = links.Budget{Burst: 3, Every: 500 * time.Millisecond}, links.Budget{Burst: 5, Every: 200 * time.Millisecond}
	}
	w.table = links.New(links.Config{
		Now: w.now, Owners: true, Hears: true, Budgets: links.NewBudgets(m.ofInterface, m.ofContainer),
	})
	w.resync.pause = 0
	m.w = w
	depth := 0
	f.between = func() { // the kernel queues a part after it released its lock
		if depth > 0 {
			return
		}
		depth++
		defer func() { depth-- }()
		for range m.draw("between", 4) {
			m.happen()
		}
	}
	return m
}

// TestModel expects correct events, and in the end the same view as the kernel's, whatever is lost.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t)
		m.room = []int{0, 1, 2, 5, 20}[m.draw("room", 5)]
		seeded := m.seed()
		sub, err := m.hub.Subscribe(hub.Filter{}, "")
		if err != nil {
			t.Fatal(err)
		}
		for range m.draw("steps", 60) {
			if m.draw("read", 4) == 0 {
				m.turn()
			} else {
				m.happen()
			}
		}
		m.settle()
		m.compare(sub, seeded)
	})
}

// seed gives the hub rows from before the start, right and wrong ones.
func (m *model) seed() map[uint32]string {
	for range m.draw("links at start", 4) {
		ifindex := m.pair()
		l := m.links[ifindex]
		row := hub.Interface{Ifindex: ifindex, Veth: l.name, State: hub.LinkDown}
		switch m.draw("known", 4) {
		case 0:
			continue
		case 1:
			row.State = hub.LinkUp
		case 2:
			row.Veth = "former"
		case 3:
			row.Ifindex += 1000
			row.State = hub.LinkUp
		}
		if m.draw("of somebody", 2) == 0 {
			row.Pool, row.ID, row.Name = "tank", "former", "former"
			m.owners[row.Ifindex] = append([]string{"former"}, m.owners[row.Ifindex]...)
			m.called(row.Ifindex, "former")
		}
		if _, err := m.hub.Commit(hub.Batch{Interfaces: []hub.InterfaceChange{{Interface: row}}}); err != nil {
			m.t.Fatal(err)
		}
	}
	m.queue = nil // drop the messages from before the socket
	rows, _ := m.hub.Interfaces()
	m.w.table.Seed(rows)
	return upRows(rows)
}

func (m *model) compare(sub *hub.Subscription, seeded map[uint32]string) {
	f := newFold()
	f.moved = map[uint32]bool{}
	for ifindex, owners := range m.owners {
		f.moved[ifindex] = len(owners) > 1
	}
	maps.Copy(f.up, seeded)
	maps.Copy(f.last, seeded)
	buf := make([]*hub.Event, 1<<16)
	n, err := sub.Poll(buf)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, e := range buf[:n] {
		m.must(f.add(e))
		m.must(m.check(e))
	}
	m.checkBudgets(buf[:n])
	want := map[uint32]string{}
	for ifindex, l := range m.links {
		if l.flags == flagsUp {
			want[ifindex] = l.name
		}
	}
	rows, _ := m.hub.Interfaces()
	if !maps.Equal(f.up, want) || !maps.Equal(upRows(rows), want) || len(rows) != len(m.links) {
		m.t.Fatalf("by events %v\nby view %v\nin the kernel %v", f.up, rows, want)
	}
	for _, r := range rows {
		if l := m.links[r.Ifindex]; r.Veth != l.name || r.State != stateOf(l.flags) {
			m.t.Fatalf("view %+v, kernel %+v", r, *l)
		}
		if inner := m.inner[m.links[r.Ifindex].peer]; inner != nil {
			m.compareInner(&r, inner)
		}
	}
	if dumps := m.dumps; dumps < 1 {
		m.t.Fatal("no dump")
	}
}

// check expects an event to have an owner that the interface had, or none.
func (m *model) check(e *hub.Event) error {
	ifindex := indexOf(e)
	if e.ID == "" {
		return nil
	}
	at := slices.Index(m.owners[ifindex], e.ID)
	if at < 0 {
		return fmt.Errorf("event %d: ifindex %d never belonged to %s, but to %q", e.Seq, ifindex, e.ID, m.owners[ifindex])
	}
	m.owners[ifindex] = m.owners[ifindex][at:] // later events must not have earlier owners
	if kept, _ := e.Options.Get("kept"); kept.Bool() {
		return nil // the owner that moved it
	}
	if e.Action == links.ActionUp && !m.rises[ifindex][e.ID] {
		return fmt.Errorf("event %d: ifindex %d never came up while it belonged to %s", e.Seq, ifindex, e.ID)
	}
	if name := e.Options.Text("name"); name != "" && name[0] != 'v' && name[0] != 'n' && !m.names[ifindex][name] {
		return fmt.Errorf("event %d: ifindex %d was never %q inside", e.Seq, ifindex, name)
	}
	return nil
}

// checkBudgets fails if an interface or a container has more events than its budget allows. Events that
// cannot be throttled do not count.
func (m *model) checkBudgets(events []*hub.Event) {
	elapsed := m.clock.Sub(modelBegan)
	allow := func(b links.Budget) int { return b.Burst + int(elapsed/b.Every) }
	ofInterface, ofContainer := map[uint32]int{}, map[string]int{}
	for _, e := range events {
		flag := func(name string) bool { v, _ := e.Options.Get(name); return v.Bool() }
		if n, _ := e.Options.Get("coalesced"); n.Uint() > 0 && !flag("resync") {
			m.t.Fatalf("event %d: coalesced without resync", e.Seq)
		}
		if flag("gone") || flag("handover") && e.Action == links.ActionUp {
			continue
		}
		if ofInterface[indexOf(e)]++; ofInterface[indexOf(e)] > allow(m.ofInterface) {
			m.t.Fatalf("event %d: too many of ifindex %d", e.Seq, indexOf(e))
		}
		if ofContainer[e.ID]++; e.ID != "" && ofContainer[e.ID] > allow(m.ofContainer) {
			m.t.Fatalf("event %d: too many of %s", e.Seq, e.ID)
		}
	}
}

// compareInner expects the view to end with the present owner and name. The owner may differ if it was
// not found at least once.
func (m *model) compareInner(r *hub.Interface, inner *fakeLink) {
	peer := m.links[r.Ifindex].peer
	want := m.ns[peer.NSID].id
	unknown := want == "" || m.missed[peer.NSID] // then the owner may be the one that moved it
	right := r.ID == want || unknown && (r.ID == "" || slices.Contains(m.owners[r.Ifindex], r.ID))
	if inner.name != r.Name || !right {
		m.t.Fatalf("view %+v of %q, kernel %+v", r, want, inner)
	}
}

func stateOf(flags uint32) hub.LinkState {
	switch {
	case flags&unix.IFF_UP == 0:
		return hub.LinkDown
	case flags != flagsUp:
		return hub.LinkNoCarrier
	}
	return hub.LinkUp
}
