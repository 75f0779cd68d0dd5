package eventlog_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/osctl/eventd/hub"
)

// BenchmarkCommit commits one event at a time, with and without a log.
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
				h, err = hub.New(b.Context(), hub.Config{})
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

// BenchmarkReplay opens a full log of default size, once with events of usual size, and once with events
// that reach its limit in bytes.
func BenchmarkReplay(b *testing.B) {
	for name, padding := range map[string]int{"usual": 0, "large": 1500} {
		b.Run(name, func(b *testing.B) { benchReplay(b, padding) })
	}
}

func benchReplay(b *testing.B, padding int) {
	const stored = 5*hub.DefaultHistory/4 - 1 // the most events that a log keeps
	c := config(b.TempDir())
	o := open(b, c)
	for i := range stored {
		e := event(b, i)
		if padding > 0 {
			options := append(slices.Clone(e.Options), hub.Option{Name: "padding", Value: hub.Bytes(make([]byte, padding))})
			var err error
			e, err = hub.NewEvent(e.Type, options, e.Source)
			must(b, err)
		}
		_, err := o.Commit(hub.Batch{Events: []*hub.Event{e}})
		must(b, err)
	}
	o.Close()
	var spent time.Duration
	b.ReportAllocs()
	for b.Loop() {
		started := time.Now()
		o := open(b, c)
		spent += time.Since(started)
		b.StopTimer()
		o.Close()
		b.StartTimer()
	}
	b.ReportMetric(float64(stored)*float64(b.N)/spent.Seconds(), "events/s")
	b.ReportMetric(float64(spent.Milliseconds())/float64(b.N), "ms/open")
}
