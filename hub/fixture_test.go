package hub

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func newHub(tb testing.TB, config Config) *Hub {
	tb.Helper()
	h, err := New(tb.Context(), config)
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

func opt(name, text string) Option { return Option{Name: name, Value: String(text)} }

func newEvent(tb testing.TB, typ string, options ...Option) *Event {
	tb.Helper()
	e, err := NewEvent(typ, options, "uid:0")
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// about returns an event of an open type about a container.
func about(tb testing.TB, typ, id string) *Event {
	tb.Helper()
	return newEvent(tb, typ, opt("pool", "tank"), opt("id", id))
}

func commit(tb testing.TB, h *Hub, events ...*Event) uint64 {
	tb.Helper()
	first, err := h.Commit(Batch{Events: events})
	if err != nil {
		tb.Fatal(err)
	}
	return first
}

// fill commits n events of type fill, one at a time.
func fill(tb testing.TB, h *Hub, n int) {
	tb.Helper()
	for range n {
		commit(tb, h, newEvent(tb, "fill"))
	}
}

// only returns a filter from alternating keys and comma-separated values.
func only(tb testing.TB, pairs ...string) Filter {
	tb.Helper()
	var f Filter
	for i := 0; i < len(pairs); i += 2 {
		var err error
		if f, err = f.With(pairs[i], strings.Split(pairs[i+1], ",")...); err != nil {
			tb.Fatal(err)
		}
	}
	return f
}

func subscribe(tb testing.TB, h *Hub, f Filter, cursor string) *Subscription {
	tb.Helper()
	s, err := h.Subscribe(f, cursor)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func seqs(events []*Event) []uint64 {
	numbers := make([]uint64, len(events))
	for i := range events {
		numbers[i] = events[i].Seq
	}
	return numbers
}

// wantPoll polls once with room for size events and compares.
func wantPoll(tb testing.TB, s *Subscription, size int, want ...uint64) {
	tb.Helper()
	buf := make([]*Event, size)
	n, err := s.Poll(buf)
	if err != nil {
		tb.Fatalf("Poll: %v", err)
	}
	if got := seqs(buf[:n]); !slices.Equal(got, want) {
		tb.Fatalf("Poll read %v, want %v", got, want)
	}
}

func wantPosition(tb testing.TB, s *Subscription, want uint64) {
	tb.Helper()
	if _, got := s.Position(); got != want {
		tb.Fatalf("position is after %d, want %d", got, want)
	}
}

// wantLapped polls once and expects a LappedError for first to last.
func wantLapped(tb testing.TB, s *Subscription, first, last uint64) {
	tb.Helper()
	n, err := s.Poll(make([]*Event, 4))
	var lapped *LappedError
	if n != 0 || !errors.As(err, &lapped) {
		tb.Fatalf("Poll = %d, %v, want a LappedError", n, err)
	}
	if lapped.First != first || lapped.Last != last || lapped.Lost() != last-first+1 {
		tb.Fatalf("lapped by %d, %d to %d, want %d to %d", lapped.Lost(), lapped.First, lapped.Last, first, last)
	}
	if want := fmt.Sprintf("lapped: lost %d events, %d to %d", last-first+1, first, last); err.Error() != want {
		tb.Fatalf("error is %q, want %q", err, want)
	}
}

// sameValue reports whether a and b are the same value, of the same type.
func sameValue(a, b Value) bool {
	if a.kind != b.kind || a.num != b.num || a.text != b.text || a.Type() != b.Type() {
		return false
	}
	return slices.EqualFunc(a.Items(), b.Items(), sameValue)
}

// nested returns a value of n arrays around a string.
func nested(n int) Value {
	v := String("x")
	for range n {
		v = Array(v.Type(), []Value{v})
	}
	return v
}
