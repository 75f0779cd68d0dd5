package hub

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"
)

// manyIDs returns n ids that begin with first.
func manyIDs(n int, first ...string) string {
	for i := len(first); i < n; i++ {
		first = append(first, fmt.Sprint("other", i))
	}
	return strings.Join(first, ",")
}

// The sweep wakes the waiters that a commit does not compare, and only those that match.
func TestSweepWakesMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, Config{})
		var match, foreign []<-chan read
		var waiting []*Subscription
		for range 3 * maxDirect {
			match = append(match, next(t.Context(), subscribe(t, h, only(t, "id", manyIDs(256, "a")), ""), 1))
			s := subscribe(t, h, only(t, "id", manyIDs(256)), "")
			foreign = append(foreign, next(t.Context(), s, 1))
			waiting = append(waiting, s)
		}
		commit(t, h, about(t, "x", "b"), about(t, "x", "a"), about(t, "x", "c"))
		for i := range match {
			wantRead(t, match[i], 2)
			wantWaiting(t, h, foreign[i], waiting...)
		}
		h.Close()
		for i := range foreign {
			wantError(t, foreign[i], ErrClosed)
		}
	})
}

// If a place has too many waiters, a commit compares none of them.
func TestCommitComparesFewWaiters(t *testing.T) {
	h := newHub(t, Config{})
	h.waiters.sweep.running = true // prevents its start
	var subs []*Subscription
	for i := range 4 * maxDirect {
		s := subscribe(t, h, only(t, "id", fmt.Sprint(i%3)), "")
		if i%3 == 2 {
			s = subscribe(t, h, only(t, "type", "x"), "")
		}
		if waiting, err := s.startWaiting(); !waiting || err != nil {
			t.Fatal(waiting, err)
		}
		subs = append(subs, s)
	}
	one := subscribe(t, h, only(t, "pool", "tank"), "")
	if waiting, err := one.startWaiting(); !waiting || err != nil {
		t.Fatal(waiting, err)
	}
	commit(t, h, about(t, "x", "0"))
	if len(one.woken) != 1 {
		t.Error("a commit does not wake the only waiter with a filter")
	}
	checkIndex(t, h, subs...)
	for h.sweepTurn() {
		continue
	}
	var rest []*Subscription
	for i, s := range subs {
		if i%3 == 1 {
			rest = append(rest, s)
		}
	}
	checkIndex(t, h, rest...)
}

// sweepModel records the first event that each waiter must read, whatever a sweep does meanwhile.
type sweepModel struct {
	hub    *Hub
	subs   []*Subscription
	wanted []string // type by waiter; "" for any
	missed []uint64 // number of the first event to read, by waiter; 0 for none
}

func (m *sweepModel) commit(t *rapid.T) {
	var batch Batch
	for range rapid.IntRange(1, 3).Draw(t, "events") {
		e, err := NewEvent(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "type"), nil, "")
		if err != nil {
			t.Fatal(err)
		}
		batch.Events = append(batch.Events, e)
	}
	if _, err := m.hub.Commit(batch); err != nil {
		t.Fatal(err)
	}
	for _, e := range batch.Events {
		for i, s := range m.subs {
			if (s.waiting || len(s.woken) > 0) && m.missed[i] == 0 && (m.wanted[i] == "" || m.wanted[i] == e.Type) {
				m.missed[i] = e.Seq
			}
		}
	}
}

func (m *sweepModel) startWaiting(t *rapid.T) {
	for _, s := range m.subs {
		if s.waiting || len(s.woken) > 0 || rapid.Bool().Draw(t, "not now") {
			continue
		}
		s.Skip()
		if waiting, err := s.startWaiting(); !waiting || err != nil {
			t.Fatal(waiting, err)
		}
	}
}

// stopWaiting ends some waits, and checks that none is past the event it must read.
func (m *sweepModel) stopWaiting(t *rapid.T) {
	for i, s := range m.subs {
		if !s.waiting && len(s.woken) == 0 || rapid.Bool().Draw(t, "not now") {
			continue
		}
		s.stopWaiting()
		if m.missed[i] != 0 && s.pos > m.missed[i] {
			t.Fatalf("waiter %d continues at %d and misses %d", i, s.pos, m.missed[i])
		}
		m.missed[i] = 0
	}
}

func (m *sweepModel) check(t *rapid.T) {
	var waiting []*Subscription
	for i, s := range m.subs {
		if s.waiting {
			waiting = append(waiting, s)
		}
		if len(s.woken) > 0 && m.missed[i] != 0 && s.pos > m.missed[i] {
			t.Fatalf("waiter %d was woken at %d and misses %d", i, s.pos, m.missed[i])
		}
	}
	checkIndex(t, m.hub, waiting...)
}

// Waiters come and go at any stage of a sweep.
func TestSweepModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, err := New(t.Context(), Config{History: rapid.SampledFrom([]int{4, 4096}).Draw(t, "history")})
		if err != nil {
			t.Fatal(err)
		}
		m := &sweepModel{hub: h}
		for i := range 5 * maxDirect {
			var f Filter
			typ := []string{"a", "b", "", "a"}[i%4]
			if typ != "" {
				f, _ = f.With("type", typ)
			}
			s, err := h.Subscribe(f, "")
			if err != nil {
				t.Fatal(err)
			}
			m.subs, m.wanted, m.missed = append(m.subs, s), append(m.wanted, typ), append(m.missed, 0)
		}
		h.waiters.sweep.running = true // the test calls sweepTurn itself
		m.startWaiting(t)
		t.Repeat(map[string]func(*rapid.T){
			"commit": m.commit, "start waiting": m.startWaiting, "stop waiting": m.stopWaiting, "": m.check,
			"turn": func(*rapid.T) { h.sweepTurn(); h.waiters.sweep.running = true },
		})
		for h.sweepTurn() {
			continue
		}
		m.check(t)
		for i, s := range m.subs {
			if s.waiting && m.missed[i] != 0 {
				t.Fatalf("waiter %d still waits despite event %d", i, m.missed[i])
			}
		}
		if slices.ContainsFunc(m.subs, func(s *Subscription) bool { return s.waiting }) != (h.waiters.sweep.first != nil) {
			t.Fatal("the list of waiters is wrong")
		}
	})
}
