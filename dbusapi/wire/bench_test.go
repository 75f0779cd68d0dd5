package wire

import (
	"testing"
	"time"

	"github.com/osctl/eventd/hub"
)

// benchEvent returns an event like those of the netlink watcher.
func benchEvent(b *testing.B) *hub.Event {
	b.Helper()
	event, err := hub.NewEvent(hub.TypeNetif, hub.Options{
		{Name: "pool", Value: hub.String("tank")},
		{Name: "id", Value: hub.String("101")},
		{Name: "action", Value: hub.String("up")},
		{Name: "name", Value: hub.String("eth0")},
		{Name: "veth", Value: hub.String("veth-101-0")},
		{Name: "ifindex", Value: hub.Uint32(12)},
	}, hub.SourceNetlink)
	if err != nil {
		b.Fatal(err)
	}
	event.Seq, event.Time = 4711, time.Now()
	return event
}

func BenchmarkEncodeEvent(b *testing.B) {
	event := benchEvent(b)
	b.ReportAllocs()
	for b.Loop() {
		EncodeEvent(event)
	}
}

func BenchmarkDecoderOptions(b *testing.B) {
	e := NewEncoder(nil)
	e.Options(benchEvent(b).Options)
	body := string(e.Bytes)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		d := NewDecoder(body, false)
		d.Options(hub.TypeNetif)
		if err := d.Finish(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecoderEvents reads replies of 1,000 events; an operation is one event.
func BenchmarkDecoderEvents(b *testing.B) {
	const events = 1000
	event := benchEvent(b)
	all := make([]*hub.Event, events)
	for i := range all {
		all[i] = event
	}
	e := NewEncoder(nil)
	e.Events(all)
	body := string(e.Bytes)
	b.ReportAllocs()
	b.SetBytes(int64(len(body) / events))
	b.ResetTimer()
	for n := 0; n < b.N; n += events {
		d := NewDecoder(body, false)
		if got := d.Events(); d.Finish() != nil || len(got) != events {
			b.Fatal(d.Err())
		}
	}
}
