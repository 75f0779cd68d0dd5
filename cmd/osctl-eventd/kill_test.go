package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/osctl/eventd/cmd/internal/daemontest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/nstest"
)

// killTest kills the daemon of a host again and again, while four reporters report and veths go
// up and down.
type killTest struct {
	t       *testing.T
	host    *nstest.NS
	bus     *bustest.Bus
	flags   []string
	pairs   [][2]int // ifindexes
	load    sync.WaitGroup
	flips   sync.Mutex   // held during a flip
	flipped atomic.Int64 // number of flips since the last kill
	random  *rand.Rand

	mu       sync.Mutex
	answered map[uint64]string // token by number
	sent     int               // reports since the last kill
}

// TestKilledAtAnyInstant kills the daemon at random instants: no answered report is missing or
// stored twice, numbers are consecutive within one epoch, values keep their types, and the
// interface events add up to the state of the kernel.
func TestKilledAtAnyInstant(t *testing.T) {
	killAtAnyInstant(t, 50, "--history", "4000000", "--log-size", "4G")
}

// TestKilledAtAnyInstantWithSmallLog is the same with a log that starts new segments and drops
// old ones all the time.
func TestKilledAtAnyInstantWithSmallLog(t *testing.T) {
	killAtAnyInstant(t, 25, "--history", "8000", "--log-size", "512K")
}

func killAtAnyInstant(t *testing.T, kills int, flags ...string) {
	t.Helper()
	kills = daemontest.Kills(t, kills)
	k := &killTest{
		t: t, host: nstest.New(t), bus: bustest.Start(t, bustest.Broker, bustest.PolicyOpen), answered: map[uint64]string{},
		flags:  append(flags, "--state-dir", t.TempDir()),
		random: rand.New(rand.NewPCG(1, 2)),
	}
	for i := range 5 {
		near, err := k.host.Pair(fmt.Sprint("k", i), fmt.Sprint("l", i), k.host)
		must(t, err)
		far, err := k.host.Index(fmt.Sprint("l", i))
		must(t, err)
		k.pairs = append(k.pairs, [2]int{near, far})
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for reporter := range 4 {
		k.load.Go(func() { k.report(ctx, reporter) })
	}
	k.load.Go(func() { k.flip(ctx) })
	d := startDaemon(t, k.host, k.bus.Address(), nil, k.flags...)
	seen := &history{}
	for i := range kills {
		k.killOnce(d)
		d = startDaemon(t, k.host, k.bus.Address(), nil, k.flags...)
		if i%10 == 9 {
			k.expectKernelState(d, seen)
			continue
		}
		client := d.Client(t)
		seen.readNew(t, client)
		client.Close()
	}
	cancel()
	k.load.Wait()
	k.expectKernelState(d, seen)
	k.check(seen)
	must(t, d.Cmd.Process.Signal(syscall.SIGTERM))
	if code := d.Wait(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
	again := startDaemon(t, k.host, k.bus.Address(), nil, k.flags...)
	before := len(seen.events)
	client := again.Client(t)
	seen.readNew(t, client)
	if len(seen.events) != before {
		t.Errorf("%d new events after a clean restart", len(seen.events)-before)
	}
	seen.expectSameAgain(t, client)
}

// expectSameAgain reads all kept events once more, and compares them with those read before.
func (h *history) expectSameAgain(t *testing.T, client *client.Client) {
	t.Helper()
	read := 0
	for cursor := hub.CursorOldest; ; {
		next, events, err := client.WaitEvents(t.Context(), cursor, hub.Filter{}, 0, 0)
		must(t, err)
		if len(events) == 0 {
			break
		}
		for _, e := range events {
			was := h.events[e.Seq-1]
			if e.Type != was.Type || e.Source != was.Source || !e.Time.Equal(was.Time) || !slices.EqualFunc(e.Options, was.Options, sameOption) {
				t.Fatalf("event %d is %+v, was %+v", e.Seq, e, was)
			}
		}
		read, cursor = read+len(events), next
	}
	if read < min(len(h.events), 500) {
		t.Errorf("only %d of %d events are kept", read, len(h.events))
	}
}

// killOnce kills the daemon at a random instant after some reports and flips.
func (k *killTest) killOnce(d *daemonProcess) {
	k.t.Helper()
	for end := time.Now().Add(patience); ; {
		k.mu.Lock()
		sent := k.sent
		k.mu.Unlock()
		if sent >= 20 && k.flipped.Load() > 0 {
			break
		}
		if time.Now().After(end) {
			k.t.Fatal("too few reports were answered")
		}
		time.Sleep(time.Millisecond)
	}
	time.Sleep(time.Duration(k.random.Int64N(int64(30 * time.Millisecond))))
	must(k.t, d.Cmd.Process.Kill())
	d.Wait(k.t)
	k.mu.Lock()
	k.sent = 0
	k.mu.Unlock()
	k.flipped.Store(0)
}

// report reports until ctx is done. An unanswered report may be stored or not.
func (k *killTest) report(ctx context.Context, reporter int) {
	var caller *client.Client
	defer func() {
		if caller != nil {
			caller.Close()
		}
	}()
	for i := 0; ctx.Err() == nil; i++ {
		if caller == nil {
			var err error
			if caller, err = client.Dial(ctx, k.bus.Address()); err != nil {
				caller = nil
				continue
			}
		}
		token := fmt.Sprintf("%d-%d", reporter, i)
		call, cancel := context.WithTimeout(ctx, patience)
		seq, err := caller.Report(call, "killed", killedOptions(token))
		cancel()
		if err != nil {
			continue
		}
		k.mu.Lock()
		k.sent++
		if had, twice := k.answered[seq]; twice {
			k.t.Errorf("reports %s and %s both got number %d", had, token, seq)
		}
		k.answered[seq] = token
		k.mu.Unlock()
	}
}

// killedOptions returns options of many types.
func killedOptions(token string) hub.Options {
	return hub.Options{
		{Name: "id", Value: hub.String(token)},
		{Name: "u", Value: hub.Uint32(7)},
		{Name: "x", Value: hub.Int64(-1 << 60)},
		{Name: "ay", Value: hub.Bytes([]byte{0, 255, 1})},
		{Name: "o", Value: hub.Path("/a/b")},
		{Name: "d", Value: hub.Number(hub.KindDouble, 0x3ff8000000000000)},
		{Name: "dict", Value: hub.Dict("s", "v", []hub.Value{hub.String("k"), hub.Variant(hub.Struct([]hub.Value{hub.Bool(true), hub.Strings("a", "b")}))})},
	}
}

// killedTypes are the types of killedOptions, in their order.
const killedTypes = "s u x ay o d a{sv}"

// flip sets ends of the veths up and down until ctx is done.
func (k *killTest) flip(ctx context.Context) {
	random := rand.New(rand.NewPCG(3, 4))
	for ctx.Err() == nil {
		end := k.pairs[random.IntN(len(k.pairs))][random.IntN(2)]
		k.flips.Lock()
		set := k.host.Up
		if random.IntN(3) == 0 {
			set = k.host.Down
		}
		if err := set(end); err != nil {
			k.t.Error(err)
		}
		k.flips.Unlock()
		k.flipped.Add(1)
		select {
		case <-ctx.Done():
		case <-time.After(time.Millisecond):
		}
	}
}

// expectKernelState pauses the flips, and checks that the events add up to the state of the kernel.
func (k *killTest) expectKernelState(d *daemonProcess, seen *history) {
	k.t.Helper()
	k.flips.Lock()
	defer k.flips.Unlock()
	client := d.Client(k.t)
	for end := time.Now().Add(patience); ; {
		seen.readNew(k.t, client)
		want, stable := k.usableVeths() // again each time: a change of carrier may come a second later
		if stable && maps.Equal(seen.up, want) {
			return
		}
		if time.Now().After(end) {
			k.t.Fatalf("by the events %v are up, in the kernel %v", seen.up, want)
		}
	}
}

// usableVeths returns the names of the usable veths by ifindex. stable is false while the kernel
// has changed the carrier of a veth (IFF_LOWER_UP), but not announced it yet (IFF_RUNNING).
func (k *killTest) usableVeths() (up map[uint32]string, stable bool) {
	k.t.Helper()
	links, err := k.host.Handle().LinkList()
	for errors.Is(err, netlink.ErrDumpInterrupted) {
		links, err = k.host.Handle().LinkList()
	}
	must(k.t, err)
	const usable = syscall.IFF_UP | syscall.IFF_RUNNING | 0x10000 // IFF_LOWER_UP
	up, stable = map[uint32]string{}, true
	for _, l := range links {
		switch flags := l.Attrs().RawFlags & usable; {
		case l.Type() != "veth":
		case flags == usable:
			up[uint32(l.Attrs().Index)] = l.Attrs().Name
		case flags&syscall.IFF_UP != 0 && flags != syscall.IFF_UP:
			stable = false
		}
	}
	return up, stable
}

// history holds all events read, over all restarts of the daemon.
type history struct {
	cursor string
	epoch  string
	events []*hub.Event
	up     map[uint32]string
}

// readNew reads the events since the last call.
func (h *history) readNew(t *testing.T, client *client.Client) {
	t.Helper()
	if h.cursor == "" {
		h.cursor, h.up = hub.CursorOldest, map[uint32]string{}
	}
	for {
		cursor, events, err := client.WaitEvents(t.Context(), h.cursor, hub.Filter{}, 0, 0)
		must(t, err)
		epoch, _, err := hub.ParseCursor(cursor)
		must(t, err)
		if h.epoch != "" && epoch != h.epoch {
			t.Fatalf("the epoch changed after event %d", len(h.events))
		}
		h.cursor, h.epoch = cursor, epoch
		if len(events) == 0 {
			return
		}
		for _, e := range events {
			h.add(t, e)
		}
	}
}

// add checks and appends an event.
func (h *history) add(t *testing.T, e *hub.Event) {
	t.Helper()
	if want := uint64(len(h.events) + 1); e.Seq != want {
		t.Fatalf("event %d follows %d", e.Seq, want-1)
	}
	h.events = append(h.events, e)
	if e.Type != hub.TypeNetif {
		return
	}
	value, _ := e.Options.Get("ifindex")
	ifindex := uint32(value.Uint())
	_, up := h.up[ifindex]
	if up == (e.Action == "up") {
		t.Errorf("event %d is %s of %d, but it was up before: %v", e.Seq, e.Action, ifindex, up)
	}
	if e.Action == "up" {
		h.up[ifindex] = e.Options.Text("veth")
	} else {
		delete(h.up, ifindex)
	}
}

// check compares the events read with the reports answered.
func (k *killTest) check(seen *history) {
	k.t.Helper()
	tokens := map[string]uint64{}
	for _, e := range seen.events {
		if e.Type != "killed" {
			continue
		}
		token := e.Options.Text("id")
		if first, twice := tokens[token]; twice {
			k.t.Errorf("report %s is stored twice, as %d and %d", token, first, e.Seq)
		}
		tokens[token] = e.Seq
		types := ""
		for _, o := range e.Options {
			types += " " + o.Value.Type()
		}
		if types[1:] != killedTypes || !slices.EqualFunc(e.Options, killedOptions(token), sameOption) {
			k.t.Errorf("event %d has changed values: %v", e.Seq, e.Options)
		}
	}
	for seq, token := range k.answered {
		if tokens[token] != seq {
			k.t.Errorf("report %s was answered with number %d, but is stored as %d", token, seq, tokens[token])
		}
	}
	if len(k.answered) < 100 {
		k.t.Errorf("only %d reports were answered", len(k.answered))
	}
	k.t.Logf("%d events, %d answered reports", len(seen.events), len(k.answered))
}

func sameOption(a, b hub.Option) bool { return a.Name == b.Name && sameValue(a.Value, b.Value) }

func sameValue(a, b hub.Value) bool {
	return a.Type() == b.Type() && a.Bits() == b.Bits() && a.Text() == b.Text() && slices.EqualFunc(a.Items(), b.Items(), sameValue)
}
