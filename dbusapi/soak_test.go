package dbusapi

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/client"

	"github.com/osctl/eventd/dbusapi/apitest"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

// stallVariable is the variable with the time for which TestSoakStalledClient stalls a client; `make soak`
// sets it to a minute.
const stallVariable = "OSCTL_EVENTD_TEST_STALL"

const (
	stallBatch = 1000                  // events
	stallBeat  = 50 * time.Millisecond // between batches: 20,000 events a second at most
	// stallAhead is how far the events may get ahead of the reading client, in events. It is
	// less than the history, so that a slow machine loses none.
	stallAhead = hub.DefaultHistory / 2
	// stallGrowth is how much the heap of service and clients may grow, in bytes.
	stallGrowth = 24 << 20
)

// One client stops reading while another goes on. The first one learns the exact number of its lost events,
// the other one loses none, and memory does not grow.
func TestSoakStalledClient(t *testing.T) {
	stall := 2 * time.Second
	if text := os.Getenv(stallVariable); text != "" {
		var err error
		if stall, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	bus := bustest.Start(t, bustest.Broker, bustest.PolicyOpen)
	h := apitest.NewHub(t, hub.Config{})
	serve(t, bus, h)
	ctx, cancel := context.WithCancel(t.Context())
	start := h.Status()
	from := client.Follower{Address: bus.Address(), Cursor: start.Cursor()}

	var clients sync.WaitGroup
	var read, total atomic.Uint64
	clients.Go(func() {
		err := client.Follow(ctx, from, func(u client.Update) error {
			if u.Gone != nil {
				t.Errorf("the reading client lost %d: %v", u.Lost, u.Gone)
			}
			read.Add(uint64(len(u.Events)))
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	stalled, goOn := make(chan struct{}), make(chan struct{})
	var got, lost atomic.Uint64
	clients.Go(func() {
		once := sync.OnceFunc(func() { close(stalled); <-goOn })
		_ = client.Follow(ctx, from, func(u client.Update) error {
			got.Add(uint64(len(u.Events)))
			lost.Add(u.Lost)
			if len(u.Events) > 0 {
				once()
			}
			return nil
		})
	})

	commitBatch := func() {
		total.Add(stallBatch)
		commitMany(t, h, stallBatch)
		apitest.Eventually(t, "the reading client catches up", func() bool { return total.Load()-read.Load() < stallAhead })
	}
	commitBatch()
	<-stalled
	for range 2 * hub.DefaultHistory / stallBatch {
		commitBatch()
	}
	before := heap()
	beat := time.NewTicker(stallBeat)
	defer beat.Stop()
	for end := time.Now().Add(stall); time.Now().Before(end); <-beat.C {
		commitBatch()
	}
	if after := heap(); after > before+stallGrowth {
		t.Errorf("the heap grew from %d to %d bytes", before, after)
	}
	close(goOn)
	apitest.Eventually(t, "both clients catch up", func() bool { return read.Load() == total.Load() && got.Load()+lost.Load() == total.Load() })
	if lost.Load() < total.Load()-got.Load() || lost.Load() == 0 {
		t.Errorf("got %d, lost %d of %d", got.Load(), lost.Load(), total.Load())
	}
	cancel()
	clients.Wait()
}

func commitMany(tb testing.TB, h *hub.Hub, n int) {
	tb.Helper()
	events := make([]*hub.Event, n)
	for i := range events {
		e, err := hub.NewEvent("flood", apitest.Options("id", "1"), "test")
		if err != nil {
			tb.Fatal(err)
		}
		events[i] = e
	}
	if _, err := h.Commit(hub.Batch{Events: events}); err != nil {
		tb.Fatal(err)
	}
}
