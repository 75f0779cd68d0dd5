package eventlog_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/osctl/eventd/hub"
)

// BenchmarkCommit is the price of durability for one event in the hub alone.
func BenchmarkCommit(b *testing.B) {
	for _, with := range []bool{false, true} {
		b.Run(fmt.Sprintf("log=%v", with), func(b *testing.B) {
			var h *hub.Hub
			if with {
				o := open(b, config(b.TempDir()))
				o.run()
				h = o.Hub
			} else {
				var err error
				h, err = hub.New(hub.Config{})
				must(b, err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := h.Commit(hub.Batch{Events: []*hub.Event{event(b, 1)}}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkReplay opens a log of default size that is full.
func BenchmarkReplay(b *testing.B) {
	c := config(b.TempDir())
	o := open(b, c)
	const stored = 5*hub.DefaultHistory/4 - 1 // as much as there ever is
	o.fill(b, stored)
	o.Close()
	var spent time.Duration
	events := 0
	b.ReportAllocs()
	for b.Loop() {
		started := time.Now()
		o := open(b, c)
		spent += time.Since(started)
		events += stored
		b.StopTimer()
		o.Close()
		b.StartTimer()
	}
	b.ReportMetric(float64(events)/spent.Seconds(), "events/s")
	b.ReportMetric(float64(spent.Milliseconds())/float64(b.N), "ms/open")
}
