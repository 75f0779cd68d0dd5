package client

import (
	"context"
	"errors"
	"io"
	"strconv"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

// BenchmarkFollow reads events through a dbus-daemon, from a service in this process, and formats each as
// JSON: with [Follow], and with successive WaitEvents calls. The two take turns, so that other load on the
// machine affects both. An iteration is a turn of each.
func BenchmarkFollow(b *testing.B) {
	const events = 20_000
	bus := bustest.Start(b, bustest.Daemon, bustest.PolicyOpen)
	h := apitest.NewHub(b, hub.Config{History: events})
	serve(b, bus, h)
	for i := range events {
		id := strconv.Itoa(i % 100)
		apitest.Commit(b, h, 1, hub.TypeState, "pool", "tank", "id", id, "state", "running")
	}
	printer := &printer{epoch: apitest.Epoch(h), last: events}
	ways := []struct {
		name string
		read func()
	}{
		{"follow", func() { followAll(b, bus.Address(), printer) }},
		{"plain", func() { waitForAll(b, bus.Address(), printer) }},
	}
	for _, way := range ways {
		way.read() // the service encodes an event at its first read
	}
	spent := map[string]time.Duration{}
	b.ReportAllocs()
	for b.Loop() {
		for _, way := range ways {
			begin := time.Now()
			way.read()
			spent[way.name] += time.Since(begin)
		}
	}
	b.ReportMetric(0, "ns/op")
	for _, way := range ways {
		b.ReportMetric(events*float64(b.N)/spent[way.name].Seconds(), way.name+"-events/s")
	}
	b.ReportMetric(spent["plain"].Seconds()/spent["follow"].Seconds(), "follow/plain")
}

// printer does the work of a reader of events.
type printer struct {
	epoch string
	last  uint64
	line  []byte
}

// print reports whether it printed the last event.
func (p *printer) print(events []*hub.Event) bool {
	for _, e := range events {
		p.line = append(e.AppendJSON(p.line[:0], p.epoch), '\n')
		_, _ = io.Discard.Write(p.line)
	}
	return len(events) > 0 && events[len(events)-1].Seq == p.last
}

func followAll(b *testing.B, address string, p *printer) {
	err := Follow(context.Background(), Follower{Address: address, Cursor: hub.CursorOldest}, func(u Update) error {
		if p.print(u.Events) {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		b.Fatal(err)
	}
}

func waitForAll(b *testing.B, address string, p *printer) {
	c, err := Dial(context.Background(), address)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	for cursor := hub.CursorOldest; ; {
		next, events, err := c.WaitEvents(context.Background(), cursor, hub.Filter{}, 0, followWait)
		if err != nil {
			b.Fatal(err)
		}
		if p.print(events) {
			return
		}
		cursor = next
	}
}
