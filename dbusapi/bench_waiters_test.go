package dbusapi

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/dbusapi/wire"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

// waiters are clients in WaitEvents, each with a filter for a container of its own.
type waiters struct {
	hub    *hub.Hub
	woken  chan int // number of a waiter that got an event
	failed chan error
	others atomic.Int64 // events that do not match the filter
}

// newWaiters starts n waiters, as many on each connection as the limit allows.
func newWaiters(b *testing.B, bus *bustest.Bus, h *hub.Hub, n int) *waiters {
	b.Helper()
	w := &waiters{hub: h, woken: make(chan int, n), failed: make(chan error, n)}
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	b.Cleanup(func() {
		cancel()
		group.Wait()
	})
	var conn *client.Client
	status := h.Status()
	for i := range n {
		if i%wire.MaxWaits == 0 {
			var err error
			if conn, err = client.Dial(ctx, bus.Address()); err != nil {
				b.Fatal(err)
			}
			b.Cleanup(conn.Close)
		}
		filter, err := hub.Filter{}.With("id", strconv.Itoa(i))
		if err != nil {
			b.Fatal(err)
		}
		own := conn // conn changes before the goroutine starts
		group.Go(func() { w.wait(ctx, own, filter, i, status.Cursor()) })
	}
	return w
}

// wait waits for events of one container until ctx is done.
func (w *waiters) wait(ctx context.Context, client *client.Client, filter hub.Filter, i int, cursor string) {
	for {
		next, events, err := client.WaitEvents(ctx, cursor, filter, 0, time.Minute)
		if err != nil {
			if ctx.Err() == nil {
				w.failed <- err
			}
			return
		}
		for _, e := range events {
			if e.ID != strconv.Itoa(i) {
				w.others.Add(1)
			}
			w.woken <- i
		}
		cursor = next
	}
}

// event commits an event of one container, and returns when its waiter has it.
func (w *waiters) event(b *testing.B, i int) {
	b.Helper()
	e, err := hub.NewEvent("state", apitest.Options("pool", "tank", "id", strconv.Itoa(i), "state", "running"), "test")
	if err != nil {
		b.Fatal(err)
	}
	if _, err := w.hub.Commit(hub.Batch{Events: []*hub.Event{e}}); err != nil {
		b.Fatal(err)
	}
	select {
	case got := <-w.woken:
		if got != i {
			b.Fatalf("an event of %d woke waiter %d", i, got)
		}
	case err := <-w.failed:
		b.Fatal(err)
	}
}

// BenchmarkWaiters measures an event from its commit until its waiter has it, with 10 and with 1,000
// waiters in turns.
func BenchmarkWaiters(b *testing.B) {
	benchKinds(b, func(b *testing.B, kind bustest.Kind) {
		counts := []int{10, 1000}
		all := make([]*waiters, len(counts))
		for i, n := range counts {
			bus, h := benchService(b, kind)
			all[i] = newWaiters(b, bus, h, n)
			for k := range n { // until all are waiting
				all[i].event(b, k)
			}
		}
		const turn = 200
		took := make([][]time.Duration, len(counts))
		b.ResetTimer()
		for done := 0; done < b.N; done += turn {
			for i, n := range counts {
				for k := range min(turn, b.N-done) {
					started := time.Now()
					all[i].event(b, (done+k)%n)
					took[i] = append(took[i], time.Since(started))
				}
			}
		}
		for i := range counts {
			slices.Sort(took[i])
			b.ReportMetric(float64(took[i][len(took[i])/2].Nanoseconds()), fmt.Sprint("ns/event-of-", counts[i]))
			if n := all[i].others.Load(); n != 0 {
				b.Errorf("%d events reached waiters with another filter", n)
			}
		}
		b.ReportMetric(float64(took[1][len(took[1])/2])/float64(took[0][len(took[0])/2]), "1000/10")
	})
}
