package hub

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestPollReadsInOrderAndBatches(t *testing.T) {
	h := newHub(t, Config{})
	s := subscribe(t, h, Filter{}, "")
	wantPoll(t, s, 3)
	fill(t, h, 7)
	wantPoll(t, s, 3, 1, 2, 3)
	wantPosition(t, s, 3)
	wantPoll(t, s, 0)
	wantPosition(t, s, 3)
	wantPoll(t, s, 3, 4, 5, 6)
	wantPoll(t, s, 3, 7)
	wantPoll(t, s, 3)
	wantPosition(t, s, 7)
}

// The ring is read around its end, at each offset.
func TestPollAroundTheRing(t *testing.T) {
	h := newHub(t, Config{History: 5})
	s := subscribe(t, h, Filter{}, "")
	next := uint64(1)
	for n := range 23 {
		n %= 6 // 0 to 5: all of the ring at most
		var want []uint64
		for range n {
			want = append(want, next)
			next++
		}
		fill(t, h, n)
		wantPoll(t, s, 5, want...)
	}
}

func TestPollFilters(t *testing.T) {
	h := newHub(t, Config{})
	s := subscribe(t, h, only(t, "id", "a"), "")
	for _, id := range strings.Split("b b b a b a a b b b b a b b", " ") {
		commit(t, h, about(t, "x", id))
	}
	wantPoll(t, s, 2, 4)
	wantPosition(t, s, 4)
	wantPoll(t, s, 3, 6, 7)
	wantPosition(t, s, 7)
	wantPoll(t, s, 1, 12)
	wantPoll(t, s, 1)
	wantPosition(t, s, 14) // past the foreign events
}

func TestLapped(t *testing.T) {
	h := newHub(t, Config{History: 4})
	s := subscribe(t, h, Filter{}, "")
	fill(t, h, 4)
	wantPoll(t, s, 1, 1) // the whole ring is still there
	fill(t, h, 1)
	wantPoll(t, s, 1, 2) // 1 is gone, but was read
	fill(t, h, 1)
	wantPoll(t, s, 1, 3)
	fill(t, h, 2)
	wantLapped(t, s, 4, 4) // 8 events, 5 to 8 are kept
	if got := h.Counters()[CounterLapped]; got != 1 {
		t.Errorf("counted %d laps, want 1", got)
	}
	wantPosition(t, s, 4)
	wantPoll(t, s, 2, 5, 6)
	fill(t, h, 100)
	wantPosition(t, s, 6) // where it is lost, not where it will go on
	wantLapped(t, s, 7, 104)
	wantPoll(t, s, 9, 105, 106, 107, 108)
	wantPoll(t, s, 9)
	if got := h.Counters()[CounterLapped]; got != 2 {
		t.Errorf("counted %d laps, want 2", got)
	}
}

func TestLappedThroughNext(t *testing.T) {
	h := newHub(t, Config{History: 2})
	s := subscribe(t, h, only(t, "type", "x"), CursorOldest)
	fill(t, h, 5)
	_, err := s.Next(t.Context(), make([]*Event, 1))
	var lapped *LappedError
	if !errors.As(err, &lapped) || lapped.First != 1 || lapped.Last != 3 {
		t.Fatalf("Next: %v, want to be lapped by 1 to 3", err)
	}
}

func TestHistoryIsBoundedByBytes(t *testing.T) {
	small, large := newEvent(t, "small"), newEvent(t, "large", Option{"o", Bytes(make([]byte, 10_000))})
	if large.size < 20_000 || large.size > 25_000 {
		t.Fatalf("an event of 10 kB, and its encoding, count as %d", large.size)
	}
	h := newHub(t, Config{HistoryBytes: 10 * small.size})
	check := func(oldest, last uint64) {
		t.Helper()
		if got := h.Status(); got.Oldest != oldest || got.Last != last {
			t.Errorf("keeps %d to %d, want %d to %d", got.Oldest, got.Last, oldest, last)
		}
		size, kept := 0, 0
		for _, e := range h.ring {
			if e != nil {
				size += e.size
				kept++
			}
		}
		if size != h.bytes || kept != int(last-oldest+1) {
			t.Errorf("the ring holds %d events of %d bytes, counted as %d", kept, size, h.bytes)
		}
	}
	if got := h.Status(); got.Oldest != 1 || got.Last != 0 {
		t.Errorf("an empty hub keeps %d to %d", got.Oldest, got.Last)
	}
	for range 10 {
		commit(t, h, newEvent(t, "small"))
	}
	check(1, 10) // exactly full
	commit(t, h, newEvent(t, "small"))
	check(2, 11)
	commit(t, h, large) // larger than all of it: kept, and nothing else
	check(12, 12)
	commit(t, h, newEvent(t, "small"))
	check(13, 13)
	commit(t, h, newEvent(t, "small"))
	check(13, 14)
}

func TestSizeCountsAllOfAnEvent(t *testing.T) {
	text := strings.Repeat("x", 1000)
	empty := newEvent(t, "open", Option{"o", Variant(Struct([]Value{Strings("")}))}).size
	full := newEvent(t, "open", Option{"o", Variant(Struct([]Value{Strings(text)}))}).size
	if full-empty != 2*len(text) {
		t.Errorf("a text of %d bytes deep inside counts as %d, want twice", len(text), full-empty)
	}
	many := newEvent(t, "open", Option{"o", Array("u", slices.Repeat([]Value{Uint32(1)}, 1000))}).size
	if many < 2*1000*40 {
		t.Errorf("1,000 values count as %d bytes", many)
	}
	if a, b := newEvent(t, "open").size, newEvent(t, "open_"+strings.Repeat("x", 50)).size; b-a != 51 {
		t.Errorf("51 bytes of type count as %d", b-a)
	}
}

func TestRewind(t *testing.T) {
	h := newHub(t, Config{History: 4})
	s := subscribe(t, h, Filter{}, "")
	fill(t, h, 4)
	wantPoll(t, s, 3, 1, 2, 3)
	s.Rewind(1)
	wantPosition(t, s, 1)
	wantPoll(t, s, 1, 2)
	for _, ahead := range []uint64{2, 3, 4, 99, math.MaxUint64 - 1, math.MaxUint64} {
		s.Rewind(ahead)
		wantPosition(t, s, 2)
	}
	s.Rewind(0)
	wantPoll(t, s, 9, 1, 2, 3, 4)
	fill(t, h, 1)
	s.Rewind(0)
	wantLapped(t, s, 1, 1)
	wantPoll(t, s, 9, 2, 3, 4, 5)
}

func TestClosedHub(t *testing.T) {
	h := newHub(t, Config{})
	s := subscribe(t, h, only(t, "type", "x"), CursorOldest)
	commit(t, h, newEvent(t, "x"), newEvent(t, "y"))
	h.Close()
	h.Close()
	if _, err := h.Commit(Batch{}); !errors.Is(err, ErrClosed) {
		t.Errorf("Commit: %v, want ErrClosed", err)
	}
	if _, err := h.Subscribe(Filter{}, CursorOldest); !errors.Is(err, ErrClosed) {
		t.Errorf("Subscribe: %v, want ErrClosed", err)
	}
	wantPoll(t, s, 1, 1) // what is there can still be read
	for range 2 {
		if n, err := s.Poll(make([]*Event, 1)); n != 0 || !errors.Is(err, ErrClosed) {
			t.Errorf("Poll = %d, %v, want ErrClosed", n, err)
		}
		if n, err := s.Next(t.Context(), make([]*Event, 1)); n != 0 || !errors.Is(err, ErrClosed) {
			t.Errorf("Next = %d, %v, want ErrClosed", n, err)
		}
	}
	if got := h.Status(); got.Last != 2 {
		t.Errorf("status is %+v", got)
	}
}

func TestClosedSubscription(t *testing.T) {
	h := newHub(t, Config{})
	s := subscribe(t, h, Filter{}, CursorOldest)
	fill(t, h, 1)
	s.Close()
	s.Close()
	if n, err := s.Poll(make([]*Event, 1)); n != 0 || !errors.Is(err, ErrClosed) {
		t.Errorf("Poll = %d, %v, want ErrClosed", n, err)
	}
	if n, err := s.Next(t.Context(), make([]*Event, 1)); n != 0 || !errors.Is(err, ErrClosed) {
		t.Errorf("Next = %d, %v, want ErrClosed", n, err)
	}
	if waiting, err := s.file(); waiting || !errors.Is(err, ErrClosed) {
		t.Errorf("a closed subscription can wait: %v, %v", waiting, err)
	}
	checkIndex(t, h)
}

// Without room Next can read nothing, and must neither wait nor spin.
func TestNextWithoutRoom(t *testing.T) {
	h := newHub(t, Config{})
	s := subscribe(t, h, Filter{}, "")
	for range 2 {
		if n, err := s.Next(t.Context(), nil); n != 0 || err != nil {
			t.Errorf("Next = %d, %v", n, err)
		}
		fill(t, h, 1)
	}
	wantPosition(t, s, 0)
}

func TestNextWithContextDone(t *testing.T) {
	h := newHub(t, Config{})
	s := subscribe(t, h, only(t, "type", "x"), "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	commit(t, h, newEvent(t, "y"), newEvent(t, "x"), newEvent(t, "y"))
	buf := make([]*Event, 1)
	if n, err := s.Next(ctx, buf); n != 1 || err != nil || buf[0].Seq != 2 {
		t.Errorf("Next = %d, %v: what is there comes before the end of ctx", n, err)
	}
	if n, err := s.Next(ctx, buf); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("Next = %d, %v, want Canceled", n, err)
	}
	wantPosition(t, s, 3)
	checkIndex(t, h)
}

// busyContext commits a foreign event whenever it is asked, so that there is
// always something more to look at, and ends after a while.
type busyContext struct {
	context.Context
	t    *testing.T
	h    *Hub
	left int
}

func (c *busyContext) Err() error {
	if c.left--; c.left < 0 {
		return context.DeadlineExceeded
	}
	commit(c.t, c.h, newEvent(c.t, "foreign"))
	return nil
}

// A stream of foreign events that never ends must not hold Next past its ctx.
func TestNextEndsAmongForeignEvents(t *testing.T) {
	h := newHub(t, Config{})
	s := subscribe(t, h, only(t, "type", "x"), "")
	n, err := s.Next(&busyContext{t.Context(), t, h, 10}, make([]*Event, 4))
	if n != 0 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Next = %d, %v, want DeadlineExceeded", n, err)
	}
	wantPosition(t, s, 10)
}

func TestFileTellsWhenThereIsSomethingToRead(t *testing.T) {
	h := newHub(t, Config{})
	s := subscribe(t, h, only(t, "type", "x"), "")
	commit(t, h, newEvent(t, "y")) // between Poll and file: it must look again
	if waiting, err := s.file(); waiting || err != nil {
		t.Errorf("file = %v, %v", waiting, err)
	}
	checkIndex(t, h)
	wantPoll(t, s, 1)
	if waiting, err := s.file(); !waiting || err != nil {
		t.Errorf("file = %v, %v", waiting, err)
	}
	checkIndex(t, h, s)
}

// What is taken out of the index holds on to nobody: a chain of subscriptions
// that ended would be kept by the oldest one that lives.
func TestRemovedEntriesAreNotLinked(t *testing.T) {
	h := newHub(t, Config{})
	var subs []*Subscription
	for range 5 {
		s := subscribe(t, h, only(t, "id", "a,b", "type", "x"), "")
		if waiting, err := s.file(); !waiting || err != nil {
			t.Fatal(waiting, err)
		}
		subs = append(subs, s)
	}
	for _, i := range []int{2, 0, 4, 1, 3} { // the middle, the ends, the rest
		s := subs[i]
		s.unfile()
		for j := range s.entries {
			if s.entries[j].prev != nil || s.entries[j].next != nil {
				t.Errorf("subscription %d is still linked", i)
			}
		}
		var rest []*Subscription
		for _, other := range subs {
			if other.waiting {
				rest = append(rest, other)
			}
		}
		checkIndex(t, h, rest...)
	}
}

func TestEntriesOfFilters(t *testing.T) {
	h := newHub(t, Config{})
	ids := func(n int) string {
		var b []string
		for i := range n {
			b = append(b, "v"+strings.Repeat("x", i))
		}
		return strings.Join(b, ",")
	}
	key := func(keys ...int) (set keySet) {
		for _, k := range keys {
			set |= 1 << k
		}
		return set
	}
	for _, c := range []struct {
		pairs []string
		set   keySet
		count int
	}{
		{nil, 0, 1},
		{[]string{"type", "a"}, key(keyType), 1},
		{[]string{"type", "a", "veth", "b"}, key(keyType, keyVeth), 1},
		{[]string{"id", ids(64)}, key(keyID), 64},
		{[]string{"id", ids(65)}, 0, 1},
		{[]string{"id", ids(65), "pool", "p"}, key(keyPool), 1},
		{[]string{"type", ids(8), "id", ids(8)}, key(keyType, keyID), 64},
		{[]string{"type", ids(8), "id", ids(9)}, key(keyType), 8},
		{[]string{"type", ids(9), "id", ids(8)}, key(keyID), 8},
		{[]string{"type", ids(30), "id", ids(2), "pool", ids(3)}, key(keyID, keyPool), 6},
	} {
		s := subscribe(t, h, only(t, c.pairs...), "")
		entries := entriesFor(s)
		if len(entries) != c.count || entries[0].tuple.set != c.set {
			t.Errorf("%.40q: %d entries under set %b, want %d under %b", c.pairs, len(entries), entries[0].tuple.set, c.count, c.set)
		}
		seen := map[tuple]bool{}
		for _, e := range entries {
			if seen[e.tuple] || e.tuple.set != c.set || e.sub != s {
				t.Errorf("%.40q: entry %+v", c.pairs, e.tuple)
			}
			seen[e.tuple] = true
		}
	}
}

func TestAllSubscribersShareTheEvent(t *testing.T) {
	h := newHub(t, Config{})
	a, b := subscribe(t, h, Filter{}, ""), subscribe(t, h, only(t, "type", "fill"), "")
	fill(t, h, 1)
	bufs := [2][]*Event{make([]*Event, 1), make([]*Event, 1)}
	for i, s := range []*Subscription{a, b} {
		if _, err := s.Poll(bufs[i]); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(bufs[0], bufs[1]) {
		t.Error("two subscribers got two events")
	}
}
