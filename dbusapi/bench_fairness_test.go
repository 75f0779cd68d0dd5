package dbusapi

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// fairTurn is how many calls are made in a turn. They are as many whatever b.N is: for the
// first 0.3 s or so a flood that waits for no replies is put off, see [pace], and turns
// shorter than that would measure nothing else.
const fairTurn = 200

// BenchmarkFairness measures what a reporter that floods costs another one: the median
// time of a call of Report by the other one, in turns without and with the flood. Each
// turn is compared with the one just before, as the machine is not as fast all the time;
// the median of that is reported. There are ten turns at least, so the time of an op says
// nothing. The flood and the other reporter are processes of their own, as they are in
// life. For comparison the same of two calls that we have no part in, see [benchCompared].
// A machine that has other work answers quiet calls faster, as it never sleeps, and
// flooded ones slower: measure on one that is idle.
//
// "All at once" is a flood of the bus: a dbus-daemon refuses what is beyond 128 calls
// without an answer, each with an error of its own, and has little time for others. The
// same flood at the bus itself, or at a name that nobody has, costs them as much or more.
func BenchmarkFairness(b *testing.B) {
	for _, kind := range bustest.Kinds() {
		for _, f := range floods() {
			b.Run(kind.String()+"/"+f.name, func(b *testing.B) {
				bus, service := benchServing(b, kind, nil)
				h := service.hub
				r := startReporter(b, bus)
				flood := startFlood(b, bus, bustest.NobodyUID, f.name)
				var quiets, floodeds []time.Duration // the medians
				var ratios [3][]float64
				var taken uint64
				var during time.Duration
				b.ResetTimer()
				for range max(b.N/fairTurn, 10) {
					quiet := r.timed(b, fairTurn)
					before := h.Status().Last
					flood.on(b)
					eventually(b, "the flood arrives", func() bool { return h.Status().Last > before+100 })
					from, begin := h.Status().Last, time.Now()
					flooded := r.timed(b, fairTurn)
					taken += h.Status().Last - from
					during += time.Since(begin)
					flood.off(b)
					quiets, floodeds = append(quiets, median(quiet[0])), append(floodeds, median(flooded[0]))
					for i := range ratios {
						ratios[i] = append(ratios[i], float64(median(flooded[i]))/float64(median(quiet[i])))
					}
					// Or the next quiet turn would be none, and the ratio too good.
					calm(b, service)
				}
				b.ReportMetric(micros(median(quiets)), "quiet-µs")
				b.ReportMetric(micros(median(floodeds)), "flooded-µs")
				for i, name := range comparedNames {
					b.ReportMetric(median(ratios[i]), name+"flooded/quiet")
				}
				b.ReportMetric(float64(taken)/during.Seconds(), "flood-events/s")
				for name, c := range h.Counters() {
					if name == counterOverLimit {
						b.ReportMetric(float64(c), name)
					}
				}
			})
		}
	}
}

// compared are the times of Report, and of calls to compare it with.
type compared [3][]time.Duration

var comparedNames = [3]string{"", "bus-", "peer-"}

// benchCompared starts a peer, and returns Report and two calls that we have no part in:
// one that the bus itself answers, which passes it once; and one like Report, to a service
// in another process that does nothing but reply, which passes it twice. What a flood
// costs these is the bus's, and the machine's, own share: no service could do better.
func benchCompared(b *testing.B, bus *bustest.Bus, c *Client) [3]func() error {
	b.Helper()
	benchEcho(b, bus)
	return comparedCalls(c)
}

func comparedCalls(c *Client) [3]func() error {
	ctx := context.Background()
	return [3]func() error{
		func() error {
			_, err := c.Report(ctx, hub.TypeNetif, benchOptions())
			return err
		},
		func() error { return c.conn.bus.BusObject().CallWithContext(ctx, busInterface+".GetId", 0).Err },
		func() error { return callPeer(ctx, c.conn) },
	}
}

// timed makes each call n times, one after the other, in any order, so that none keeps in
// step with what happens meanwhile.
func (t *compared) timed(n int, calls [3]func() error) error {
	for range n {
		for _, i := range rand.Perm(len(calls)) {
			start := time.Now()
			if err := calls[i](); err != nil {
				return err
			}
			t[i] = append(t[i], time.Since(start))
		}
	}
	return nil
}

// reporter is a process that makes calls when it is told to, and times them.
type reporter struct{ *child }

func startReporter(b *testing.B, bus *bustest.Bus) *reporter {
	b.Helper()
	benchEcho(b, bus)
	return &reporter{startChild(b, "DBUSAPI_TEST_REPORTER", bus.Address())}
}

// timed makes each call n times.
func (r *reporter) timed(b *testing.B, n int) (t compared) {
	b.Helper()
	r.tell(b, n, &t)
	return t
}

// reporterMain is the process of a reporter.
func reporterMain(address string) error {
	c, err := Dial(context.Background(), address)
	if err != nil {
		return err
	}
	defer c.Close()
	calls := comparedCalls(c)
	return obey(func(command string) (any, error) {
		n, err := strconv.Atoi(command)
		if err != nil {
			return nil, err
		}
		var t compared
		err = t.timed(n, calls)
		return t, err
	})
}

// callPeer makes the same call to the peer as Report is.
func callPeer(ctx context.Context, c *conn) error {
	h := &wire.Header{Destination: "org.example.Peer", Path: Path, Interface: Interface, Member: "Report", Signature: "sa{sv}"}
	m, err := c.call(ctx, h, func(e *wire.Encoder) {
		e.String(hub.TypeNetif)
		e.Options(benchOptions())
	})
	if err == nil && m.Type != wire.TypeReply {
		err = errors.New(m.ErrorName)
	}
	return err
}

// calm waits until nothing of a flood is left: in the bus, waiting for its turn, or
// among the signals that wait.
func calm(b *testing.B, service *Service) {
	b.Helper()
	ss := service.current.Load()
	last, same := uint64(0), 0
	eventually(b, "nothing is left of the flood", func() bool {
		ss.settle(b.Context()) // a round trip through the bus
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

func median[T cmp.Ordered](d []T) T {
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
// calls and at any moment; and the same of two calls that we have no part in. An op is a
// message of the campaign.
func BenchmarkHostileCampaign(b *testing.B) {
	for _, kind := range bustest.Kinds() {
		for name, uid := range campaignUsers() {
			b.Run(kind.String()+"/"+name, func(b *testing.B) {
				h := hostileServe(b, kind, bustest.PolicyRootOnly, campaignPolicy, benchEchoPolicy)
				calls := benchCompared(b, h.bus, dial(b, h.bus))
				var warm, quiet, during compared
				if err := cmp.Or(warm.timed(300, calls), quiet.timed(1000, calls)); err != nil {
					b.Fatal(err)
				}
				stop, stopped := make(chan struct{}), make(chan struct{})
				go func() {
					defer close(stopped)
					for {
						select {
						case <-stop:
							return
						default:
							if err := during.timed(1, calls); err != nil {
								b.Error(err)
								return
							}
						}
					}
				}()
				b.ResetTimer()
				sent, _ := h.campaign(b, uid, max(b.N, 1000))
				b.StopTimer()
				close(stop)
				<-stopped
				for i, name := range comparedNames {
					b.ReportMetric(float64(median(during[i]))/float64(median(quiet[i])), name+"calls-during/quiet")
					b.ReportMetric(float64(atAnyTime(during[i]))/float64(atAnyTime(quiet[i])), name+"time-during/quiet")
				}
				b.ReportMetric(float64(sent), "messages")
			})
		}
	}
}
