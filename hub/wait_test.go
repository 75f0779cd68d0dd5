package hub

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// read is the result of one call of Next.
type read struct {
	seqs []uint64
	err  error
}

// next calls Next in a goroutine and waits until it blocks or returns.
func next(ctx context.Context, s *Subscription, size int) <-chan read {
	done := make(chan read, 1)
	go func() {
		buf := make([]*Event, size)
		n, err := s.Next(ctx, buf)
		done <- read{seqs(buf[:n]), err}
	}()
	synctest.Wait()
	return done
}

func wantRead(t *testing.T, done <-chan read, want ...uint64) {
	t.Helper()
	synctest.Wait()
	select {
	case r := <-done:
		if r.err != nil || !slices.Equal(r.seqs, want) {
			t.Errorf("Next read %v, %v, want %v", r.seqs, r.err, want)
		}
	default:
		t.Errorf("Next still waits, want %v", want)
	}
}

func wantError(t *testing.T, done <-chan read, want error) {
	t.Helper()
	synctest.Wait()
	select {
	case r := <-done:
		if len(r.seqs) != 0 || !errors.Is(r.err, want) {
			t.Errorf("Next read %v, %v, want %v", r.seqs, r.err, want)
		}
	default:
		t.Errorf("Next still waits, want %v", want)
	}
}

func wantWaiting(t *testing.T, h *Hub, done <-chan read, waiting ...*Subscription) {
	t.Helper()
	synctest.Wait()
	if len(done) != 0 {
		t.Fatalf("Next returned %+v, want it to wait", <-done)
	}
	checkIndex(t, h, waiting...)
	for _, s := range waiting {
		if len(s.woken) != 0 {
			t.Error("a waiting subscription has a token")
		}
	}
}

func TestNextWakesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, Config{})
		s := subscribe(t, h, Filter{}, "")
		for i := range uint64(3) {
			done := next(t.Context(), s, 4)
			wantWaiting(t, h, done, s)
			commit(t, h, newEvent(t, "x"), newEvent(t, "y"))
			wantRead(t, done, 2*i+1, 2*i+2)
			checkIndex(t, h)
		}
	})
}

func TestForeignEventsDoNotWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, Config{History: 4})
		s := subscribe(t, h, only(t, "type", "x", "id", "a,b"), "")
		done := next(t.Context(), s, 4)
		for range 10 { // more events than the ring holds: a waiting subscription is not lapped
			commit(t, h, about(t, "x", "c"), about(t, "y", "a"), newEvent(t, "x"))
			wantWaiting(t, h, done, s)
		}
		// Next returns all matching events of the batch.
		commit(t, h, about(t, "x", "c"), about(t, "x", "b"), about(t, "y", "b"), about(t, "x", "a"))
		wantRead(t, done, 32, 34)
		if got := h.Counters()[CounterLapped]; got != 0 {
			t.Errorf("lapped %d times", got)
		}
	})
}

// A filter on each key wakes for a match, and only for that.
func TestWakesByEachKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, Config{})
		values := map[string]string{
			"type": "ct_netif", "action": "up", "pool": "tank", "id": "101", "source": "netlink", "name": "eth0", "veth": "veth1",
			"ct_name": "web",
		}
		match, foreign := map[string]<-chan read{}, map[string]<-chan read{}
		var waiting []*Subscription
		ctx, cancel := context.WithCancel(t.Context())
		for key, value := range values {
			match[key] = next(ctx, subscribe(t, h, only(t, key, value+",b"), ""), 1)
			s := subscribe(t, h, only(t, key, "other,b"), "")
			foreign[key] = next(ctx, s, 1)
			waiting = append(waiting, s)
		}
		commit(t, h, netif(t))
		for key := range values {
			wantRead(t, match[key], 1)
			wantWaiting(t, h, foreign[key], waiting...)
		}
		cancel()
		for key := range values {
			wantError(t, foreign[key], context.Canceled)
		}
		checkIndex(t, h)
	})
}

func TestTimeoutMovesPastForeignEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, Config{})
		s := subscribe(t, h, only(t, "type", "x"), "")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		done := next(ctx, s, 1)
		fill(t, h, 5)
		wantWaiting(t, h, done, s)
		<-ctx.Done() // the bubble's clock jumps there
		wantError(t, done, context.DeadlineExceeded)
		wantPosition(t, s, 5)
		checkIndex(t, h)
		fill(t, h, 1)
		commit(t, h, newEvent(t, "x"))
		wantPoll(t, s, 9, 7)
	})
}

// A wake-up and the end of ctx coincide. Whatever Next returns, no event is lost and no token is left.
func TestCancelCrossesWakeUp(t *testing.T) {
	for _, cancelFirst := range []bool{false, true} {
		for range 100 {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, Config{})
				s := subscribe(t, h, only(t, "type", "x"), "")
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				done := next(ctx, s, 1)
				fill(t, h, 1)
				if cancelFirst {
					cancel()
				}
				commit(t, h, newEvent(t, "x"))
				cancel()
				synctest.Wait()
				r := <-done
				switch {
				case errors.Is(r.err, context.Canceled):
					_, pos := s.Position()
					if pos > 2 || !cancelFirst && pos != 1 {
						t.Errorf("position is after %d", pos)
					}
					if pos == 1 {
						wantPoll(t, s, 1, 2)
					}
				case r.err != nil || !slices.Equal(r.seqs, []uint64{2}):
					t.Errorf("Next read %v, %v", r.seqs, r.err)
				}
				if len(s.woken) != 0 {
					t.Error("a token is left over")
				}
				checkIndex(t, h)
				if t.Failed() {
					return
				}
				if _, pos := s.Position(); pos != 2 {
					t.Errorf("position is after %d", pos)
				}
				done = next(t.Context(), s, 1)
				wantWaiting(t, h, done, s)
				commit(t, h, newEvent(t, "x"))
				wantRead(t, done, 3)
			})
		}
	}
}

// The same without a race: the subscription is woken, then the wait ends.
func TestStopWaitingAfterWakeUp(t *testing.T) {
	h := newHub(t, Config{})
	s := subscribe(t, h, only(t, "type", "x"), "")
	if waiting, err := s.startWaiting(); !waiting || err != nil {
		t.Fatal(waiting, err)
	}
	commit(t, h, newEvent(t, "y"), newEvent(t, "x"), newEvent(t, "x"), newEvent(t, "y"))
	if s.waiting || len(s.woken) != 1 {
		t.Fatalf("waiting %v, %d tokens", s.waiting, len(s.woken))
	}
	s.stopWaiting()
	if len(s.woken) != 0 {
		t.Error("the token is left over")
	}
	wantPosition(t, s, 1)
	wantPoll(t, s, 2, 2, 3)
}

func TestCloseWhileWaiting(t *testing.T) {
	for name, end := range map[string]func(*Hub, *Subscription){
		"hub":          func(h *Hub, _ *Subscription) { h.Close() },
		"subscription": func(_ *Hub, s *Subscription) { s.Close() },
		"both":         func(h *Hub, s *Subscription) { h.Close(); s.Close() },
		"both, turned": func(h *Hub, s *Subscription) { s.Close(); h.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, Config{})
				s := subscribe(t, h, only(t, "type", "x,y", "id", "a,b"), "")
				done := next(t.Context(), s, 1)
				fill(t, h, 3)
				wantWaiting(t, h, done, s)
				end(h, s)
				wantError(t, done, ErrClosed)
				checkIndex(t, h)
				if len(s.woken) != 0 {
					t.Error("a token is left over")
				}
				wantPosition(t, s, 3)
			})
		})
	}
}

func TestCloseHubWakesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, Config{})
		var all []<-chan read
		for i := range 100 {
			f := Filter{}
			if i%3 > 0 {
				f = only(t, "id", string(rune('a'+i%7))+",z")
			}
			all = append(all, next(t.Context(), subscribe(t, h, f, ""), 1))
		}
		h.Close()
		for _, done := range all {
			wantError(t, done, ErrClosed)
		}
		checkIndex(t, h)
	})
}

func TestCloseOneOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, Config{})
		a, b, c := subscribe(t, h, Filter{}, ""), subscribe(t, h, Filter{}, ""), subscribe(t, h, Filter{}, "")
		doneA, doneB, doneC := next(t.Context(), a, 1), next(t.Context(), b, 1), next(t.Context(), c, 1)
		b.Close()
		wantError(t, doneB, ErrClosed)
		checkIndex(t, h, a, c)
		fill(t, h, 1)
		wantRead(t, doneA, 1)
		wantRead(t, doneC, 1)
	})
}

// A waiter that is woken but does not run is lapped from the event that woke it.
func TestLappedAfterWakeUp(t *testing.T) {
	h := newHub(t, Config{History: 2})
	s := subscribe(t, h, only(t, "type", "x"), "")
	if waiting, err := s.startWaiting(); !waiting || err != nil {
		t.Fatal(waiting, err)
	}
	fill(t, h, 10)
	commit(t, h, newEvent(t, "x"))
	fill(t, h, 3)
	<-s.woken
	wantLapped(t, s, 11, 12)
}
