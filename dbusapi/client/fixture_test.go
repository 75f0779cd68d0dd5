package client

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"

	"github.com/osctl/eventd/dbusapi"
	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// service is a running service.
type service struct {
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // of Run, once ended is closed
}

// serve runs a service until the test ends or stop is called, and waits until it is ready.
func serve(tb testing.TB, bus *bustest.Bus, h *hub.Hub) *service {
	tb.Helper()
	served, err := dbusapi.New(dbusapi.Config{
		Hub: h, Address: bus.Address(), Log: slog.New(slog.DiscardHandler), Version: "1.2.3",
	})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	s := &service{cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		s.err = served.Run(ctx)
	}()
	tb.Cleanup(func() { _ = s.stop(tb) })
	select {
	case <-served.Ready():
	case <-s.ended:
		tb.Fatal("the service ended:", s.err)
	case <-apitest.Bounded(tb).Done():
		tb.Fatal("the service is not ready in time")
	}
	return s
}

// stop ends the service and returns the error of Run.
func (s *service) stop(tb testing.TB) error {
	tb.Helper()
	s.cancel()
	apitest.Await(tb, "Run ends", s.ended)
	return s.err
}

// connect returns a client on a bus. It retries, because on a busy machine the library may time out.
func connect(tb testing.TB, bus *bustest.Bus) *Client {
	tb.Helper()
	for ctx := apitest.Bounded(tb); ; {
		c, err := Dial(ctx, bus.Address())
		if err == nil {
			tb.Cleanup(c.Close)
			return c
		}
		if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			tb.Fatal(err)
		}
	}
}

// connectPipe returns a client, and the other end of its connection for the test.
func connectPipe(tb testing.TB) (*Client, net.Conn) {
	tb.Helper()
	ours, bus := net.Pipe()
	c := newClient(wire.NewConn(ours))
	tb.Cleanup(func() {
		c.Close()
		_ = bus.Close()
	})
	return c, bus
}

// waitMonitor counts the pending WaitEvents calls, as a monitor of the bus.
type waitMonitor struct {
	mu      sync.Mutex
	pending map[waitCall]bool
}

// waitCall identifies a pending call.
type waitCall struct {
	sender string
	serial uint32
}

// monitorWaits makes a connection a monitor of the bus, which must not be restarted.
func monitorWaits(tb testing.TB, bus *bustest.Bus) *waitMonitor {
	tb.Helper()
	monitor := bus.ClientAs(tb, 0)
	become := bustest.MethodCall(bustest.DriverName, bustest.DriverPath, bustest.DriverName+".Monitoring", "BecomeMonitor")
	become.Signature, become.Body = "asu", new(bustest.Body).Array(4, func(*bustest.Body) {}).Uint32(0).Bytes()
	apitest.OK(tb, monitor, become)
	w := &waitMonitor{pending: map[waitCall]bool{}}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			m, err := monitor.Receive(context.Background())
			if err != nil {
				return // the test is over, or the bus
			}
			w.take(m)
		}
	})
	tb.Cleanup(func() {
		_ = monitor.Close()
		running.Wait()
	})
	return w
}

func (w *waitMonitor) take(m *bustest.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case m.Type == bustest.TypeReturn || m.Type == bustest.TypeError:
		delete(w.pending, waitCall{m.Destination, m.ReplySerial})
	case m.Member == "WaitEvents" && timeoutOf(m) > 0:
		w.pending[waitCall{m.Sender, m.Serial}] = true
	case m.Member == "NameOwnerChanged":
		name, _ := m.FirstString()
		for call := range w.pending {
			if call.sender == name {
				delete(w.pending, call)
			}
		}
	}
}

// until waits until n calls are pending.
func (w *waitMonitor) until(tb testing.TB, n int) {
	tb.Helper()
	apitest.Eventually(tb, "calls are pending", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.pending) == n
	})
}

// timeoutOf returns the last argument of a WaitEvents call.
func timeoutOf(call *bustest.Message) uint32 {
	return binary.LittleEndian.Uint32(call.Body[len(call.Body)-4:])
}

// ownName connects a client that owns the name of the service, for tests that answer its
// calls themselves.
func ownName(tb testing.TB, bus *bustest.Bus) *bustest.Client {
	tb.Helper()
	c := bus.ClientAs(tb, 0)
	body := new(bustest.Body).String(wire.Name).Uint32(0)
	if _, err := c.CallDriver(apitest.Bounded(tb), "RequestName", "su", body); err != nil {
		tb.Fatal(err)
	}
	return c
}

// waitReply returns a reply to a WaitEvents call.
func waitReply(cursor string, events ...*hub.Event) *bustest.Message {
	b := new(bustest.Body).String(cursor).Array(8, func(b *bustest.Body) {
		for _, e := range events {
			apitest.AsEvent(b.Align(8), e, func(*bustest.Body) {})
		}
	})
	return &bustest.Message{Type: bustest.TypeReturn, Signature: "sa(" + wire.EventType + ")", Body: b.Bytes()}
}
