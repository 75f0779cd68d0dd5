package dbusapi

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/wire"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

// If a wait is lapped between two steps, it answers with the collected events, and the next call reports
// the loss.
func TestPollKeepsCollectedEvents(t *testing.T) {
	h, err := hub.New(t.Context(), hub.Config{History: 300})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	commit := func(n int) {
		for range n {
			event, err := hub.NewEvent("test", nil, "uid:0")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := h.Commit(hub.Batch{Events: []*hub.Event{event}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	sub, err := h.Subscribe(hub.Filter{}, "")
	if err != nil {
		t.Fatal(err)
	}
	commit(300)
	w := &wait{sub: sub, limit: wire.MaxEvents}
	if done, err := w.collect(sub.Poll); done || err != nil || len(w.events) != 256 {
		t.Fatalf("%v, %v, %d events", done, err, len(w.events))
	}
	commit(600)
	n, err := w.poll()
	if _, seq := sub.Position(); n != 256 || err != nil || seq != 256 {
		t.Errorf("%d events, %v, position %d", n, err, seq)
	}
	if _, err := h.Subscribe(hub.Filter{}, sub.Cursor()); toError(err).Name != wire.ErrGone {
		t.Errorf("the next call: %v", err)
	}
}

// A call from the oldest event succeeds while events are added and dropped.
func TestOldestUnderLoad(t *testing.T) {
	t.Parallel()
	bus := bustest.Start(t, bustest.Broker, bustest.PolicyOpen)
	h := apitest.NewHub(t, hub.Config{History: 2})
	serve(t, bus, h)
	c := dial(t, bus)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				apitest.Commit(t, h, 1, "x")
			}
		}
	}()
	defer func() {
		close(stop)
		<-stopped
	}()
	apitest.Eventually(t, "events are dropped", func() bool { return h.Status().Oldest > 10 })
	for range 2000 {
		if _, _, err := c.WaitEvents(apitest.Bounded(t), hub.CursorOldest, hub.Filter{}, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
}

// A connection may have the maximum of pending calls, and repeat each as soon as it is answered.
func TestWaitAgainAtOnce(t *testing.T) {
	t.Parallel()
	bus := bustest.Start(t, bustest.Broker, bustest.PolicyOpen)
	h := apitest.NewHub(t, hub.Config{})
	s := serve(t, bus, h)
	client := dial(t, bus)
	ctx, cancel := context.WithCancel(apitest.Bounded(t))
	defer cancel()
	const rounds = 30
	var group sync.WaitGroup
	for range wire.MaxWaits {
		group.Go(func() {
			for cursor := ""; ctx.Err() == nil; {
				next, events, err := client.WaitEvents(ctx, cursor, hub.Filter{}, 0, time.Minute)
				if err != nil {
					t.Errorf("WaitEvents: %v", err)
					return
				}
				if cursor = next; len(events) > 0 && events[len(events)-1].Seq == rounds {
					return
				}
			}
		})
	}
	for range rounds {
		s.untilPending(t, wire.MaxWaits)
		apitest.Commit(t, h, 1, "x")
	}
	group.Wait()
}
