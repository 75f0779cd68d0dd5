package netwatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/links"
	"github.com/osctl/eventd/netwatch/nstest"
	"github.com/osctl/eventd/netwatch/rtnl"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for something that must happen. It is no measure of speed.
const patience = 2 * time.Minute

// must ends the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newHub(t testing.TB) *hub.Hub {
	t.Helper()
	h, err := hub.New(t.Context(), hub.Config{History: 1 << 18, HistoryBytes: 1 << 30})
	must(t, err)
	t.Cleanup(h.Close)
	return h
}

// newWatcherIn makes a watcher of a namespace.
func newWatcherIn(t testing.TB, ns *nstest.NS, config *Config) *Watcher {
	t.Helper()
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	var w *Watcher
	var err error
	ns.Do(func() { w, err = New(*config) })
	must(t, err)
	w.kernel = &observer{kernel: w.kernel, w: w}
	return w
}

// observer is the kernel of a watcher. It counts receives, records the deadline, and sees when the watcher has
// nothing left to do, because only then the watcher waits for the kernel.
type observer struct {
	kernel
	w        *Watcher
	receives atomic.Int64
	deadline atomic.Pointer[time.Time]
	settled  []chan struct{} // closed when all work is done; guarded by the lock of the inbox
}

func (o *observer) Receive(wait bool) ([]rtnl.Message, error) {
	o.receives.Add(1)
	if wait {
		o.endSettle()
	}
	return o.kernel.Receive(wait)
}

func (o *observer) SetDeadline(at time.Time) error {
	o.deadline.Store(&at)
	return o.kernel.SetDeadline(at)
}

// endSettle ends the calls of settle, unless the watcher waits only until something else is ready.
func (o *observer) endSettle() {
	w, b := o.w, &o.w.inbox
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-w.ready:
	default:
		return
	}
	if b.unread || b.states.added || w.lagging() || w.submitted.Load() > 0 || !w.resync.synced() || !w.table.Settled() {
		return
	}
	for _, c := range o.settled {
		close(c)
	}
	o.settled = nil
}

// settle waits until a watcher has read its queue to the end, no dump runs or is wanted, no up waits for its owner, no
// question is due, and all changes are committed. The view is then as the kernel was at the call, or newer. What is
// over budget does not count.
func settle(t testing.TB, w *Watcher) {
	t.Helper()
	o, ok := w.kernel.(*observer)
	if !ok {
		t.Fatalf("the kernel is a %T", w.kernel)
	}
	settled := make(chan struct{})
	w.wake(func(*inbox) { o.settled = append(o.settled, settled) })
	select {
	case <-settled:
	case <-w.stopped:
		t.Fatal("the watcher has stopped")
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

// patient makes a watcher wait for owners as long as it takes on a busy machine. It is for tests of
// which owner is found, not of how long that takes.
func patient(w *Watcher) *Watcher {
	w.table.HoldFor(patience)
	return w
}

// setBudgets replaces the budgets of a watcher that does not run yet.
func setBudgets(w *Watcher, ofInterface, ofContainer links.Budget) *Watcher {
	w.budgets = links.NewBudgets(ofInterface, ofContainer)
	w.table.Budgets = w.budgets
	return w
}

// unlimited removes the budgets of a watcher, for tests that expect very many events.
func unlimited(w *Watcher) *Watcher {
	return setBudgets(w, links.Budget{Burst: 1}, links.Budget{Burst: 1})
}

// newFakeWatcher makes a watcher of a model of the kernel.
func newFakeWatcher(t testing.TB, h *hub.Hub, k kernel) *Watcher {
	t.Helper()
	w, err := newWatcher(&Config{Hub: h, Logger: slog.New(slog.DiscardHandler)}, k, true)
	must(t, err)
	return w
}

// run runs a watcher until the test ends, and returns once it is in sync.
func run(t testing.TB, w *Watcher) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	settle(t, w)
}

// eventLog collects the events of a hub.
type eventLog struct {
	sub    *hub.Subscription
	events []*hub.Event
}

func follow(t testing.TB, h *hub.Hub) *eventLog {
	t.Helper()
	sub, err := h.Subscribe(hub.Filter{}, "")
	must(t, err)
	return &eventLog{sub: sub}
}

// read returns all events so far.
func (l *eventLog) read(t testing.TB) []*hub.Event {
	t.Helper()
	var buf [256]*hub.Event
	for {
		n, err := l.sub.Poll(buf[:])
		must(t, err)
		if n == 0 {
			return l.events
		}
		l.events = append(l.events, buf[:n]...)
	}
}

func indexOf(e *hub.Event) uint32 {
	v, _ := e.Options.Get("ifindex")
	return uint32(v.Uint())
}

// describe returns an event as one line, without the ifindex.
func describe(e *hub.Event) string {
	line := fmt.Sprintf("%s %s name=%s", e.Action, e.Options.Text("veth"), e.Options.Text("name"))
	if old := e.Options.Text("old_veth"); old != "" {
		line += " was=" + old
	} else if e.Action == links.ActionRename {
		line += " to=" + e.Options.Text("new_name")
	}
	if e.ID != "" {
		line += " of=" + e.Pool + "/" + e.ID
	}
	if by := e.Options.Text("bound_by"); by != "" {
		line += " by=" + by
	}
	if v, _ := e.Options.Get("coalesced"); v.Uint() > 0 {
		line += fmt.Sprint(" coalesced ", v.Uint())
	}
	for _, flag := range []string{"gone", "handover", "kept", "resync"} {
		if v, _ := e.Options.Get(flag); v.Bool() {
			line += " " + flag
		}
	}
	return line
}

func describeAll(events []*hub.Event) []string {
	lines := []string{}
	for _, e := range events {
		lines = append(lines, describe(e))
	}
	return lines
}

// fold is the state of interfaces, by ifindex, according to the events.
type fold struct {
	up    map[uint32]string // names on the host of interfaces that are up
	last  map[uint32]string // last announced names on the host
	inner map[uint32]inside // last announced owners and names inside
	moved map[uint32]bool   // interfaces that had several peers, whose names may differ
}

func newFold() *fold {
	return &fold{up: map[uint32]string{}, last: map[uint32]string{}, inner: map[uint32]inside{}}
}

// inside is the owner and the name of a peer in an event.
type inside struct{ pool, id, name string }

// add applies an event. The error says which promise the event breaks.
func (f *fold) add(e *hub.Event) error {
	ifindex, veth := indexOf(e), e.Options.Text("veth")
	_, up := f.up[ifindex]
	want, known := f.last[ifindex]
	f.last[ifindex] = veth
	said := veth // the former name, according to this event
	renamed := e.Action == links.ActionRename && e.Options.Text("old_veth") == ""
	if e.Action == links.ActionRename && !renamed {
		said = e.Options.Text("old_veth")
	}
	if known && said != want {
		return fmt.Errorf("event %d: ifindex %d changed its name without an event from %q: %s", e.Seq, ifindex, want, describe(e))
	}
	switch e.Action {
	case links.ActionUp:
		if handover, _ := e.Options.Get("handover"); up && !handover.Bool() {
			return fmt.Errorf("event %d: ifindex %d is up already: %s", e.Seq, ifindex, describe(e))
		}
		f.up[ifindex] = veth
	case links.ActionDown:
		if !up {
			return fmt.Errorf("event %d: ifindex %d is not up: %s", e.Seq, ifindex, describe(e))
		}
		delete(f.up, ifindex)
	case links.ActionRename:
		if renamed {
			was, is := inside{e.Pool, e.ID, e.Options.Text("name")}, e.Options.Text("new_name")
			last := f.inner[ifindex]
			// Without an owner it may be another peer.
			same := last.name != "" && last.id != "" && !f.moved[ifindex] && last.pool == was.pool && last.id == was.id
			if was.name == is || was.name == "" || same && last != was {
				return fmt.Errorf("event %d: ifindex %d was called %q inside: %s", e.Seq, ifindex, last, describe(e))
			}
		} else if said == veth {
			return fmt.Errorf("event %d: ifindex %d was renamed to its former name: %s", e.Seq, ifindex, describe(e))
		}
		if up {
			f.up[ifindex] = veth
		}
	default:
		return errors.New("unexpected action: " + describe(e))
	}
	f.inner[ifindex] = inside{e.Pool, e.ID, e.Options.Text("name")}
	if renamed {
		f.inner[ifindex] = inside{e.Pool, e.ID, e.Options.Text("new_name")}
	}
	return nil
}

func foldAll(t testing.TB, events []*hub.Event) *fold {
	t.Helper()
	f := newFold()
	for _, e := range events {
		must(t, f.add(e))
	}
	return f
}

// upRows returns the names of the interfaces that are up in a view.
func upRows(rows []hub.Interface) map[uint32]string {
	up := map[uint32]string{}
	for i := range rows {
		if rows[i].State == hub.LinkUp {
			up[rows[i].Ifindex] = rows[i].Veth
		}
	}
	return up
}

func sameUp(t testing.TB, what string, got, want map[uint32]string) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Fatalf("up %s: %v, want %v", what, got, want)
	}
}
