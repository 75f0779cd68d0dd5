package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// fresh returns a new event like e; each event is committed once.
func fresh(e *Event) *Event {
	return &Event{Type: e.Type, Action: e.Action, Pool: e.Pool, ID: e.ID, Source: e.Source, Options: e.Options, keys: e.keys, size: e.size}
}

func BenchmarkNewEvent(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := NewEvent("ct_netif", Options{
			opt("pool", "tank"), opt("id", "101"), opt("action", "up"), opt("name", "eth0"), opt("veth", "veth1a2b"), {"ifindex", Uint32(12)},
		}, SourceNetlink); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkJSON(b *testing.B) {
	e := netif(b)
	var line []byte
	b.ReportAllocs()
	for b.Loop() {
		line = e.AppendJSON(line[:0], "0123456789abcdef0123456789abcdef")
	}
}

// BenchmarkDeliver commits one event at a time to subscribers that read and check each one. After each
// half ring the publisher waits for the slowest subscriber, so that none is lapped; the time includes
// that.
func BenchmarkDeliver(b *testing.B) {
	for _, subs := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("subs=%d", subs), func(b *testing.B) { deliver(b, subs) })
	}
}

func deliver(b *testing.B, subs int) {
	const round = DefaultHistory / 2
	h := newHub(b, Config{})
	template := netif(b)
	var readers, reached sync.WaitGroup
	for range subs {
		s := subscribe(b, h, Filter{}, "")
		readers.Go(func() {
			next, buf := uint64(1), make([]*Event, 256)
			for {
				n, err := s.Next(context.Background(), buf)
				if errors.Is(err, ErrClosed) {
					return
				}
				if err != nil {
					b.Error(err)
					return
				}
				for _, e := range buf[:n] {
					if e.Seq != next {
						b.Errorf("read %d, want %d", e.Seq, next)
						return
					}
					if next%round == 0 || next == uint64(b.N) {
						reached.Done()
					}
					next++
				}
			}
		})
	}
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; {
		n := min(round, b.N-done)
		reached.Add(subs)
		for range n {
			commit(b, h, fresh(template))
		}
		reached.Wait()
		done += n
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
	b.ReportMetric(float64(b.N)*float64(subs)/b.Elapsed().Seconds(), "deliveries/s")
	h.Close()
	readers.Wait()
}

// BenchmarkCommitBesideWaiters commits to three hubs: without waiters, with 4,096 waiters for other
// containers, and with as many that each event wakes. Each waiter has 256 ids. The hubs take turns, so
// that other load on the machine affects all alike.
func BenchmarkCommitBesideWaiters(b *testing.B) {
	const turn, waiters = 64, 4096
	names := []string{"none", "foreign", "matching"}
	hubs, spent := make([]*Hub, len(names)), make([][]time.Duration, len(names))
	var readers sync.WaitGroup
	for i, first := range []string{"", "foreign", "101"} {
		hubs[i] = newHub(b, Config{})
		for j := range waiters * min(i, 1) {
			s := subscribe(b, hubs[i], only(b, "id", manyIDs(MaxFilterValues-1, first, strconv.Itoa(j))), "")
			readers.Go(func() {
				buf := make([]*Event, 64)
				for {
					if _, err := s.Next(context.Background(), buf); errors.Is(err, ErrClosed) {
						return
					}
				}
			})
		}
	}
	template := netif(b)
	b.ResetTimer()
	for done := 0; done < b.N; done += turn {
		for i, h := range hubs {
			for range min(turn, b.N-done) {
				start := time.Now()
				commit(b, h, fresh(template))
				spent[i] = append(spent[i], time.Since(start))
			}
		}
	}
	b.StopTimer()
	for i, name := range names {
		slices.Sort(spent[i])
		b.ReportMetric(float64(spent[i][len(spent[i])/2].Nanoseconds()), "median-ns-"+name)
		b.ReportMetric(float64(spent[i][len(spent[i])*99/100].Nanoseconds()), "p99-ns-"+name)
		hubs[i].Close()
	}
	b.ReportMetric(0, "ns/op")
	readers.Wait()
}

// BenchmarkWakeOne commits events that each wake one of n waiters, which reads the event and waits
// again.
func BenchmarkWakeOne(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprintf("waiters=%d", n), func(b *testing.B) {
			h := newHub(b, Config{})
			subs, templates := make([]*Subscription, n), make([]*Event, n)
			for i := range subs {
				id := strconv.Itoa(i)
				subs[i], templates[i] = subscribe(b, h, only(b, "id", id), ""), about(b, "x", id)
				if waiting, err := subs[i].startWaiting(); !waiting || err != nil {
					b.Fatal(waiting, err)
				}
			}
			buf := make([]*Event, 4)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				commit(b, h, fresh(templates[i%n]))
				s := subs[i%n]
				<-s.woken
				if got, err := s.Poll(buf); got != 1 || err != nil {
					b.Fatal(got, err)
				}
				// A subscription with unread events cannot wait.
				if got, err := s.Poll(buf); got != 0 || err != nil {
					b.Fatal(got, err)
				}
				if waiting, err := s.startWaiting(); !waiting || err != nil {
					b.Fatal(waiting, err)
				}
			}
			b.StopTimer()
			for _, s := range subs {
				if !s.waiting {
					b.Fatal("an event woke more than one")
				}
			}
		})
	}
}

// BenchmarkCommitBatch commits full batches.
func BenchmarkCommitBatch(b *testing.B) {
	h, template := newHub(b, Config{}), netif(b)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		events := make([]*Event, MaxBatch)
		for i := range events {
			events[i] = fresh(template)
		}
		commit(b, h, events...)
	}
	b.ReportMetric(float64(b.N)*MaxBatch/b.Elapsed().Seconds(), "events/s")
}
