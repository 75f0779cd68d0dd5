package dbusapi

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

// BenchmarkFairness measures what a reporter that floods costs another one: the median
// time of a call of Report by the other one, in turns without and with the flood. The
// flood comes from a process of its own. For comparison the same of a call that the
// bus itself answers: what the flood costs in the bus, before anything reaches us.
func BenchmarkFairness(b *testing.B) {
	for _, kind := range bustest.Kinds() {
		for _, f := range floods() {
			b.Run(kind.String()+"/"+f.name, func(b *testing.B) {
				bus, service := benchServing(b, kind, nil)
				h := service.hub
				victim := dial(b, bus)
				flood := startFlood(b, bus, bustest.NobodyUID, f.name)
				ctx := context.Background()
				report := func() error {
					_, err := victim.Report(ctx, hub.TypeNetif, benchOptions())
					return err
				}
				own := func() error {
					return victim.conn.bus.BusObject().CallWithContext(ctx, busInterface+".GetId", 0).Err
				}
				const turns = 10
				n := max(b.N/turns, 20)
				var quiet, flooded, busQuiet, busFlooded []time.Duration
				var taken uint64
				b.ResetTimer()
				for range turns {
					quiet = append(quiet, timed(b, n, report)...)
					busQuiet = append(busQuiet, timed(b, n, own)...)
					before := h.Status().Last
					flood.on(b)
					eventually(b, "the flood arrives", func() bool { return h.Status().Last > before+100 })
					flooded = append(flooded, timed(b, n, report)...)
					busFlooded = append(busFlooded, timed(b, n, own)...)
					flood.off(b)
					taken += h.Status().Last - before
					// Or the next quiet turn would be none, and the ratio too good.
					calm(b, service, own)
				}
				b.ReportMetric(micros(median(quiet)), "quiet-µs")
				b.ReportMetric(micros(median(flooded)), "flooded-µs")
				b.ReportMetric(float64(median(flooded))/float64(median(quiet)), "flooded/quiet")
				b.ReportMetric(float64(median(busFlooded))/float64(median(busQuiet)), "bus-flooded/quiet")
				b.ReportMetric(float64(taken)/turns, "flood-events/turn")
				for name, c := range h.Counters() {
					if name == "calls_refused" {
						b.ReportMetric(float64(c), name)
					}
				}
			})
		}
	}
}

// calm waits until nothing of a flood is left: in the bus, waiting for its turn, or
// among the signals that wait.
func calm(b *testing.B, service *Service, own func() error) {
	b.Helper()
	ss := service.current.Load()
	last, same := uint64(0), 0
	eventually(b, "nothing is left of the flood", func() bool {
		if err := own(); err != nil { // a round trip through the bus
			b.Fatal(err)
		}
		ss.work.mu.Lock()
		waiting := len(ss.work.senders)
		ss.work.mu.Unlock()
		ss.conn.out.mu.Lock()
		waiting += len(ss.conn.out.replies) + len(ss.conn.out.signals)
		if ss.conn.out.busy {
			waiting++
		}
		ss.conn.out.mu.Unlock()
		now := service.hub.Status().Last
		if _, sent := service.sub.Position(); waiting > 0 || sent != now || now != last {
			last, same = now, 0
		} else {
			same++
		}
		return same == 50
	})
}

// timed makes n calls one after the other and returns how long each took.
func timed(b *testing.B, n int, call func() error) []time.Duration {
	b.Helper()
	took := make([]time.Duration, n)
	for i := range took {
		start := time.Now()
		if err := call(); err != nil {
			b.Fatal(err)
		}
		took[i] = time.Since(start)
	}
	return took
}

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}

// atAnyTime is the median weighted with time: half of the time is spent in calls that
// take longer. A median of calls looks at the good moments most, as that is when
// most calls are made.
func atAnyTime(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	var all, sum time.Duration
	for _, one := range d {
		all += one
	}
	for _, one := range d {
		if sum += one; sum >= all/2 {
			return one
		}
	}
	return 0
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// BenchmarkHostileCampaign measures what the campaign of [TestHostileCampaign] costs
// another client: the median time of its call during it and before, of all
// calls and at any moment. An op is a message.
func BenchmarkHostileCampaign(b *testing.B) {
	for _, kind := range bustest.Kinds() {
		for name, uid := range campaignUsers() {
			b.Run(kind.String()+"/"+name, func(b *testing.B) {
				h := hostileServe(b, kind, bustest.PolicyRootOnly, campaignPolicy)
				victim := dial(b, h.bus)
				report := func() error {
					_, err := victim.Report(context.Background(), hub.TypeNetif, benchOptions())
					return err
				}
				timed(b, 300, report) // until all is warm
				quiet := timed(b, 1000, report)
				stop, during := make(chan struct{}), make(chan []time.Duration, 1)
				go func() {
					var took []time.Duration
					for {
						select {
						case <-stop:
							during <- took
							return
						default:
						}
						start := time.Now()
						if err := report(); err != nil {
							b.Error("another client:", err)
						}
						took = append(took, time.Since(start))
					}
				}()
				b.ResetTimer()
				sent, _ := h.campaign(b, uid, max(b.N, 1000))
				b.StopTimer()
				close(stop)
				took := <-during
				b.ReportMetric(float64(median(took))/float64(median(quiet)), "calls-during/quiet")
				b.ReportMetric(float64(atAnyTime(took))/float64(atAnyTime(quiet)), "time-during/quiet")
				b.ReportMetric(float64(sent), "messages")
			})
		}
	}
}
