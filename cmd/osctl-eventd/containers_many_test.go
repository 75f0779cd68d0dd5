package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/cttest"
)

// expectLives checks that each interface has an up and a down, both with its owner: the veth vID
// belongs to container ID. If an up is announced before its owner is found, a handover names the
// owner. If brief is set, only wrong owners are errors: the watcher may miss a short up, and
// finds no owner for a container that is already gone.
func (a *follower) expectLives(pool string, ids []string, brief bool) {
	a.t.Helper()
	if brief {
		a.waitUnlisted()
	} else {
		a.readUntil(func() bool { return len(a.events) >= 2*len(ids) })
	}
	actions := map[string][]string{} // by veth
	var wrong []string
	ownerless, pending := 0, map[string]bool{} // pending: veths without an owner yet
	for _, e := range a.readNow() {
		veth := e.Options.Text("veth")
		valid := e.Pool == pool && "v"+e.ID == veth && e.Options.Text("name") == "eth0"
		if e.Pool == "" && e.ID == "" && (brief || e.Action == "up") {
			ownerless++
			valid = true
			pending[veth] = true
		}
		if !valid {
			wrong = append(wrong, formatFull(e))
		}
		if handover, _ := e.Options.Get("handover"); handover.Bool() && pending[veth] {
			delete(pending, veth)
			continue // names the owner of an earlier up
		}
		actions[veth] = append(actions[veth], e.Action)
	}
	unannounced := 0
	for _, id := range ids {
		got := actions["v"+id]
		if len(got) == 0 {
			unannounced++
		}
		if !slices.Equal(got, []string{"up", "down"}) && (!brief || len(got) > 0) {
			wrong = append(wrong, fmt.Sprintf("v%s has events %s, want up and down", id, got))
		}
		delete(actions, "v"+id)
	}
	for veth, got := range actions {
		wrong = append(wrong, fmt.Sprintf("%s belongs to no container, but has events %s", veth, got))
	}
	a.t.Logf("%d of %d containers were not announced, %d events have no owner", unannounced, len(ids), ownerless)
	if len(pending) > 0 && !brief {
		wrong = append(wrong, fmt.Sprintf("%d interfaces never got an owner", len(pending)))
	}
	if len(wrong) > 0 {
		a.t.Errorf("%d errors, among them\n%s", len(wrong), strings.Join(wrong[:min(len(wrong), 20)], "\n"))
	}
}

// waitUnlisted waits until ListInterfaces has no veth of newContainers. All events of these veths
// have been sent by then.
func (a *follower) waitUnlisted() {
	a.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		rows, _, err := a.client.Interfaces(a.t.Context(), hub.Filter{})
		must(a.t, err)
		if !slices.ContainsFunc(rows, func(row hub.Interface) bool { return strings.HasPrefix(row.Veth, "v1") }) {
			return
		}
		if time.Now().After(deadline) {
			a.t.Fatalf("veths are still listed: %v", rows)
		}
	}
}

// newContainers creates 200 LXC containers, half of them with mapped IDs.
func newContainers(t *testing.T, h *cttest.Host) (all []*cttest.LXC, ids []string) {
	t.Helper()
	for n := range 200 {
		id := strconv.Itoa(1000 + n)
		all = append(all, h.LXC(t, cttest.LXCConfig{
			Pool: "tank", ID: id, Mapped: n%2 == 1, Interfaces: []cttest.Interface{{Pair: "v" + id}},
		}))
		ids = append(ids, id)
	}
	return all, ids
}

// runParallel calls do for each container, in workers goroutines.
func runParallel(t *testing.T, workers int, all []*cttest.LXC, do func(c *cttest.LXC) error) {
	t.Helper()
	jobs := make(chan *cttest.LXC)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for c := range jobs {
				if err := do(c); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for _, c := range all {
		jobs <- c
	}
	close(jobs)
	wg.Wait()
}

// TestManyTogether starts 200 containers in parallel, and kills them in parallel once all are
// announced.
func TestManyTogether(t *testing.T) {
	h := cttest.NewHost(t)
	a := follow(t, startOnHost(t, h), h.Exec)
	all, ids := newContainers(t, h)
	runParallel(t, 8, all, (*cttest.LXC).Start)
	a.readUntil(func() bool { return len(a.events) >= len(ids) })
	runParallel(t, 8, all, (*cttest.LXC).Kill)
	a.expectLives("tank", ids, false)
	a.finish()
}

// TestManyBrief starts 200 containers in parallel and kills each within a second, while others
// still start.
func TestManyBrief(t *testing.T) {
	for name, life := range map[string]time.Duration{"for a moment": 0, "for a second": time.Second} {
		t.Run(name, func(t *testing.T) {
			h := cttest.NewHost(t)
			a := follow(t, startWith(t, h), h.Exec)
			all, ids := newContainers(t, h)
			runParallel(t, 32, all, func(c *cttest.LXC) error {
				err := c.Start()
				time.Sleep(rand.N(life + 1)) // the container's life; it synchronises nothing
				return errors.Join(err, c.Kill())
			})
			a.expectLives("tank", ids, true)
			a.finish()
		})
	}
}
