package forward

import (
	"context"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleet"
	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleettest"
	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

// BenchmarkForward compares forwarding a history to a stream with reading it by WaitEvents only. With many
// hosts, each with its own osctl-eventd, all forward to one server at once.
func BenchmarkForward(b *testing.B) {
	for _, hosts := range []int{1, 100} {
		b.Run(strconv.Itoa(hosts), func(b *testing.B) { benchmarkForward(b, hosts, 200_000/hosts) })
	}
}

func benchmarkForward(b *testing.B, hosts, events int) {
	server := fleettest.StartServer(b, "")
	sources, cursors := make([]*fleettest.Eventd, hosts), make([]string, hosts)
	for i := range sources {
		sources[i] = fleettest.StartEventd(b, events)
		cursors[i] = sources[i].Commit(b, events)
	}
	b.ReportAllocs()
	var reading, forwarding time.Duration
	stream := server.MakeStream(b, nil)
	for b.Loop() {
		begin := time.Now()
		runAll(hosts, func(i int) { readAll(b, sources[i].Bus.Address(), cursors[i]) })
		reading += time.Since(begin)
		if err := stream.Purge(b.Context()); err != nil {
			b.Fatal(err)
		}
		begin = time.Now()
		runAll(hosts, func(i int) { forwardAll(b, server, sources[i], "node"+strconv.Itoa(i), cursors[i]) })
		forwarding += time.Since(begin)
	}
	total := float64(hosts * events * b.N)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(total/reading.Seconds(), "waitevents/s")
	b.ReportMetric(total/forwarding.Seconds(), "forward/s")
	b.ReportMetric(reading.Seconds()/forwarding.Seconds(), "forward/waitevents")
}

// runAll calls do for all hosts in parallel.
func runAll(hosts int, do func(i int)) {
	done := make(chan struct{})
	for i := range hosts {
		go func() {
			do(i)
			done <- struct{}{}
		}()
	}
	for range hosts {
		<-done
	}
}

func readAll(b *testing.B, address, until string) {
	c, err := client.Dial(b.Context(), address)
	if err != nil {
		b.Error(err)
		return
	}
	defer c.Close()
	for cursor := hub.CursorOldest; cursor != until; {
		if cursor, _, err = c.WaitEvents(b.Context(), cursor, hub.Filter{}, 0, time.Second); err != nil {
			b.Error(err)
			return
		}
	}
}

// forwardAll runs a bridge until it has written a message with the cursor.
func forwardAll(b *testing.B, server *fleettest.Server, e *fleettest.Eventd, name, until string) {
	ctx, cancel := context.WithTimeout(b.Context(), apitest.Patience)
	defer cancel()
	c := Config{
		Bus: e.Bus.Address(), Access: fleet.Access{Servers: server.URL}, Stream: fleet.DefaultStream, Host: name, Machine: "m1",
		StateDir: b.TempDir(), Alive: time.Hour, Log: slog.New(slog.DiscardHandler), Tick: 10 * time.Millisecond,
	}
	state, err := openState(c.StateDir, c.Log)
	if err != nil {
		b.Error(err)
		return
	}
	bridge := &bridge{Config: c, state: state, eventd: &eventd{address: c.Bus}}
	bridge.Progress = func(string) {
		if bridge.state.cursor == until {
			cancel()
		}
	}
	if err := bridge.run(ctx); err != nil || bridge.state.cursor != until {
		b.Errorf("the bridge ended at %s: %v", bridge.state.cursor, err)
	}
	bridge.eventd.close()
	_ = state.close()
}
