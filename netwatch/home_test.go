package netwatch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/containers"
	"github.com/osctl/eventd/netwatch/nstest"
)

var _ Owners = (*containers.Tracker)(nil)

// register is Owners with a list of containers. It asks the kernel for the nsids of their namespaces.
type register struct {
	host *nstest.NS

	mu    sync.Mutex
	known map[string]*nstest.NS // by container id
	found map[int32]string      // container ids that were found last, by nsid
	finds int                   // how often the last one was wrong, so all were searched
}

func newRegister(host *nstest.NS) *register {
	return &register{host: host, known: map[string]*nstest.NS{}, found: map[int32]string{}}
}

func (r *register) set(id string, ns *nstest.NS) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[id] = ns
}

// stop removes a container and kills its namespace.
func (r *register) stop(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ns := r.known[id]
	delete(r.known, id)
	ns.Close()
}

// drop removes a container, whose namespace lives on.
func (r *register) drop(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, id)
}

func (r *register) Owner(nsid int32, still func() bool) (c containers.Container, found bool, next time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	has := func(ns *nstest.NS) bool {
		says := func() bool {
			got, err := r.host.Handle().GetNetNsIdByFd(ns.FD())
			return err == nil && int32(got) == nsid
		}
		return says() && still() && says()
	}
	if id := r.found[nsid]; r.known[id] != nil && has(r.known[id]) {
		return containers.Container{Pool: "tank", ID: id}, true, time.Time{}
	}
	r.finds++
	for id, ns := range r.known {
		if has(ns) {
			r.found[nsid] = id
			return containers.Container{Pool: "tank", ID: id}, true, time.Time{}
		}
	}
	return containers.Container{}, false, time.Time{}
}

func (r *register) walks() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.finds
}

func (r *register) Left(containers.Container, int32) bool { return false }

func (r *register) Runs(c containers.Container) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known[c.ID] != nil
}

func (r *register) Run(ctx context.Context, _ func(containers.Container, int32), _ func(containers.StateChange)) {
	<-ctx.Done()
}

func (r *register) Begin(map[containers.Container]containers.State) []containers.StateChange {
	return nil
}
func (r *register) Missing() []string { return []string{"nothing but a test"} }

// home is a place with known containers.
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
	h.w = patient(newWatcherIn(t, h.host, &Config{Hub: h.hub, Owners: h.owners}))
	return h
}

// newEvents settles the watcher, and returns the events since the last call.
func (h *home) newEvents(t *testing.T) []string {
	t.Helper()
	settle(t, h.w)
	n := len(h.events.events)
	return describeAll(h.events.read(t)[n:])
}

func (h *home) want(t *testing.T, want ...string) {
	t.Helper()
	if got := h.newEvents(t); !slices.Equal(got, want) {
		t.Errorf("events:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// row waits until the view has one row, written OWNER NAME BOUND_BY.
func (h *home) row(t *testing.T, want string) {
	t.Helper()
	for started := time.Now(); ; {
		rows, _ := h.hub.Interfaces()
		if len(rows) == 1 && fmt.Sprintf("%s/%s %s %s", rows[0].Pool, rows[0].ID, rows[0].Name, rows[0].BoundBy) == want {
			return
		}
		if time.Since(started) > patience {
			t.Fatalf("view %v, want %s", rows, want)
		}
		settle(t, h.w)
	}
}
