package client

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

func TestClient(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{})
		serve(t, bus, h)
		c := connect(t, bus)
		if seq, err := c.Report(apitest.Bounded(t), "x", apitest.Options("a", "b")); err != nil || seq != 1 {
			t.Errorf("Report = %d, %v", seq, err)
		}
		reports := []Report{{"y", nil}, {"z", apitest.Options("id", "7")}}
		if first, err := c.ReportBatch(apitest.Bounded(t), reports); err != nil || first != 2 {
			t.Errorf("ReportBatch = %d, %v", first, err)
		}
		if first, err := c.ReportBatch(apitest.Bounded(t), nil); err != nil || first != 0 {
			t.Errorf("ReportBatch of nothing = %d, %v", first, err)
		}
		next, events, err := c.WaitEvents(apitest.Bounded(t), hub.CursorOldest, hub.Filter{}, 2, 0)
		if err != nil || next != hub.FormatCursor(apitest.Epoch(h), 2) || len(events) != 2 ||
			events[0].Options.Text("a") != "b" || events[1].Type != "y" {
			t.Errorf("WaitEvents = %s, %v, %v", next, events, err)
		}
		_, _, err = c.WaitEvents(apitest.Bounded(t), "other:1", hub.Filter{}, 0, 0)
		apitest.WantError(t, err, ErrGone)
		properties, err := c.Properties(apitest.Bounded(t))
		if err != nil || properties.Text("Version") != "1.2.3" ||
			properties.Text("Cursor") != hub.FormatCursor(apitest.Epoch(h), 3) {
			t.Errorf("Properties = %v, %v", properties, err)
		}
		if v, ok := properties.Get("Counters"); !ok || v.Type() != "a{st}" {
			t.Errorf("Counters are %v", v)
		}
		ctx, cancel := context.WithCancel(apitest.Bounded(t))
		cancel()
		if _, err := c.Report(ctx, "x", nil); !errors.Is(err, context.Canceled) {
			t.Error("a call with a context that ended:", err)
		}
		// The number shows that the call before was not sent.
		if seq, err := c.Report(apitest.Bounded(t), "x", nil); err != nil || seq != 4 {
			t.Errorf("the call after one with a context that ended = %d, %v", seq, err)
		}
	})
}

func TestConcurrentCallers(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		serve(t, bus, apitest.NewHub(t, hub.Config{}))
		c := connect(t, bus)
		const callers, calls = 20, 50
		var wg sync.WaitGroup
		var mu sync.Mutex
		var numbers []uint64
		ctx := apitest.Bounded(t)
		for range callers {
			wg.Go(func() {
				for range calls {
					seq, err := c.Report(ctx, "x", nil)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					numbers = append(numbers, seq)
					mu.Unlock()
				}
			})
			wg.Go(func() {
				if _, err := c.Properties(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		slices.Sort(numbers)
		apitest.WantRun(t, numbers, 1, callers*calls)
	})
}

// startWait calls WaitEvents for an event that does not come.
func startWait(ctx context.Context, c *Client, never hub.Filter) <-chan error {
	ended := make(chan error, 1)
	go func() {
		_, _, err := c.WaitEvents(ctx, "", never, 0, time.Hour)
		ended <- err
	}()
	return ended
}

func TestClientLosesTheBus(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		serve(t, bus, apitest.NewHub(t, hub.Config{}))
		waits := monitorWaits(t, bus)
		c, closed := connect(t, bus), connect(t, bus)
		pending := startWait(apitest.Bounded(t), c, hub.Filter{})
		ended := startWait(apitest.Bounded(t), closed, hub.Filter{})
		waits.until(t, 2)
		closed.Close()
		if err := apitest.Await(t, "the pending call", ended); !errors.Is(err, wire.ErrClosed) {
			t.Error("a pending call after Close:", err)
		}
		apitest.Await(t, "Done", closed.Done())
		bus.Kill()
		if err := apitest.Await(t, "the pending call", pending); err == nil {
			t.Error("a pending call survived the bus")
		}
		apitest.Await(t, "Done", c.Done())
		if _, err := c.Report(apitest.Bounded(t), "x", nil); err == nil {
			t.Error("a call without a bus succeeded")
		}
		_, err := Dial(apitest.Bounded(t), bus.Address())
		if err == nil || !strings.Contains(err.Error(), bus.Address()) {
			t.Error("Dial without a bus:", err)
		}
	})
}

// A call ends with its context, even if the bus hangs.
func TestClientWithHungBus(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		serve(t, bus, apitest.NewHub(t, hub.Config{}))
		c := connect(t, bus)
		bus.Stop()
		defer bus.Cont()
		ctx, cancel := context.WithCancel(apitest.Bounded(t))
		defer cancel()
		var wg sync.WaitGroup
		const calls = 60 // more than the socket takes
		for range calls {
			wg.Go(func() {
				_, err := c.Report(ctx, "x", apitest.Options("a", strings.Repeat("y", 60_000)))
				select {
				case <-c.Done(): // on a busy machine the bus may count as lost
				default:
					if !errors.Is(err, context.Canceled) {
						t.Error("a call to a hung bus:", err)
					}
				}
			})
		}
		apitest.Eventually(t, "all calls are pending", func() bool {
			c.conn.mu.Lock()
			defer c.conn.mu.Unlock()
			return len(c.conn.calls) == calls || c.conn.calls == nil
		})
		cancel()
		wg.Wait()
		dialing, stop := context.WithTimeout(apitest.Bounded(t), 50*time.Millisecond)
		defer stop()
		if _, err := Dial(dialing, bus.Address()); !errors.Is(err, context.DeadlineExceeded) {
			t.Error("Dial of a hung bus:", err)
		}
	})
}

// With more calls than a bus allows a connection, none is refused. A call that waits for a slot ends with
// its context and with the connection.
func TestClientLimitsCalls(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{})
		serve(t, bus, h)
		monitor := monitorWaits(t, bus)
		c := connect(t, bus)
		const calls = 10 * (maxCalls + maxWaits)
		var wg sync.WaitGroup
		report := func() {
			if _, err := c.Report(apitest.Bounded(t), "x", nil); err != nil {
				t.Error("Report:", err)
			}
		}
		for range calls / 2 {
			wg.Go(report)
			wg.Go(func() {
				if _, _, err := c.WaitEvents(apitest.Bounded(t), "", hub.Filter{}, 0, 0); err != nil {
					t.Error("WaitEvents:", err)
				}
			})
		}
		wg.Wait()
		var waits []<-chan error
		for range wire.MaxWaits {
			waits = append(waits, startWait(apitest.Bounded(t), c, apitest.Only(t, "type", "never")))
		}
		monitor.until(t, wire.MaxWaits)
		for range calls / 2 {
			wg.Go(report)
		}
		wg.Wait()
		if last := h.Status().Last; last != calls {
			t.Errorf("%d events were reported, want %d", last, calls)
		}
		for range maxCalls {
			c.calls <- struct{}{}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := c.Report(ctx, "x", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Error("a call that waits for a slot:", err)
		}
		late := make(chan error, 1)
		go func() {
			_, err := c.Properties(apitest.Bounded(t))
			late <- err
		}()
		c.Close()
		if err := apitest.Await(t, "the call", late); !errors.Is(err, wire.ErrClosed) {
			t.Error("a call on a closed connection:", err)
		}
		for _, w := range waits {
			if err := apitest.Await(t, "the wait", w); err == nil {
				t.Error("a wait on a closed connection ended without an error")
			}
		}
	})
}
