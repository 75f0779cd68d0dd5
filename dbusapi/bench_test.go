package dbusapi

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// benchService runs a service on a bus of its own until the benchmark ends.
func benchService(b *testing.B, kind bustest.Kind) (*bustest.Bus, *hub.Hub) {
	b.Helper()
	return benchServiceOf(b, kind, nil)
}

// benchServiceOf is benchService with a log, nil for none.
func benchServiceOf(b *testing.B, kind bustest.Kind, log hub.Log) (*bustest.Bus, *hub.Hub) {
	b.Helper()
	bus, service := benchServing(b, kind, log)
	return bus, service.hub
}

// benchServing is benchServiceOf for who looks into the service.
func benchServing(b *testing.B, kind bustest.Kind, log hub.Log) (*bustest.Bus, *Service) {
	b.Helper()
	bus := bustest.Start(b, kind, bustest.PolicyOpen, benchEchoPolicy)
	h, err := hub.New(hub.Config{Log: log})
	if err != nil {
		b.Fatal(err)
	}
	service, err := New(Config{Hub: h, Log: slog.New(slog.DiscardHandler), Address: bus.Address()})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- service.Run(ctx) }()
	tended := make(chan error, 1)
	go func() { tended <- h.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
		<-tended
		h.Close()
	})
	select {
	case <-service.Ready():
	case err := <-ended:
		b.Fatal(err)
	}
	return bus, service
}

const benchEchoPolicy = `
  <policy context="default">
    <allow own="org.example.Peer"/>
    <allow send_destination="org.example.Peer"/>
    <allow receive_sender="org.example.Peer"/>
  </policy>`

// benchConn connects, and counts the messages of that type which arrive.
func benchConn(b testing.TB, bus *bustest.Bus, typ byte) (*conn, *benchCount) {
	b.Helper()
	count := &benchCount{wake: make(chan struct{}, 1)}
	c, err := dialConn(context.Background(), bus.Address(), connConfig{maxBody: clientMaxBody, handle: func(_ *conn, m *message) {
		if m.Type == typ {
			count.add()
		}
	}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.close)
	return c, count
}

// benchCount counts, and lets one goroutine wait until a count is reached.
type benchCount struct {
	n, target atomic.Int64
	wake      chan struct{}
}

func (c *benchCount) add() {
	if c.n.Add(1) == c.target.Load() {
		c.wake <- struct{}{}
	}
}

// wait returns once n messages have come.
func (c *benchCount) wait(b *testing.B, n int64) {
	c.target.Store(n)
	if c.n.Load() >= n {
		select {
		case <-c.wake:
		default:
		}
		return
	}
	select {
	case <-c.wake:
	case <-time.After(time.Minute):
		b.Fatalf("only %d of %d messages came", c.n.Load(), n)
	}
}

// benchEvent is what the watcher makes of a veth of a container.
func benchEvent(b *testing.B) *hub.Event {
	b.Helper()
	e, err := hub.NewEvent(hub.TypeNetif, benchOptions(), hub.SourceNetlink)
	if err != nil {
		b.Fatal(err)
	}
	return e
}

func benchOptions() hub.Options {
	return hub.Options{
		{Name: "pool", Value: hub.String("tank")},
		{Name: "id", Value: hub.String("101")},
		{Name: "action", Value: hub.String("up")},
		{Name: "name", Value: hub.String("eth0")},
		{Name: "veth", Value: hub.String("veth1a2b3c")},
		{Name: "ifindex", Value: hub.Uint32(12)},
	}
}

func benchKinds(b *testing.B, run func(b *testing.B, kind bustest.Kind)) {
	for _, kind := range []bustest.Kind{bustest.Daemon, bustest.Broker} {
		b.Run(fmt.Sprint(kind), func(b *testing.B) { run(b, kind) })
	}
}

func benchMatch(b *testing.B, c *conn) {
	b.Helper()
	if err := c.bus.BusObject().Call(busInterface+".AddMatch", 0, "type='signal',interface='"+Interface+"'").Err; err != nil {
		b.Fatal(err)
	}
}

// BenchmarkSignals measures signals to one receiver: from a commit to the receiver
// through the service, against ready-made messages of the same size written to the
// bus 64 at a time.
func BenchmarkSignals(b *testing.B) {
	benchKinds(b, func(b *testing.B, kind bustest.Kind) {
		bus, h := benchService(b, kind)
		receiver, count := benchConn(b, bus, wire.TypeSignal)
		benchMatch(b, receiver)
		const chunk, window = 64, 8192
		n := int64(b.N+chunk-1) / chunk * chunk

		sender, _ := benchConn(b, bus, 0)
		event := benchEvent(b)
		event.Seq, event.Time = 1, time.Now()
		header := wire.Header{Type: wire.TypeSignal, Path: Path, Interface: Interface, Member: "Event", Signature: wire.EventType, Serial: 1}
		e := wire.NewEncoder(nil)
		for range chunk {
			sender.append(e, &header, func(e *wire.Encoder) { e.Bytes = append(e.Bytes, wire.EncodeEvent(event)...) })
		}
		start := time.Now()
		for done := int64(0); done < n; done += chunk {
			if done >= window {
				count.wait(b, done-window+chunk)
			}
			if _, err := sender.sock.Write(e.Bytes); err != nil {
				b.Fatal(err)
			}
		}
		count.wait(b, n)
		raw := float64(n) / time.Since(start).Seconds()

		b.ResetTimer()
		start = time.Now()
		for done := int64(0); done < n; done += chunk {
			if done >= window {
				count.wait(b, n+done-window+chunk)
			}
			events := make([]*hub.Event, chunk)
			for i := range events {
				events[i] = benchEvent(b)
			}
			if _, err := h.Commit(hub.Batch{Events: events}); err != nil {
				b.Fatal(err)
			}
		}
		count.wait(b, 2*n)
		ours := float64(n) / time.Since(start).Seconds()
		b.ReportMetric(ours, "signals/s")
		b.ReportMetric(raw, "raw/s")
		b.ReportMetric(ours/raw, "ours/raw")
	})
}

// BenchmarkReport measures Report calls of one sender that keeps 64 under way,
// against the same calls to `dbus-test-tool echo`, which does nothing but reply.
func BenchmarkReport(b *testing.B) {
	benchKinds(b, func(b *testing.B, kind bustest.Kind) {
		bus, _ := benchService(b, kind)
		benchEcho(b, bus)
		client, count := benchConn(b, bus, wire.TypeReply)
		echo := benchCalls(b, client, count, "org.example.Peer", b.N)
		b.ResetTimer()
		ours := benchCalls(b, client, count, Name, b.N)
		b.ReportMetric(ours, "calls/s")
		b.ReportMetric(echo, "echo/s")
		b.ReportMetric(ours/echo, "ours/echo")
	})
}

// benchCalls calls Report n times, 64 at a time, and returns how many a second.
func benchCalls(b *testing.B, client *conn, count *benchCount, destination string, n int) float64 {
	b.Helper()
	const window = 64
	before := count.n.Load()
	start := time.Now()
	for i := range int64(n) {
		if i >= window {
			count.wait(b, before+i-window+1)
		}
		h := wire.Header{Type: wire.TypeCall, Destination: destination, Path: Path, Interface: Interface, Member: "Report", Signature: "sa{sv}"}
		if err := client.send(&h, func(e *wire.Encoder) {
			e.String(hub.TypeNetif)
			e.Options(benchOptions())
		}); err != nil {
			b.Fatal(err)
		}
	}
	count.wait(b, before+int64(n))
	return float64(n) / time.Since(start).Seconds()
}

// benchEcho starts dbus-test-tool echo and returns when it answers.
func benchEcho(b testing.TB, bus *bustest.Bus) {
	b.Helper()
	cmd := exec.Command("dbus-test-tool", "echo", "--system", "--name=org.example.Peer")
	cmd.Env = bus.Env()
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatalf("%v (Debian package: dbus-tests)", err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	c, _ := benchConn(b, bus, 0)
	for range 1000 {
		var has bool
		if err := c.bus.BusObject().Call(busInterface+".NameHasOwner", 0, "org.example.Peer").Store(&has); err != nil {
			b.Fatal(err)
		}
		if has {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	b.Fatal("dbus-test-tool echo does not answer")
}

// BenchmarkWaitEvents measures a client that pulls a history that is there, 1,024
// events a call; an op is one event.
func BenchmarkWaitEvents(b *testing.B) {
	benchKinds(b, func(b *testing.B, kind bustest.Kind) {
		bus, h := benchService(b, kind)
		for range 8 {
			events := make([]*hub.Event, MaxEvents)
			for i := range events {
				events[i] = benchEvent(b)
			}
			if _, err := h.Commit(hub.Batch{Events: events}); err != nil {
				b.Fatal(err)
			}
		}
		client, err := Dial(context.Background(), bus.Address())
		if err != nil {
			b.Fatal(err)
		}
		defer client.Close()
		b.ReportAllocs()
		b.ResetTimer()
		cursor := hub.CursorOldest
		for done := 0; done < b.N; {
			next, events, err := client.WaitEvents(context.Background(), cursor, hub.Filter{}, 0, 0)
			if err != nil {
				b.Fatal(err)
			}
			done += len(events)
			if cursor = next; len(events) == 0 {
				cursor = hub.CursorOldest
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
}
