package dbusapi

import (
	"log/slog"
	"slices"
	"testing"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub/eventlog"
)

// BenchmarkReportDurable compares Report calls to a service with a log on disk and to one without, in turns.
// An op is a call to each.
func BenchmarkReportDurable(b *testing.B) {
	benchKinds(b, func(b *testing.B, kind bustest.Kind) {
		log, err := eventlog.Open(b.Context(), eventlog.Config{Dir: b.TempDir(), Boot: "this", Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.Fatal(err)
		}
		durableBus, h := benchServiceOf(b, kind, log)
		plainBus, _ := benchService(b, kind)
		durable := dialRaw(b, durableBus, wire.TypeReply)
		plain := dialRaw(b, plainBus, wire.TypeReply)
		const turn = 2000
		var ratios []float64
		var rate float64
		b.ResetTimer()
		for done := 0; done < b.N; done += turn {
			n := min(turn, b.N-done)
			without := benchCalls(b, plain, wire.Name, n)
			rate = benchCalls(b, durable, wire.Name, n)
			ratios = append(ratios, rate/without)
		}
		if !h.Status().Durable {
			b.Fatalf("status is %+v", h.Status())
		}
		slices.Sort(ratios)
		b.ReportMetric(ratios[len(ratios)/2], "with/without")
		b.ReportMetric(rate, "calls/s")
	})
}
