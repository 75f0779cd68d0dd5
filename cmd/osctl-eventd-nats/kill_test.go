package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/osctl/eventd/cmd/internal/daemontest"
	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleettest"
	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/netwatch/nstest"
)

const host = "node1"

// produce commits about 1,000 events a second until stop is called. stop returns the cursor after the last
// event, and the number of events.
func produce(t *testing.T, e *fleettest.Eventd) (stop func() (string, int)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var working sync.WaitGroup
	cursor, n := "", 0
	working.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			cursor = e.Commit(t, 1)
			n++
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		working.Wait()
	})
	return func() (string, int) {
		cancel()
		working.Wait()
		return cursor, n
	}
}

// check checks that the stream has this number of events of the host, each once and in order.
func check(t *testing.T, stream jetstream.Stream, cursor string, events int) {
	t.Helper()
	fleettest.AwaitCursor(t, stream, host, cursor)
	got := fleettest.Read(t, stream, host)
	if got.Events != events || got.Gaps() != nil {
		t.Errorf("the stream has %d events of %d, and gaps %+v", got.Events, events, got.Gaps())
	}
	t.Logf("%d events in %d messages, %d records", got.Events, got.Chunks, len(got.Records))
}

// instant waits for a random time.
func instant(t *testing.T) {
	t.Helper()
	select {
	case <-time.After(15*time.Millisecond + rand.N(80*time.Millisecond)):
	case <-t.Context().Done():
	}
}

// TestKilledAtAnyInstant kills two bridges at a time at random instants, and the server every ten rounds.
func TestKilledAtAnyInstant(t *testing.T) {
	e, server := fleettest.StartEventd(t, 1_000_000), fleettest.StartServer(t, "")
	stream := server.MakeStream(t, nil)
	a, b := bridge(t, server, e.Bus.Address()), bridge(t, server, e.Bus.Address())
	stop := produce(t, e)
	kills := daemontest.Kills(t, 20)
	for i := range kills {
		one, two := launch(t, nil, a...), launch(t, nil, b...)
		instant(t)
		one.Kill()
		instant(t)
		two.Kill()
		if i%10 == 9 {
			server.Kill()
			server.Start(t)
		}
	}
	t.Logf("after %d kills of two bridges the stream is at %s", kills, fleettest.Cursor(t.Context(), stream, host))
	launch(t, nil, a...)
	cursor, n := stop()
	check(t, stream, cursor, n)
}

// TestStoppedBridge stops a bridge, lets another one take over, and then lets the first one continue.
func TestStoppedBridge(t *testing.T) {
	e, server := fleettest.StartEventd(t, 1_000_000), fleettest.StartServer(t, "")
	stream := server.MakeStream(t, func(c *jetstream.StreamConfig) { c.Duplicates = 500 * time.Millisecond })
	a, b := bridge(t, server, e.Bus.Address()), bridge(t, server, e.Bus.Address())
	stop := produce(t, e)
	// moved waits until the stream has a new message.
	moved := func() {
		was := fleettest.Cursor(t.Context(), stream, host)
		apitest.Eventually(t, "the stream has a new message", func() bool {
			is := fleettest.Cursor(t.Context(), stream, host)
			return is != "" && is != was
		})
	}
	for range min(daemontest.Kills(t, 3), 20) {
		zombie := launch(t, nil, a...)
		moved()
		zombie.Signal(t, syscall.SIGSTOP)
		other := launch(t, nil, b...)
		moved()
		moved()
		zombie.Signal(t, syscall.SIGCONT)
		moved()
		other.Kill()
		moved()
		zombie.Kill()
	}
	launch(t, nil, a...)
	cursor, n := stop()
	check(t, stream, cursor, n)
}

// TestEventdKilled kills the daemon while the bridge forwards. The daemon keeps its log.
func TestEventdKilled(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	server, ns, dir := fleettest.StartServer(t, ""), nstest.New(t), t.TempDir()
	stream := server.MakeStream(t, nil)
	launch(t, nil, bridge(t, server, bus.Address())...)
	n, cursor := 0, ""
	for range min(daemontest.Kills(t, 5), 20) {
		d := daemontest.Start(t, programs, ns, bus.Address(), nil, "--state-dir", dir)
		c := d.Client(t)
		report := func() {
			for range 50 {
				if _, err := c.Report(t.Context(), "x", nil); err != nil {
					t.Fatal(err)
				}
				n++
			}
			p, err := c.Properties(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			cursor = p.Text("Cursor")
		}
		report()
		fleettest.AwaitCursor(t, stream, host, cursor) // the bridge follows
		report()
		c.Close()
		d.Kill()
	}
	daemontest.Start(t, programs, ns, bus.Address(), nil, "--state-dir", dir)
	check(t, stream, cursor, n)
}
