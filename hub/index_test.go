package hub

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// checkIndex checks that exactly these subscriptions are in the index.
func checkIndex(tb rapid.TB, h *Hub, waiting ...*Subscription) {
	tb.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	want := 0
	for _, s := range waiting {
		if !s.waiting {
			tb.Fatal("a subscription that should wait does not")
		}
		want += len(s.entries)
	}
	filed := 0
	for key, list := range h.waiters.lists {
		var prev *entry
		filedBefore := filed
		for at := list.first; at != nil; prev, at = at, at.next {
			if at.prev != prev || at.place != key || !slices.Contains(waiting, at.sub) {
				tb.Fatalf("the list of %v is broken, or has a subscription that does not wait", key)
			}
			filed++
		}
		if prev == nil || list.n != filed-filedBefore {
			tb.Fatalf("the list of %v has %d entries, counted as %d", key, filed-filedBefore, list.n)
		}
	}
	n := 0
	for sub := h.waiters.sweep.first; sub != nil; sub = sub.after {
		if n++; !slices.Contains(waiting, sub) || sub.after == nil && sub != h.waiters.sweep.last {
			tb.Fatal("the list of waiters is broken, or has a subscription that does not wait")
		}
	}
	if n != len(waiting) || n != h.waiters.sweep.waiters {
		tb.Fatalf("%d waiters, counted as %d, want %d", n, h.waiters.sweep.waiters, len(waiting))
	}
	if filed != want {
		tb.Fatalf("%d entries are filed, want %d", filed, want)
	}
}

func TestStartWaitingWithUnreadEvents(t *testing.T) {
	h := newHub(t, Config{})
	s := subscribe(t, h, only(t, "type", "x"), "")
	commit(t, h, newEvent(t, "y")) // between Poll and startWaiting
	if waiting, err := s.startWaiting(); waiting || err != nil {
		t.Errorf("startWaiting = %v, %v", waiting, err)
	}
	checkIndex(t, h)
	wantPoll(t, s, 1)
	if waiting, err := s.startWaiting(); !waiting || err != nil {
		t.Errorf("startWaiting = %v, %v", waiting, err)
	}
	checkIndex(t, h, s)
}

// Removed entries keep no links; otherwise a live subscription would keep ended ones in memory.
func TestRemovedEntriesAreNotLinked(t *testing.T) {
	h := newHub(t, Config{})
	var subs []*Subscription
	for range 5 {
		s := subscribe(t, h, only(t, "id", "a,b", "type", "x"), "")
		if waiting, err := s.startWaiting(); !waiting || err != nil {
			t.Fatal(waiting, err)
		}
		subs = append(subs, s)
	}
	for _, i := range []int{2, 0, 4, 1, 3} { // the middle, the ends, the rest
		s := subs[i]
		s.stopWaiting()
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
	for _, c := range []struct {
		pairs []string
		key   int
		count int
	}{
		{nil, noKey, 1},
		{[]string{"type", "a"}, keyType, 1},
		{[]string{"type", "a", "veth", "b"}, keyVeth, 1},
		{[]string{"id", ids(MaxFilterValues)}, noKey, 1},
		{[]string{"id", ids(MaxFilterValues - 1), "pool", "p"}, keyPool, 1},
		{[]string{"type", ids(4), "id", ids(5)}, keyID, 5},
		{[]string{"type", ids(16), "id", ids(16)}, keyID, 16},
		{[]string{"type", ids(16), "id", ids(17)}, keyType, 16},
		{[]string{"type", ids(50), "id", ids(2), "pool", ids(3)}, keyID, 2},
	} {
		s := subscribe(t, h, only(t, c.pairs...), "")
		entries := makeEntries(s)
		if len(entries) != c.count {
			t.Errorf("%.40q: %d entries, want %d", c.pairs, len(entries), c.count)
		}
		seen := map[place]bool{}
		for _, e := range entries {
			if seen[e.place] || e.place.key != c.key || e.sub != s {
				t.Errorf("%.40q: entry %+v, want key %d", c.pairs, e.place, c.key)
			}
			seen[e.place] = true
		}
	}
}

// A list of values that is too long to be filed under is compared with the events found by another key.
func TestLongListsDoNotWakeForForeignEvents(t *testing.T) {
	h := newHub(t, Config{})
	var ids []string
	for i := range 200 {
		ids = append(ids, strconv.Itoa(i))
	}
	long := subscribe(t, h, only(t, "type", "x,z", "id", strings.Join(ids, ",")), "")
	other := subscribe(t, h, only(t, "id", strings.Join(ids, ",")), "")
	for _, s := range []*Subscription{long, other} {
		if waiting, err := s.startWaiting(); !waiting || err != nil {
			t.Fatal(waiting, err)
		}
	}
	commit(t, h, about(t, "x", "foreign"), about(t, "x", ""))
	checkIndex(t, h, long, other)
	commit(t, h, about(t, "y", "7"))
	checkIndex(t, h, long)
	commit(t, h, about(t, "x", "64"))
	checkIndex(t, h)
	if len(long.woken) != 1 || len(other.woken) != 1 {
		t.Error("a matching event did not wake its subscription")
	}
	wantPosition(t, long, 3)
	wantPosition(t, other, 2)
}

// Filters with all combinations of keys do not make a commit slower: it makes one lookup for each key.
func TestFiltersOfAllKeys(t *testing.T) {
	h := newHub(t, Config{})
	var subs []*Subscription
	for keys := range 1 << numKeys {
		filter := Filter{}
		for i, key := range filterKeys() {
			if keys&(1<<i) != 0 {
				filter, _ = filter.With(key, "v")
			}
		}
		s := subscribe(t, h, filter, "")
		if waiting, err := s.startWaiting(); !waiting || err != nil {
			t.Fatal(waiting, err)
		}
		subs = append(subs, s)
	}
	checkIndex(t, h, subs...)
	if n := len(h.waiters.lists); n != numKeys+1 {
		t.Errorf("waiters are filed at %d places, want one for each key and one for none", n)
	}
}
