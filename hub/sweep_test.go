package hub

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"
)

// manyIDs returns n ids, the first of which are those given.
func manyIDs(n int, first ...string) string {
	for i := len(first); i < n; i++ {
		first = append(first, fmt.Sprint("other", i))
	}
	return strings.Join(first, ",")
}

// More waiters than a commit looks at are woken all the same, and only those that match.
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

// A commit does the same for one waiter too many as for thousands: it looks at none of them.
func TestCommitLooksAtFewWaiters(t *testing.T) {
	h := newHub(t, Config{})
	h.waiters.sweep.running = true // it is not started
	var subs []*Subscription
	for i := range 4 * maxDirect {
		s := subscribe(t, h, only(t, "id", fmt.Sprint(i%3)), "")
		if i%3 == 2 {
			s = subscribe(t, h, only(t, "type", "x"), "")
		}
		if waiting, err := s.file(); !waiting || err != nil {
			t.Fatal(waiting, err)
		}
		subs = append(subs, s)
	}
	one := subscribe(t, h, only(t, "pool", "tank"), "")
	if waiting, err := one.file(); !waiting || err != nil {
		t.Fatal(waiting, err)
	}
	commit(t, h, about(t, "x", "0"))
	if len(one.woken) != 1 {
		t.Error("a waiter that is alone with its filter waits for the crowds of others")
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

// sweepModel is what waiters must be told, whatever a sweep does meanwhile.
type sweepModel struct {
	hub    *Hub
	subs   []*Subscription
	wanted []string // type that each waits for; "" for any
	missed []uint64 // number of the first event that each must not miss; 0 for none
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

func (m *sweepModel) file(t *rapid.T) {
	for _, s := range m.subs {
		if s.waiting || len(s.woken) > 0 || rapid.Bool().Draw(t, "not now") {
			continue
		}
		s.Skip()
		if waiting, err := s.file(); !waiting || err != nil {
			t.Fatal(waiting, err)
		}
	}
}

// unfile ends some waits, and wants each to be before what it must not miss.
func (m *sweepModel) unfile(t *rapid.T) {
	for i, s := range m.subs {
		if !s.waiting && len(s.woken) == 0 || rapid.Bool().Draw(t, "not now") {
			continue
		}
		s.unfile()
		if m.missed[i] != 0 && s.pos > m.missed[i] {
			t.Fatalf("waiter %d goes on at %d and misses %d", i, s.pos, m.missed[i])
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

// TestSweepModel has waiters come and go while a sweep is under way at any stage of it.
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
		h.waiters.sweep.running = true // this test does its work
		m.file(t)
		t.Repeat(map[string]func(*rapid.T){
			"commit": m.commit, "file": m.file, "unfile": m.unfile, "": m.check,
			"turn": func(*rapid.T) { h.sweepTurn(); h.waiters.sweep.running = true },
		})
		for h.sweepTurn() {
			continue
		}
		m.check(t)
		for i, s := range m.subs {
			if s.waiting && m.missed[i] != 0 {
				t.Fatalf("waiter %d still waits, and %d is there", i, m.missed[i])
			}
		}
		if slices.ContainsFunc(m.subs, func(s *Subscription) bool { return s.waiting }) != (h.waiters.sweep.first != nil) {
			t.Fatal("the list of waiters does not fit")
		}
	})
}
