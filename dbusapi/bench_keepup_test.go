package dbusapi

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

// subscriber is a process that takes all signals.
type subscriber struct{ *child }

// signalCount is how many signals came to a subscriber.
type signalCount struct{ Events, Lapped uint64 }

func startSubscriber(tb testing.TB, bus *bustest.Bus) *subscriber {
	tb.Helper()
	s := &subscriber{startChild(tb, "DBUSAPI_TEST_SUBSCRIBER", bus.Address())}
	s.count(tb) // it has subscribed
	return s
}

func (s *subscriber) count(tb testing.TB) (n signalCount) {
	tb.Helper()
	s.tell(tb, "count", &n)
	return n
}

// all waits until every event there is came to the subscriber, or was told to be lapped.
func (s *subscriber) all(tb testing.TB, h *hub.Hub) (n signalCount) {
	tb.Helper()
	eventually(tb, "all signals came", func() bool {
		n = s.count(tb)
		return n.Events+n.Lapped == h.Status().Last
	})
	return n
}

// subscriberMain is the process of a subscriber.
func subscriberMain(address string) error {
	var mu sync.Mutex
	var n signalCount
	c, err := dialConn(context.Background(), address, connConfig{maxBody: clientMaxBody, handle: func(_ *conn, m *message) {
		mu.Lock()
		defer mu.Unlock()
		switch m.Member {
		case "Event":
			n.Events++
		case "Lapped":
			d := m.decoder()
			first := d.Uint64()
			n.Lapped += d.Uint64() - first + 1
		}
	}})
	if err != nil {
		return err
	}
	defer c.close()
	if err := c.bus.BusObject().Call(busInterface+".AddMatch", 0, "type='signal',interface='"+Interface+"'").Err; err != nil {
		return err
	}
	return obey(func(string) (any, error) {
		mu.Lock()
		defer mu.Unlock()
		return n, nil
	})
}

// BenchmarkKeepUp measures how many signals of reporters that flood are left out, by one
// or by two of them, for two seconds each. Those that wait for answers should lose none;
// nobody slows those down that do not, and batches have far more events than calls.
func BenchmarkKeepUp(b *testing.B) {
	for _, kind := range bustest.Kinds() {
		for _, f := range floods() {
			for _, users := range [][]uint32{{bustest.NobodyUID}, {bustest.NobodyUID, 0}} {
				b.Run(fmt.Sprintf("%v/%s/%d", kind, f.name, len(users)), func(b *testing.B) {
					bus, service := benchServing(b, kind, nil)
					h := service.hub
					s := startSubscriber(b, bus)
					var floods []*flood
					for _, uid := range users {
						floods = append(floods, startFlood(b, bus, uid, f.name))
					}
					var events, lapped, taken uint64
					var during time.Duration
					b.ResetTimer()
					for range b.N {
						before, from, start := s.all(b, h), h.Status().Last, time.Now()
						for _, f := range floods {
							f.on(b)
						}
						time.Sleep(2 * time.Second)
						taken += h.Status().Last - from
						during += time.Since(start)
						for _, f := range floods {
							f.off(b)
						}
						calm(b, service)
						n := s.all(b, h)
						events += n.Events - before.Events
						lapped += n.Lapped - before.Lapped
					}
					b.ReportMetric(float64(lapped)/float64(events+lapped), "lapped/event")
					b.ReportMetric(float64(taken)/during.Seconds(), "events/s")
				})
			}
		}
	}
}
