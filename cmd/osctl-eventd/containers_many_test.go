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

// lives wants of each interface just up, then down, and each with its owner. The id is
// in the name of the veth, behind the first letter. An up may come before its owner, which is
// then told by a handover. Of brief lives it wants that no owner
// is another one: an up that is over before the kernel tells is not announced, and a
// container that is gone before anybody asks has no owner. How many that are depends on
// how busy the machine is.
func (a *account) lives(pool string, ids []string, brief bool) {
	a.t.Helper()
	if brief {
		a.untilGone()
	} else {
		a.readUntil(func() bool { return len(a.events) >= 2*len(ids) })
	}
	said := map[string][]string{}
	var wrong []string
	nameless, unowned := 0, map[string]bool{} // by veth
	for _, e := range a.upToNow() {
		veth := e.Options.Text("veth")
		fine := e.Pool == pool && "v"+e.ID == veth && e.Options.Text("name") == "eth0"
		if e.Pool == "" && e.ID == "" && (brief || e.Action == "up") {
			nameless++
			fine = true
			unowned[veth] = true
		}
		if !fine {
			wrong = append(wrong, inFull(e))
		}
		if handover, _ := e.Options.Get("handover"); handover.Bool() && unowned[veth] {
			delete(unowned, veth)
			continue // the owner of an up that was told without
		}
		said[veth] = append(said[veth], e.Action)
	}
	untold := 0
	for _, id := range ids {
		got := said["v"+id]
		if len(got) == 0 {
			untold++
		}
		if !slices.Equal(got, []string{"up", "down"}) && (!brief || len(got) > 0) {
			wrong = append(wrong, fmt.Sprintf("of v%s is said: %s", id, got))
		}
		delete(said, "v"+id)
	}
	for veth, got := range said {
		wrong = append(wrong, fmt.Sprintf("of %s, which is no container's, is said: %s", veth, got))
	}
	a.t.Logf("%d of %d containers were not announced, %d events have no owner", untold, len(ids), nameless)
	if len(unowned) > 0 && !brief {
		wrong = append(wrong, fmt.Sprintf("the owners of %d interfaces were never told", len(unowned)))
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

// TestManyTogether starts 200 containers in parallel, and kills them so once all are
// announced.
func TestManyTogether(t *testing.T) {
	h := cttest.NewHost(t)
	a := follow(t, daemonOn(t, h), h.Exec)
	all, ids := crowd(t, h)
	parallel(t, 8, all, (*cttest.LXC).Start)
	a.readUntil(func() bool { return len(a.events) >= len(ids) })
	parallel(t, 8, all, (*cttest.LXC).Kill)
	a.lives("tank", ids, false)
	a.finish()
}

// TestManyBrief starts 200 containers in parallel and kills each after up to a second, while
// the others start and are asked for.
func TestManyBrief(t *testing.T) {
	for name, life := range map[string]time.Duration{"for a moment": 0, "for a second": time.Second} {
		t.Run(name, func(t *testing.T) {
			h := cttest.NewHost(t)
			a := follow(t, daemonBy(t, h), h.Exec)
			all, ids := crowd(t, h)
			parallel(t, 32, all, func(c *cttest.LXC) error {
				err := c.Start()
				time.Sleep(rand.N(life + 1)) // is what is tested: nothing waits for it
				return errors.Join(err, c.Kill())
			})
			a.lives("tank", ids, true)
			a.finish()
		})
	}
}
