package netwatch

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/links"
	"github.com/osctl/eventd/netwatch/nstest"
)

// churner makes, changes and deletes pairs as fast as the kernel can.
type churner struct {
	host, inside *nstest.NS
	prefix       string
	random       *rand.Rand
}

// lives makes many pairs. Every fifty share a namespace. The last namespace stays.
func (c *churner) lives(pairs int) error {
	for i := range pairs {
		if i%50 == 0 {
			if i > 0 {
				c.inside.Close()
			}
			var err error
			if c.inside, err = nstest.Open(); err != nil {
				return err
			}
		}
		if err := c.life(i); err != nil {
			return err
		}
	}
	return nil
}

// life makes and changes one pair, and maybe deletes it.
func (c *churner) life(i int) error {
	name := func(what string) string { return fmt.Sprintf("%s%s%d", what, c.prefix, i) }
	var inside *nstest.NS
	if i%3 == 1 {
		inside = c.inside
	}
	host, err := c.host.Pair(name("h"), name("p"), inside)
	if err != nil {
		return err
	}
	peerNS := c.host
	if i%3 == 2 {
		peer, err := c.host.Index(name("p"))
		if err != nil {
			return err
		}
		if err := c.host.Move(peer, c.inside); err != nil {
			return err
		}
	}
	if i%3 != 0 {
		peerNS = c.inside
	}
	peer, err := peerNS.Index(name("p"))
	if err != nil {
		return err
	}
	steps := []func() error{
		func() error { return c.host.Up(host) },
		func() error { return peerNS.Up(peer) },
		func() error { return c.host.Rename(host, name("r")) },
	}
	for range c.random.IntN(4) {
		steps = append(steps, func() error { return peerNS.Down(peer) }, func() error { return peerNS.Up(peer) })
	}
	if i%9 == 0 { // most other pairs are deleted with the namespace, which is quicker
		steps = append(steps, func() error { return c.host.Delete(host) })
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// TestChurn expects correct events and a correct view although the kernel drops messages again and
// again.
func TestChurn(t *testing.T) {
	const workers, pairs = 4, 500
	host := nstest.New(t)
	h := newHub(t)
	events := follow(t, h)
	// Room for about two messages, and for one part of a dump.
	w := newWatcherIn(t, host, &Config{Hub: h, ReceiveBuffer: 4096})
	run(t, w)
	var workersDone sync.WaitGroup
	var failed atomic.Pointer[error]
	for n := range workers {
		c := &churner{host: host, prefix: fmt.Sprintf("%dx", n), random: rand.New(rand.NewPCG(1, uint64(n)))}
		workersDone.Go(func() {
			if err := c.lives(pairs); err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
		t.Cleanup(func() {
			if c.inside != nil {
				c.inside.Close()
			}
		})
	}
	workersDone.Wait()
	if err := failed.Load(); err != nil {
		t.Fatal(*err)
	}
	// The kernel may report a carrier between agree and read.
	for started := time.Now(); ; {
		want := agree(t, w, h, host)
		if len(want) < workers*30 {
			t.Fatalf("only %d links are up", len(want))
		}
		f := foldAll(t, events.read(t))
		if maps.Equal(f.up, want) {
			break
		}
		if time.Since(started) > patience {
			sameUp(t, "by events", f.up, want)
		}
	}
	counters := h.Counters()
	if counters[hub.CounterOverruns] < 10 {
		t.Errorf("only %d overruns, so this tests nothing", counters[hub.CounterOverruns])
	}
	t.Logf("%d events, %d overruns, %d dumps", len(events.events), counters[hub.CounterOverruns], w.resync.dumps)
}

// agree waits until the view is the same as the kernel's, because the kernel reports changes of carriers
// late, and returns the links that are up.
func agree(t testing.TB, w *Watcher, h *hub.Hub, ns *nstest.NS) map[uint32]string {
	t.Helper()
	for started := time.Now(); ; {
		settle(t, w)
		rows, _ := h.Interfaces()
		want, all := inKernel(t, ns)
		if maps.Equal(upRows(rows), want) && len(rows) == all {
			return want
		}
		if time.Since(started) > patience {
			got := upRows(rows)
			maps.DeleteFunc(want, func(ifindex uint32, veth string) bool { return got[ifindex] == veth })
			t.Fatalf("the view has %d rows, the kernel %d links; up only in the kernel: %v", len(rows), all, want)
		}
	}
}

// inKernel returns the veths that are up, and the number of all veths, according to netlink.Handle.
func inKernel(t testing.TB, ns *nstest.NS) (up map[uint32]string, all int) {
	t.Helper()
	var found []netlink.Link
	for {
		var err error
		if found, err = ns.Handle().LinkList(); err == nil {
			break
		}
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			t.Fatal(err)
		}
	}
	up = map[uint32]string{}
	for _, l := range found {
		if l.Type() != "veth" {
			continue
		}
		all++
		if l.Attrs().RawFlags&flagsUp == flagsUp {
			up[uint32(l.Attrs().Index)] = l.Attrs().Name
		}
	}
	return up, all
}

// TestEachTransitionOnce compares the events of random changes with the messages that netlink received
// and decoded.
func TestEachTransitionOnce(t *testing.T) {
	host := nstest.New(t)
	h := newHub(t)
	events := follow(t, h)
	w := newWatcherIn(t, host, &Config{Hub: h})
	run(t, w)
	received := subscribe(t, host)
	c := &churner{host: host, inside: nstest.New(t), prefix: "x", random: rand.New(rand.NewPCG(1, 2))}
	for i := range 60 {
		must(t, c.life(i))
	}
	agree(t, w, h, host)
	// The kernel may still report a carrier between received and read.
	for started := time.Now(); ; {
		settle(t, w)
		want, got := messageTransitions(received()), eventTransitions(events.read(t))
		slices.SortStableFunc(want, byIfindex)
		slices.SortStableFunc(got, byIfindex)
		if slices.Equal(got, want) && len(got) >= 100 { // of 60 lives; a busy kernel reports less
			break
		}
		if time.Since(started) > patience {
			t.Fatalf("%d events, want %d:\n%s\nwant:\n%s", len(got), len(want), strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	if n := h.Counters()[hub.CounterResyncs]; n != 0 {
		t.Errorf("%d resyncs", n)
	}
}

// byIfindex orders lines by their link, because a link that waits for its name inside comes later.
func byIfindex(a, b string) int { return cmp.Compare(strings.Fields(a)[1], strings.Fields(b)[1]) }

// eventTransitions describes events.
func eventTransitions(events []*hub.Event) (lines []string) {
	for _, e := range events {
		lines = append(lines, fmt.Sprintf("%s %d %s %s", e.Action, indexOf(e), e.Options.Text("veth"), e.Options.Text("old_veth")))
	}
	return lines
}

// messageTransitions describes the transitions in messages.
func messageTransitions(messages []netlink.LinkUpdate) []string {
	type state struct {
		up   bool
		name string
	}
	last := map[int]state{}
	var out []string
	for _, m := range messages {
		if m.Family != unix.AF_UNSPEC || m.Type() != "veth" {
			continue
		}
		a := m.Attrs()
		old, known := last[a.Index]
		now := state{a.RawFlags&flagsUp == flagsUp && m.Header.Type == unix.RTM_NEWLINK, a.Name}
		if known && old.name != now.name {
			out = append(out, fmt.Sprintf("rename %d %s %s", a.Index, now.name, old.name))
		}
		if old.up != now.up {
			out = append(out, fmt.Sprintf("%s %d %s ", map[bool]string{true: links.ActionUp, false: links.ActionDown}[now.up], a.Index, now.name))
		}
		last[a.Index] = now
		if m.Header.Type == unix.RTM_DELLINK {
			delete(last, a.Index)
		}
	}
	return out
}

// subscribe listens by netlink.LinkSubscribe. received returns the messages so far.
func subscribe(t *testing.T, ns *nstest.NS) (received func() []netlink.LinkUpdate) {
	t.Helper()
	updates, done, ended := make(chan netlink.LinkUpdate), make(chan struct{}), make(chan struct{})
	handle := netns.NsHandle(ns.FD())
	must(t, netlink.LinkSubscribeWithOptions(updates, done, netlink.LinkSubscribeOptions{
		Namespace: &handle, ReceiveBufferSize: 64 << 20, ReceiveBufferForceSize: true,
		ErrorCallback: func(err error) {
			select {
			case <-done:
			default:
				t.Error(err)
			}
		},
	}))
	var mu sync.Mutex
	var all []netlink.LinkUpdate
	go func() {
		defer close(ended)
		for u := range updates {
			mu.Lock()
			all = append(all, u)
			mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		close(done)
		<-ended
	})
	return func() []netlink.LinkUpdate {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

// TestRestart expects changes between two watchers to be announced once, with resync.
func TestRestart(t *testing.T) {
	p := &place{TB: t, host: nstest.New(t), inside: nstest.New(t)}
	p.bare = openBare(t, p.host)
	h := newHub(t)
	events := follow(t, h)
	host, _ := p.running()
	gone, err := p.host.Pair("gone", "gone", p.inside)
	must(t, err)
	must(t, p.host.Up(gone))
	must(t, p.inside.Up(p.index(p.inside, "gone")))
	p.until("gone", hub.LinkUp)
	t.Run("first", func(t *testing.T) { run(t, patient(newWatcherIn(t, p.host, &Config{Hub: h}))) })
	must(t, p.host.Rename(host, "h2"))
	must(t, p.host.Delete(gone))
	t.Run("second", func(t *testing.T) { run(t, patient(newWatcherIn(t, p.host, &Config{Hub: h}))) })
	t.Run("third", func(t *testing.T) { run(t, patient(newWatcherIn(t, p.host, &Config{Hub: h}))) })
	got := strings.Join(describeAll(events.read(t)), "\n")
	want := "up h name=p resync\nup gone name=gone resync\nrename h2 name=p was=h resync\ndown gone name=gone gone resync"
	if got != want {
		t.Errorf("events:\n%s\nwant:\n%s", got, want)
	}
}
