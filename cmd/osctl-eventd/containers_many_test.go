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

// leeway is what the account of a crowd may lack.
type leeway struct {
	untold   bool // an up that is over before the kernel gets round to telling is not told
	nameless bool // of one in five the owner may be missing or come later, but not be another one
	busy     bool // with nameless: of any, because the daemon is preferred to nobody on a busy machine
}

// lives wants of each interface just up, then down, and each with its owner. The id is
// in the name of the veth, behind the first letter.
func (a *account) lives(pool string, ids []string, may leeway) {
	a.t.Helper()
	if may.untold {
		a.untilGone()
	} else {
		a.readUntil(func() bool { return len(a.events) >= 2*len(ids) })
	}
	said := map[string][]string{}
	var wrong []string
	nameless := 0
	for _, e := range a.upToNow() {
		veth := e.Options.Text("veth")
		fine := e.Pool == pool && "v"+e.ID == veth && e.Options.Text("name") == "eth0"
		if may.nameless && e.Pool == "" && e.ID == "" {
			nameless++
			fine = true
		}
		if !fine {
			wrong = append(wrong, inFull(e))
		}
		if handover, _ := e.Options.Get("handover"); may.nameless && handover.Bool() {
			continue // the owner of one that was told without
		}
		said[veth] = append(said[veth], e.Action)
	}
	untold := 0
	for _, id := range ids {
		got := said["v"+id]
		if len(got) == 0 {
			untold++
		}
		if !slices.Equal(got, []string{"up", "down"}) && (!may.untold || len(got) > 0) {
			wrong = append(wrong, fmt.Sprintf("of v%s is said: %s", id, got))
		}
		delete(said, "v"+id)
	}
	for veth, got := range said {
		wrong = append(wrong, fmt.Sprintf("of %s, which is no container's, is said: %s", veth, got))
	}
	if untold > len(ids)/2 || !may.busy && nameless > 2*len(ids)/5 {
		wrong = append(wrong, fmt.Sprintf("of %d of %d is said nothing, %d events have no owner", untold, len(ids), nameless))
	}
	if len(wrong) > 0 {
		a.t.Errorf("%d things are wrong, as\n%s", len(wrong), strings.Join(wrong[:min(len(wrong), 20)], "\n"))
	}
}

// untilGone waits until the list of interfaces has none of a crowd any more. What is
// said of one is said by then.
func (a *account) untilGone() {
	a.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		rows, _, err := a.client.Interfaces(a.t.Context(), hub.Filter{})
		must(a.t, err)
		if !slices.ContainsFunc(rows, func(row hub.Interface) bool { return strings.HasPrefix(row.Veth, "v1") }) {
			return
		}
		if time.Now().After(deadline) {
			a.t.Fatalf("veths are left: %v", rows)
		}
	}
}

// crowd is 200 LXC containers, privileged and mapped.
func crowd(t *testing.T, h *cttest.Host) (all []*cttest.LXC, ids []string) {
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

// parallel calls do for each container, for some at a time.
func parallel(t *testing.T, some int, all []*cttest.LXC, do func(c *cttest.LXC) error) {
	t.Helper()
	jobs := make(chan *cttest.LXC)
	var wg sync.WaitGroup
	for range some {
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

// TestManyTogether starts 200 containers in parallel, and then kills them so.
func TestManyTogether(t *testing.T) {
	h := cttest.NewHost(t)
	a := follow(t, daemonOn(t, h), h.Exec)
	all, ids := crowd(t, h)
	parallel(t, 8, all, (*cttest.LXC).Start)
	parallel(t, 8, all, (*cttest.LXC).Kill)
	a.lives("tank", ids, leeway{})
	a.finish()
}

// TestManyAtOrdinaryPriority starts and kills 200 containers in parallel that live for a
// while, as short as real ones do: 0.1 to 1 s. Up to 64 start at a time, and a daemon that is
// preferred to nobody may come too late to ask whose they are, but tells none as another.
func TestManyAtOrdinaryPriority(t *testing.T) {
	h := cttest.NewHost(t)
	a := follow(t, daemonBy(t, h), h.Exec)
	all, ids := crowd(t, h)
	parallel(t, 64, all, func(c *cttest.LXC) error {
		err := c.Start()
		life := 100*time.Millisecond + rand.N(900*time.Millisecond)
		time.Sleep(life) // is what is tested: nothing waits for it
		return errors.Join(err, c.Kill())
	})
	a.lives("tank", ids, leeway{untold: true, nameless: true, busy: true})
	a.finish()
}

// TestManyShortLived starts 200 containers in parallel, and kills each as soon as it runs:
// it lives for some 20 ms with a veth. That may be too short to ask whose it is, but nobody is
// ever told as another.
func TestManyShortLived(t *testing.T) {
	h := cttest.NewHost(t)
	a := follow(t, daemonBy(t, h, "chrt", "--rr", "1"), h.Exec)
	all, ids := crowd(t, h)
	parallel(t, 8, all, func(c *cttest.LXC) error { return errors.Join(c.Start(), c.Kill()) })
	a.lives("tank", ids, leeway{untold: true, nameless: true})
	a.finish()
}
