package hub

import (
	"context"
	"errors"
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

func TestPollFilters(t *testing.T) {
	h := newHub(t, Config{})
	s := subscribe(t, h, only(t, "id", "a"), "")
	for id := range strings.SplitSeq("b b b a b a a b b b b a b b", " ") {
		commit(t, h, about(t, "x", id))
	}
	wantPoll(t, s, 2, 4)
	wantPosition(t, s, 4)
	wantPoll(t, s, 3, 6, 7)
	wantPosition(t, s, 7)
	wantPoll(t, s, 1, 12)
	wantPoll(t, s, 1)
	wantPosition(t, s, 14)
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
	wantPoll(t, s, 1, 1) // events from before Close can still be read
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

// The hub closes between Poll and startWaiting, so nothing would wake the subscription.
func TestStartWaitingOnClosedHub(t *testing.T) {
	h := newHub(t, Config{})
	s := subscribe(t, h, Filter{}, "")
	wantPoll(t, s, 1)
	h.Close()
	if waiting, err := s.startWaiting(); waiting || !errors.Is(err, ErrClosed) {
		t.Errorf("startWaiting = %v, %v, want ErrClosed", waiting, err)
	}
	checkIndex(t, h)
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
	if waiting, err := s.startWaiting(); waiting || !errors.Is(err, ErrClosed) {
		t.Errorf("a closed subscription can wait: %v, %v", waiting, err)
	}
	checkIndex(t, h)
}

// Skip skips all unread events, also those that do not match, and reports them.
func TestSkip(t *testing.T) {
	h := newHub(t, Config{History: 8})
	s := subscribe(t, h, only(t, "type", "none"), "")
	wantSkip := func(want *LappedError) {
		t.Helper()
		if got := s.Skip(); (got == nil) != (want == nil) || got != nil && *got != *want {
			t.Errorf("Skip = %v, want %v", got, want)
		}
	}
	wantSkip(nil)
	fill(t, h, 5)
	wantSkip(&LappedError{First: 1, Last: 5})
	wantSkip(nil)
	wantPosition(t, s, 5)
	fill(t, h, 20) // more than are kept
	wantSkip(&LappedError{First: 6, Last: 25})
	h.Close()
	wantSkip(nil)
	s.Rewind(20)
	wantSkip(&LappedError{First: 21, Last: 25})
	s.Rewind(20)
	s.Close()
	wantSkip(nil)
	if n := h.Counters()[CounterLapped]; n != 3 {
		t.Errorf("the counter says lapped %d times, want 3", n)
	}
}

// Next with an empty buffer neither waits nor spins.
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
		t.Errorf("Next = %d, %v, want the event although ctx is done", n, err)
	}
	if n, err := s.Next(ctx, buf); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("Next = %d, %v, want Canceled", n, err)
	}
	wantPosition(t, s, 3)
	checkIndex(t, h)
}

// busyContext commits a foreign event at each call of Err, so that there is always one more to read. It
// is done after a while.
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

// An endless stream of foreign events does not keep Next from noticing the end of ctx.
func TestNextEndsAmongForeignEvents(t *testing.T) {
	h := newHub(t, Config{})
	s := subscribe(t, h, only(t, "type", "x"), "")
	n, err := s.Next(&busyContext{t.Context(), t, h, 10}, make([]*Event, 4))
	if n != 0 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Next = %d, %v, want DeadlineExceeded", n, err)
	}
	wantPosition(t, s, 10)
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
		t.Error("two subscribers got different copies of an event")
	}
}
