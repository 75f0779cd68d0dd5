package dbusapi

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// queued is a call of a sender for a dispatcher; size is what it costs.
func queued(sender string, serial uint32, size int) *message {
	return &message{Header: &wire.Header{Type: wire.TypeCall, Sender: sender, Serial: serial}, size: size - messageOverhead}
}

// offer admits and pushes.
func (d *dispatcher) offer(m *message) error {
	if err := d.admit(m); err != nil {
		return err
	}
	return d.push(m)
}

// handled notes what a dispatcher handles, and holds it up while gate is closed.
type handled struct {
	mu   sync.Mutex
	got  []string
	over map[string]uint64
	gate chan struct{}
}

func newHandled() *handled { return &handled{over: map[string]uint64{}, gate: make(chan struct{})} }

func (h *handled) handle(m *message) {
	<-h.gate
	h.mu.Lock()
	defer h.mu.Unlock()
	h.got = append(h.got, fmt.Sprint(m.Sender, m.Serial))
}

func (h *handled) refused(sender string, n uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over[sender] += n
}

// Each sender's calls are handled in order, and whoever made many waits for itself.
func TestDispatcherTurns(t *testing.T) {
	d, h := newDispatcher(1<<20), newHandled()
	close(h.gate)
	for i := range uint32(1000) {
		if err := d.offer(queued("flood", i, 300)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range uint32(10) {
		if err := d.offer(queued("other", i, 300)); err != nil {
			t.Fatal(err)
		}
	}
	// One worker, so that the turns can be told.
	d.handle, d.over = h.handle, h.refused
	d.wg.Go(func() { d.run(0) })
	d.close()
	var want []string
	for i := range 1000 {
		want = append(want, fmt.Sprint("flood", i))
		if i < 10 {
			want = append(want, fmt.Sprint("other", i))
		}
	}
	if !slices.Equal(h.got, want) {
		t.Errorf("the turns were %v …", h.got[:40])
	}
	if d.bytes != 0 || len(d.senders) != 0 {
		t.Errorf("%d bytes and %d senders are left", d.bytes, len(d.senders))
	}
}

// With all workers each sender's calls are in order all the same.
func TestDispatcherOrder(t *testing.T) {
	d, h := newDispatcher(64<<20), newHandled()
	close(h.gate)
	d.start(h.handle, h.refused, func(context.Context) {})
	for i := range uint32(5000) {
		for s := range 10 {
			if err := d.offer(queued(string(rune('a'+s)), i, 300)); err != nil {
				t.Fatal(err)
			}
		}
	}
	d.close()
	next := map[byte]int{}
	for _, got := range h.got {
		if want := fmt.Sprint(got[:1], next[got[0]]); got != want {
			t.Fatalf("handled was %s, want %s", got, want)
		}
		next[got[0]]++
	}
	if len(h.got) != 50_000 {
		t.Errorf("%d were handled", len(h.got))
	}
}

// A sender may have as much as is left for the others, and who has nothing waiting finds
// room beside any number that flood.
func TestDispatcherShares(t *testing.T) {
	const call = 1000
	d, h := newDispatcher(1000*call), newHandled()
	fill := func(sender string) (n int) {
		for d.offer(queued(sender, 1, call)) == nil {
			n++
		}
		return n
	}
	taken := []int{fill("a"), fill("b"), fill("c"), fill("d")}
	// A half of all; then of what is left; and so on.
	if want := []int{500, 250, 125, 63}; !slices.Equal(taken, want) {
		t.Errorf("senders that flood have %v waiting, want %v", taken, want)
	}
	for i := range 30 {
		if err := d.offer(queued(fmt.Sprint("new", i), 1, call)); err != nil {
			t.Error("a new sender is refused:", err)
		}
	}
	if err := d.admit(queued("huge", 1, d.limit)); !HasName(err, ErrLimitsExceeded) {
		t.Error("more than there is room for:", err)
	}
	if d.bytes > d.limit {
		t.Errorf("%d bytes wait, the limit is %d", d.bytes, d.limit)
	}
	d.start(h.handle, h.refused, func(context.Context) {})
	close(h.gate)
	d.close()
	if got, want := len(h.got), 500+250+125+63+30; got != want || h.over["a"] != 1 || h.over["d"] != 1 || len(h.over) != 5 || h.over[""] != 1 {
		t.Errorf("%d were handled, want %d; refused were %v", got, want, h.over)
	}
}

// How many calls of senders were refused is told also where their others are let go. Those of
// who has the fewest come first.
func TestDispatcherAbandonTells(t *testing.T) {
	d, h := newDispatcher(1<<20), newHandled()
	d.over = h.refused
	for _, sender := range []string{"a", "b"} {
		var err error
		for err == nil {
			err = d.offer(queued(sender, 1, 1000))
		}
	}
	if err := d.offer(queued("huge", 1, d.limit)); err == nil {
		t.Error("more was taken than there is room for")
	}
	left := d.abandon()
	if want := map[string]uint64{"a": 1, "b": 1, "": 1}; !maps.Equal(h.over, want) || len(left) == 0 || left[0].Sender != "b" || len(d.senders) != 0 {
		t.Errorf("refused were %v, want %v; %d were let go, %d senders are left", h.over, want, len(left), len(d.senders))
	}
}

// What follows a sender's calls comes after them, and at once where there are none.
func TestDispatcherFollow(t *testing.T) {
	d, h := newDispatcher(1<<20), newHandled()
	if d.follow("a", queued("a", 9, 300)) {
		t.Error("follows nothing")
	}
	for i := range uint32(3) {
		if err := d.offer(queued("a", i, 300)); err != nil {
			t.Fatal(err)
		}
	}
	if !d.follow("a", queued("gone", 3, 300)) {
		t.Error("does not follow")
	}
	close(h.gate)
	d.start(h.handle, h.refused, func(context.Context) {})
	d.close()
	if got := strings.Join(h.got, " "); got != "a0 a1 a2 gone3" {
		t.Error("handled were", got)
	}
}

// After the end nothing is taken; what was taken is handled, or let go when asked to.
func TestDispatcherEnd(t *testing.T) {
	for _, abandon := range []bool{false, true} {
		d, h := newDispatcher(1<<20), newHandled()
		d.start(h.handle, h.refused, func(context.Context) {})
		for i := range uint32(100) {
			if err := d.offer(queued("a", i, 300)); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "one is being handled", func() bool { return d.longest() > 0 })
		if abandon {
			d.abandon()
		}
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			d.close()
		}()
		eventually(t, "no more is taken", func() bool { return d.admit(queued("b", 1, 300)) != nil })
		if err := d.push(queued("b", 1, 300)); err == nil || toError(err).Name != ErrShuttingDown || toError(hub.ErrClosed).Name != ErrShuttingDown {
			t.Error("a late call:", err)
		}
		select {
		case <-closed:
			t.Fatal("the end did not wait for the call that is being handled")
		default:
		}
		close(h.gate)
		await(t, "the end", closed)
		if want := map[bool]int{false: 100, true: 1}[abandon]; len(h.got) != want || d.bytes != 0 || len(d.senders) != 0 || d.longest() != 0 {
			t.Errorf("%d were handled, want %d; %d bytes are left", len(h.got), want, d.bytes)
		}
	}
}
