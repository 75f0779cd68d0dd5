package dbusapi

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/client"

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
	return bus, service.Hub
}

// benchServing is benchServiceOf that returns the service.
func benchServing(b *testing.B, kind bustest.Kind, log hub.Log) (*bustest.Bus, *Service) {
	b.Helper()
	bus := bustest.Start(b, kind, bustest.PolicyOpen, benchEchoPolicy)
	h, err := hub.New(b.Context(), hub.Config{Log: log})
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

// benchEvent returns an event like those of the watcher.
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

// BenchmarkSignals measures signals to one receiver: from a commit through the
// service, compared with encoded messages of the same size, written to the bus 64
// at a time.
func BenchmarkSignals(b *testing.B) {
	benchKinds(b, func(b *testing.B, kind bustest.Kind) {
		bus, h := benchService(b, kind)
		receiver := dialRaw(b, bus, wire.TypeSignal)
		receiver.match(b)
		before := receiver.n.Load()
		const chunk, window = 64, 8192
		n := int64(b.N+chunk-1) / chunk * chunk

		sender := dialRaw(b, bus, 0)
		event := benchEvent(b)
		event.Seq, event.Time = 1, time.Now()
		header := wire.Header{Type: wire.TypeSignal, Path: wire.Path, Interface: wire.Interface, Member: "Event", Signature: wire.EventType, Serial: 1}
		e := wire.NewEncoder(nil)
		for range chunk {
			e.Message(&header, func(e *wire.Encoder) { e.Bytes = append(e.Bytes, wire.EncodeEvent(event)...) })
		}
		start := time.Now()
		for done := int64(0); done < n; done += chunk {
			if done >= window {
				receiver.wait(b, before+done-window+chunk)
			}
			if _, err := sender.Write(e.Bytes, time.Minute); err != nil {
				b.Fatal(err)
			}
		}
		receiver.wait(b, before+n)
		raw := float64(n) / time.Since(start).Seconds()

		b.ResetTimer()
		start = time.Now()
		for done := int64(0); done < n; done += chunk {
			if done >= window {
				receiver.wait(b, before+n+done-window+chunk)
			}
			events := make([]*hub.Event, chunk)
			for i := range events {
				events[i] = benchEvent(b)
			}
			if _, err := h.Commit(hub.Batch{Events: events}); err != nil {
				b.Fatal(err)
			}
		}
		receiver.wait(b, before+2*n)
		ours := float64(n) / time.Since(start).Seconds()
		b.ReportMetric(ours, "signals/s")
		b.ReportMetric(raw, "raw/s")
		b.ReportMetric(ours/raw, "ours/raw")
	})
}

// BenchmarkReport measures Report calls of one sender with 64 pending calls,
// compared with the same calls to `dbus-test-tool echo`, which only replies.
func BenchmarkReport(b *testing.B) {
	benchKinds(b, func(b *testing.B, kind bustest.Kind) {
		bus, _ := benchService(b, kind)
		benchEcho(b, bus)
		c := dialRaw(b, bus, wire.TypeReply)
		echo := benchCalls(b, c, "org.example.Peer", b.N)
		b.ResetTimer()
		ours := benchCalls(b, c, wire.Name, b.N)
		b.ReportMetric(ours, "calls/s")
		b.ReportMetric(echo, "echo/s")
		b.ReportMetric(ours/echo, "ours/echo")
	})
}

// benchCalls calls Report n times, 64 at a time, and returns the calls per second.
func benchCalls(b *testing.B, c *rawConn, destination string, n int) float64 {
	b.Helper()
	const window = 64
	before := c.n.Load()
	start := time.Now()
	for i := range int64(n) {
		if i >= window {
			c.wait(b, before+i-window+1)
		}
		h := wire.Header{Type: wire.TypeCall, Destination: destination, Path: wire.Path, Interface: wire.Interface, Member: "Report", Signature: "sa{sv}"}
		c.send(b, &h, func(e *wire.Encoder) {
			e.String(hub.TypeNetif)
			e.Options(benchOptions())
		})
	}
	c.wait(b, before+int64(n))
	return float64(n) / time.Since(start).Seconds()
}

// benchEcho starts dbus-test-tool echo and waits until it answers.
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
	c := dialRaw(b, bus, 0)
	apitest.Eventually(b, "dbus-test-tool echo owns its name", func() bool {
		m := c.callBus(b, "NameHasOwner", "s", func(e *wire.Encoder) { e.String("org.example.Peer") })
		return m.Decoder().Uint32() == 1
	})
}

// BenchmarkWaitEvents measures a client that reads the history, 1,024 events a
// call; an op is one event.
func BenchmarkWaitEvents(b *testing.B) {
	benchKinds(b, func(b *testing.B, kind bustest.Kind) {
		bus, h := benchService(b, kind)
		for range 8 {
			events := make([]*hub.Event, wire.MaxEvents)
			for i := range events {
				events[i] = benchEvent(b)
			}
			if _, err := h.Commit(hub.Batch{Events: events}); err != nil {
				b.Fatal(err)
			}
		}
		c, err := client.Dial(context.Background(), bus.Address())
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		b.ReportAllocs()
		b.ResetTimer()
		cursor := hub.CursorOldest
		for done := 0; done < b.N; {
			next, events, err := c.WaitEvents(context.Background(), cursor, hub.Filter{}, 0, 0)
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
