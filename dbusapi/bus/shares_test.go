package bus

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"unsafe"

	"github.com/osctl/eventd/dbusapi/wire"
)

// A user may hold half of the part that others leave, a connection half of the part that the user's
// others leave. The first call of a user is accepted while there is room.
func TestShares(t *testing.T) {
	const call = 1000
	h, counts := &handled{}, &counters{}
	who := &fakeControl{}
	log := &records{}
	q := newQueue(1000*call, h.record, who, &refusals{log: slog.New(log), count: counts.add})
	next := uint32(0)
	fill := func(sender string) (n int) {
		for {
			next++
			err := q.offer(newCall(sender, next, call))
			if err == nil {
				n++
				continue
			}
			if !wire.HasName(err, wire.ErrLimitsExceeded) {
				t.Fatal(err)
			}
			return n
		}
	}
	var taken []int
	for _, c := range []string{"a1", "a2", "a3", "b1", "c1"} {
		who.addKnown(uint32(c[0]), c)
		taken = append(taken, fill(c))
	}
	// User a: half of 500, of 250, of 125. User b: half of half of the 563 left. User c: of 423.
	if want := []int{250, 125, 62, 140, 105}; !slices.Equal(taken, want) {
		t.Errorf("accepted %v calls, want %v", taken, want)
	}
	all := 0
	for _, n := range taken {
		all += n
	}
	// More connections do not increase the share of user a.
	for i := range 20 {
		c := fmt.Sprint("a", 10+i)
		who.addKnown('a', c)
		if err := q.offer(newCall(c, 1, call)); !wire.HasName(err, wire.ErrLimitsExceeded) {
			t.Fatalf("connection %d of a user over quota: %v", i, err)
		}
	}
	// User c is within its share, so another connection gets at least one call.
	who.addKnown('c', "c2")
	mustOffer(t, q, newCall("c2", 1, call))
	// The first call of a user is accepted while there is room.
	all++
	for user := uint32(1000); all < 1000; user++ {
		c := fmt.Sprint(user)
		who.addKnown(user, c)
		mustOffer(t, q, newCall(c, 1, call))
		all++
	}
	who.addKnown(5000, "z")
	if err := q.offer(newCall("z", 1, call)); !wire.HasName(err, wire.ErrLimitsExceeded) || q.bytes != q.limit {
		t.Errorf("with %d of %d bytes taken: %v", q.bytes, q.limit, err)
	}
	q.start()
	q.close()
	if got := len(h.all()); got != all {
		t.Errorf("%d calls were handled, want %d", got, all)
	}
	if counts.get(CounterOverLimit) == 0 || len(log.take()) == 0 {
		t.Error("refused calls were not counted, or not logged")
	}
	wantEmpty(t, q)
}

func TestSharesOneLargeCall(t *testing.T) {
	q, who := testQueue(1_000_000, func(*connection, *wire.Message) {})
	who.addKnown(1, "a", "b")
	if err := q.offer(newCall("a", 1, q.limit+1)); !wire.HasName(err, wire.ErrLimitsExceeded) {
		t.Error("a call over the limit:", err)
	}
	mustOffer(t, q, newCall("a", 1, q.limit-300))
	if err := q.offer(newCall("b", 1, 301)); !wire.HasName(err, wire.ErrLimitsExceeded) {
		t.Error("a call over the remaining room:", err)
	}
	if err := q.offer(newCall("b", 1, 300)); !wire.HasName(err, wire.ErrLimitsExceeded) {
		t.Error("another connection of a user over quota:", err)
	}
	who.addKnown(2, "c")
	mustOffer(t, q, newCall("c", 1, 300))
	q.start()
	q.close()
	wantEmpty(t, q)
}

// A connection with queued calls keeps nothing of the calls before, whose memory no longer counts.
func TestConnectionKeepsNoHeader(t *testing.T) {
	q, who := testQueue(1<<20, nil)
	who.addKnown(1, "a")
	m := newCall("a", 0, 300)
	mustOffer(t, q, m)
	if c := q.conns["a"]; unsafe.StringData(c.name) == unsafe.StringData(m.Sender) {
		t.Error("the name of the connection shares memory with its first call")
	}
	for name := range q.conns {
		if unsafe.StringData(name) == unsafe.StringData(m.Sender) {
			t.Error("the key of the connection shares memory with its first call")
		}
	}
}
