package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestNewChecksConfig(t *testing.T) {
	for _, bad := range []Config{{History: -1}, {History: MaxHistory + 1}, {HistoryBytes: -1}} {
		if h, err := New(t.Context(), bad); err == nil || h != nil {
			t.Errorf("%+v: accepted", bad)
		}
	}
	h := newHub(t, Config{})
	if len(h.ring) != DefaultHistory || h.maxBytes != DefaultHistoryBytes {
		t.Errorf("default history is %d events, %d bytes", len(h.ring), h.maxBytes)
	}
	if got := h.Status(); got.Durable || got.Last != 0 || got.Oldest != 1 || got.Cursor() != got.Epoch+":0" {
		t.Errorf("status is %+v", got)
	}
}

func TestCommitNumbersAndStamps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(1234567 * time.Nanosecond) // of the bubble's clock: not a whole microsecond
		h := newHub(t, Config{})
		if first := commit(t, h, newEvent(t, "a")); first != 1 {
			t.Errorf("first number is %d", first)
		}
		if first := commit(t, h); first != 2 {
			t.Errorf("an empty batch has number %d, want the next one", first)
		}
		events := []*Event{newEvent(t, "b"), newEvent(t, "c"), newEvent(t, "d")}
		if first := commit(t, h, events...); first != 2 || !slices.Equal(seqs(events), []uint64{2, 3, 4}) {
			t.Errorf("a batch got %d, %v", first, seqs(events))
		}
		want := time.Now().Truncate(time.Microsecond)
		for _, e := range events {
			if !e.Time.Equal(want) || e.Time.Nanosecond()%1000 != 0 || e.Time != e.Time.Round(0) {
				t.Errorf("time is %v, want %v without a monotonic part", e.Time, want)
			}
		}
		if got := h.Status().Last; got != 4 {
			t.Errorf("last is %d", got)
		}
	})
}

func TestCommitTooMany(t *testing.T) {
	h := newHub(t, Config{})
	events := make([]*Event, MaxBatch+1)
	for i := range events {
		events[i] = newEvent(t, "x")
	}
	_, err := h.Commit(Batch{Events: events, Interfaces: []InterfaceChange{{Interface: Interface{Ifindex: 1}}}})
	var large *TooLargeError
	if !errors.As(err, &large) || large.Got != 1025 || large.Limit != 1024 {
		t.Errorf("Commit: %v, want a TooLargeError", err)
	}
	if got := h.Status(); got.Last != 0 || got.Interfaces != 0 || events[0].Seq != 0 {
		t.Errorf("a refused batch changed the status to %+v", got)
	}
	commit(t, h, events[:MaxBatch]...)
}

// With many publishers, each subscriber reads all events once, in the same order, and the events of a
// commit are consecutive.
func TestConcurrentCommitsAndSubscribers(t *testing.T) {
	const publishers, commits, total = 4, 200, 4 * (200 / 2) * (1 + 3)
	h := newHub(t, Config{})
	filters := []Filter{{}, only(t, "id", "p0,p1,p2,p3"), only(t, "id", "p2"), only(t, "source", "uid:0", "type", "x,y,z"), only(t, "type", "none")}
	var readers, writers sync.WaitGroup
	results := make([][]*Event, 3*len(filters))
	for i := range results {
		s := subscribe(t, h, filters[i%len(filters)], "")
		readers.Go(func() {
			buf := make([]*Event, 1+i)
			for {
				n, err := s.Next(context.Background(), buf)
				if err != nil {
					if !errors.Is(err, ErrClosed) {
						t.Error(err)
					}
					return
				}
				results[i] = append(results[i], buf[:n]...)
			}
		})
	}
	firsts := make([][]uint64, publishers)
	for p := range publishers {
		writers.Go(func() {
			for c := range commits {
				events := make([]*Event, 1+c%2*2) // 1 or 3
				for i := range events {
					events[i] = about(t, string(rune('x'+i)), fmt.Sprintf("p%d", p))
				}
				first := commit(t, h, events...)
				for i, e := range events {
					if e.Seq != first+uint64(i) {
						t.Errorf("event %d of the commit at %d has number %d", i, first, e.Seq)
					}
				}
				firsts[p] = append(firsts[p], first)
			}
		})
	}
	writers.Wait()
	h.Close()
	readers.Wait()
	for p := range firsts {
		if !slices.IsSorted(firsts[p]) {
			t.Errorf("the numbers of publisher %d are not ascending", p)
		}
	}
	all := results[0]
	if len(all) != total {
		t.Fatalf("read %d events, want %d", len(all), total)
	}
	for i, e := range all {
		if e.Seq != uint64(i+1) {
			t.Fatalf("event %d has number %d", i, e.Seq)
		}
	}
	for i, got := range results {
		var want []*Event
		for _, e := range all {
			if filters[i%len(filters)].Match(e) {
				want = append(want, e)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("subscriber %d read %d events, want %d, in the same order", i, len(got), len(want))
		}
	}
	checkIndex(t, h)
}

// A subscription loses no event although its waits are cancelled at any moment.
func TestConcurrentCancel(t *testing.T) {
	h := newHub(t, Config{})
	const total = 400
	var all sync.WaitGroup
	for i := range 4 {
		s := subscribe(t, h, only(t, "id", "a"), "")
		cancels := make(chan context.CancelFunc, 1)
		all.Go(func() {
			for cancel := range cancels {
				cancel()
			}
		})
		all.Go(func() {
			defer close(cancels)
			want, buf := uint64(1), make([]*Event, 1+i)
			for want <= total {
				ctx, cancel := context.WithCancel(context.Background())
				cancels <- cancel
				n, err := s.Next(ctx, buf)
				if err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
					return
				}
				for _, e := range buf[:n] {
					if e.Seq != want {
						t.Errorf("read %d, want %d", e.Seq, want)
						return
					}
					want += 2
				}
				if want > total-1 {
					return
				}
			}
		})
	}
	for range total / 2 {
		commit(t, h, about(t, "x", "a"), about(t, "x", "b"))
	}
	all.Wait()
	checkIndex(t, h)
}

// All methods can be called concurrently.
func TestConcurrentEverything(t *testing.T) {
	h := newHub(t, Config{History: 16})
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for range 200 {
				s, err := h.Subscribe(only(t, "id", "a,b"), CursorOldest)
				if err != nil {
					t.Error(err)
					return
				}
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					for {
						_, err := s.Next(context.Background(), make([]*Event, 2))
						var lapped *LappedError
						if err != nil && !errors.As(err, &lapped) {
							return
						}
					}
				}()
				e := newEvent(t, "state", opt("pool", "p"), opt("id", string(rune('a'+i))), opt("state", "running"))
				if _, err := h.Commit(Batch{Events: []*Event{e}, Interfaces: []InterfaceChange{{Interface: Interface{Ifindex: uint32(i)}}}}); err != nil {
					t.Error(err)
				}
				h.Interfaces()
				h.Containers()
				h.Counters()
				h.Count("x", 1)
				s.Cursor()
				s.Close()
				<-ended
			}
		})
	}
	all.Wait()
	if got := h.Counters(); got["x"] != 800 || got["events_state"] != 800 {
		t.Errorf("counters are %v", got)
	}
	if got := h.Status(); got.Last != 800 || got.Interfaces != 4 || got.Containers != 4 || got.Oldest != 785 {
		t.Errorf("status is %+v", got)
	}
	checkIndex(t, h)
}
