package bus

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/osctl/eventd/dbusapi/wire"
)

// A user may hold half of what others leave, a connection half of what the user's others
// leave; and a connection of which nothing waits may have one call while there is room.
func TestShares(t *testing.T) {
	const call = 1000
	h, counts := &handled{}, &counters{}
	who := &fakeControl{}
	log := &records{}
	q := newQueue(1000*call, h.note, who, &refusals{log: slog.New(log), count: counts.add})
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
		who.knows(uint32(c[0]), c)
		taken = append(taken, fill(c))
	}
	// User a: half of 500, of 250, of 125. User b: half of half of the 563 left. User c: of 423.
	if want := []int{250, 125, 62, 140, 105}; !slices.Equal(taken, want) {
		t.Errorf("%v calls were taken, want %v", taken, want)
	}
	all := 0
	for _, n := range taken {
		all += n
	}
	// User a has its share: more connections get it no more.
	for i := range 20 {
		c := fmt.Sprint("a", 10+i)
		who.knows('a', c)
		if err := q.offer(newCall(c, 1, call)); !wire.HasName(err, wire.ErrLimitsExceeded) {
			t.Fatalf("connection %d of a user that has its share: %v", i, err)
		}
	}
	// Another connection of user c, which has not, gets one call at least.
	who.knows('c', "c2")
	mustOffer(t, q, newCall("c2", 1, call))
	// A user of whom nothing waits gets one call, as long as there is any room.
	all++
	for user := uint32(1000); all < 1000; user++ {
		c := fmt.Sprint(user)
		who.knows(user, c)
		mustOffer(t, q, newCall(c, 1, call))
		all++
	}
	who.knows(5000, "z")
	if err := q.offer(newCall("z", 1, call)); !wire.HasName(err, wire.ErrLimitsExceeded) || q.bytes != q.limit {
		t.Errorf("with %d of %d bytes taken: %v", q.bytes, q.limit, err)
	}
	q.start()
	q.close()
	if got := len(h.all()); got != all {
		t.Errorf("%d calls were handled, want %d", got, all)
	}
	if counts.get(CounterOverLimit) == 0 || len(log.take()) < 4 {
		t.Error("refused calls were not counted, or not logged")
	}
	wantEmpty(t, q)
}

func TestSharesOneLargeCall(t *testing.T) {
	q, who := testQueue(1_000_000, func(*connection, *wire.Message) {})
	who.knows(1, "a", "b")
	if err := q.offer(newCall("a", 1, q.limit+1)); !wire.HasName(err, wire.ErrLimitsExceeded) {
		t.Error("more than there is room for:", err)
	}
	mustOffer(t, q, newCall("a", 1, q.limit-300))
	if err := q.offer(newCall("b", 1, 301)); !wire.HasName(err, wire.ErrLimitsExceeded) {
		t.Error("more than is left:", err)
	}
	if err := q.offer(newCall("b", 1, 300)); !wire.HasName(err, wire.ErrLimitsExceeded) {
		t.Error("another connection of a user that has more than its share:", err)
	}
	who.knows(2, "c")
	mustOffer(t, q, newCall("c", 1, 300))
	q.start()
	q.close()
	wantEmpty(t, q)
}
