package dbusapi

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

// BenchmarkFairness measures Report calls of one user during a flood of another: the median of a call, in
// turns without and with the flood. The flood and the reporter are processes of their own. Much of the time
// is spent by the bus, which passes on the flood.
func BenchmarkFairness(b *testing.B) {
	const turn, turns = 200, 5
	for _, kind := range bustest.Kinds() {
		for _, name := range []string{"100 pending", "batches of 1,000", "no replies"} {
			b.Run(kind.String()+"/"+name, func(b *testing.B) {
				bus, h := benchService(b, kind)
				r := &reporter{startChild(b, "DBUSAPI_TEST_REPORTER", bus.Address())}
				flood := startFlood(b, bus, bustest.NobodyUID, name)
				var quiet, flooded []time.Duration
				var ratios []float64
				b.ResetTimer()
				for range turns {
					q := median(r.timed(b, turn))
					before := h.Status().Last
					flood.on(b)
					apitest.Eventually(b, "the flood arrives", func() bool { return h.Status().Last > before+100 })
					f := median(r.timed(b, turn))
					flood.off(b)
					quiet, flooded, ratios = append(quiet, q), append(flooded, f), append(ratios, float64(f)/float64(q))
					r.timed(b, 1) // until the rest of the flood is handled
				}
				b.ReportMetric(float64(median(quiet).Microseconds()), "quiet-µs")
				b.ReportMetric(float64(median(flooded).Microseconds()), "flooded-µs")
				b.ReportMetric(median(ratios), "flooded/quiet")
			})
		}
	}
}

// reporter is a process that makes and times calls on command.
type reporter struct{ *child }

// timed makes n successive calls, and returns the time of each.
func (r *reporter) timed(b *testing.B, n int) (took []time.Duration) {
	b.Helper()
	r.command(b, n, &took)
	return took
}

// reporterMain is the main function of a reporter.
func reporterMain(address string) error {
	c, err := client.Dial(context.Background(), address)
	if err != nil {
		return err
	}
	defer c.Close()
	return serveCommands(func(command string) (any, error) {
		n, err := strconv.Atoi(command)
		if err != nil {
			return nil, err
		}
		took := make([]time.Duration, n)
		for i := range took {
			start := time.Now()
			if _, err := c.Report(context.Background(), hub.TypeNetif, benchOptions()); err != nil {
				return nil, err
			}
			took[i] = time.Since(start)
		}
		return took, nil
	})
}

func median[T cmp.Ordered](d []T) T {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}
