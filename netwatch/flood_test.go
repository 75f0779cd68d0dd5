package netwatch

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/links"
	"github.com/osctl/eventd/netwatch/nstest"
	"github.com/osctl/eventd/netwatch/rtnl"
)

// TestContainerRebootsWithoutEnd starts a container again and again, each time with another ifindex. It
// expects no more events than the budget of the container allows, no delay of another container, and the
// final state in the view.
func TestContainerRebootsWithoutEnd(t *testing.T) {
	const rounds = 150
	h := newHome(t)
	other := nstest.New(t)
	h.owners.set("102", other)
	started := time.Now() // an event has the time of its commit, which may be long after it took its token
	run(t, h.w)
	var last int
	for i := range rounds {
		ns, err := nstest.Open()
		must(t, err)
		h.owners.set("flood", ns)
		last = h.pair(fmt.Sprint("f", i), "eth0", ns)
		must(t, h.host.Up(last))
		must(t, ns.Up(h.index(ns, "eth0")))
		h.until(fmt.Sprint("f", i), hub.LinkUp)
		settle(t, h.w) // its owner was found
		if i < rounds-1 {
			h.owners.stop("flood")
			h.hear(func(l *rtnl.Link) bool { return l.Deleted && l.Ifindex == uint32(last) })
		} else {
			t.Cleanup(func() { h.owners.stop("flood") })
		}
	}
	host := h.pair("o", "eth0", other)
	must(t, h.host.Up(host))
	must(t, other.Up(h.index(other, "eth0")))
	h.until("o", hub.LinkUp)
	if got := h.newEvents(t); !slices.Contains(got, "up o name=eth0 of=tank/102") {
		t.Errorf("no up of the other container:\n%s", strings.Join(got, "\n"))
	}
	h.await(t, "the last interface is in the view", func() bool {
		rows, _ := h.hub.Interfaces()
		return slices.ContainsFunc(rows, func(r hub.Interface) bool { return r.Ifindex == uint32(last) && r.State == hub.LinkUp })
	})
	var flood []*hub.Event
	for _, e := range h.events.read(t) {
		if e.ID != "102" { // an interface that was deleted while over budget may have no owner, but counts
			flood = append(flood, e)
		}
		if e.ID != "" && e.ID != "102" && e.ID != "flood" {
			t.Errorf("wrong owner: %s", describe(e))
		}
	}
	budget := links.ContainerBudget
	if n := budget.Burst + int(time.Since(started)/budget.Every) + 2; len(flood) > n || len(flood) < budget.Burst/2 {
		t.Errorf("%d events, the budget is %d", len(flood), n)
	}
	if f := foldAll(t, h.events.events); len(f.up) != 2 || f.up[uint32(last)] == "" {
		t.Errorf("up by events: %v, want %d", f.up, last)
	}
}

// await waits until ok returns true.
func (h *home) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for !ok() {
		must(t, h.w.Check(t.Context()))
		if t.Context().Err() != nil {
			t.Fatal("not so in time:", what)
		}
	}
}

// TestHeldAtStop stops a watcher while changes of an interface are throttled, and expects the next one to
// announce the outcome once.
func TestHeldAtStop(t *testing.T) {
	h := newHome(t)
	const last = 99
	t.Run("first", func(t *testing.T) {
		// No token may come back before the stop.
		run(t, setBudgets(h.w, links.Budget{Burst: links.InterfaceBudget.Burst, Every: time.Hour}, links.ContainerBudget))
		host, _ := h.running()
		for i := range last + 1 {
			must(t, h.host.Rename(host, fmt.Sprint("n", i)))
		}
		h.until(fmt.Sprint("n", last), hub.LinkUp)
		settle(t, h.w)
	})
	n := len(h.events.read(t))
	rows, _ := h.hub.Interfaces()
	for _, name := range []string{"second", "third"} {
		t.Run(name, func(t *testing.T) { run(t, patient(newWatcherIn(t, h.host, &Config{Hub: h.hub, Owners: h.owners}))) })
	}
	got := strings.Join(describeAll(h.events.read(t)[n:]), "\n")
	if want := fmt.Sprintf("rename n%d name=p was=%s of=tank/101 resync", last, rows[0].Veth); got != want {
		t.Errorf("events:\n%s\nwant:\n%s", got, want)
	}
	foldAll(t, h.events.events)
}

// TestChatterInside has a container rename a veth of its own at full speed. It expects no events of that,
// no overrun, and no delay of other interfaces. The container waits for a turn of the watcher now and then,
// because on a busy machine the watcher may not run while the queue fills.
func TestChatterInside(t *testing.T) {
	const renames, others = 5000, 10
	h := newHome(t)
	run(t, h.w)
	h.running() // gives the container an nsid, so its messages arrive
	h.want(t, "up h name=p of=tank/101")
	own, err := h.inside.Pair("docker0", "docker1", nil)
	must(t, err)
	var done atomic.Int64
	var stop atomic.Bool
	ended := make(chan error, 1)
	go func() {
		var err error
		for err == nil && (!stop.Load() || done.Load() < renames) {
			n := done.Add(1)
			if err = h.inside.Rename(own, fmt.Sprint("d", n%2)); err == nil && n%(maxUncommitted/2) == 0 {
				err = h.w.Check(t.Context())
			}
		}
		ended <- err
	}()
	for i := range others {
		a, b := fmt.Sprint("a", i), fmt.Sprint("b", i)
		host, err := h.host.Pair(a, b, nil)
		must(t, err)
		must(t, h.host.Up(host))
		must(t, h.host.Up(h.index(h.host, b)))
		h.await(t, a+" is up", func() bool {
			return slices.ContainsFunc(h.events.read(t), func(e *hub.Event) bool { return e.Action == links.ActionUp && e.Options.Text("veth") == a })
		})
	}
	stop.Store(true)
	must(t, <-ended)
	settle(t, h.w)
	events := h.events.read(t)
	if n := h.hub.Counters()[hub.CounterOverruns]; len(events) != 1+2*others || n != 0 {
		t.Errorf("%d overruns, %d events:\n%s", n, len(events), strings.Join(describeAll(events), "\n"))
	}
}
