package hub

import (
	"errors"
	"math"
	"testing"
)

// Poll reads across the end of the ring, at each offset.
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
	wantPosition(t, s, 6) // it moves only when Poll reports the loss
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
		t.Fatalf("an event of 10 kB has size %d, want 20,000 to 25,000 with its encoding", large.size)
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
	commit(t, h, large) // an event beyond the limit is kept alone
	check(12, 12)
	commit(t, h, newEvent(t, "small"))
	check(13, 13)
	commit(t, h, newEvent(t, "small"))
	check(13, 14)
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
