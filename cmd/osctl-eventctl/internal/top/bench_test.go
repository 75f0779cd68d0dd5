package top

import (
	"fmt"
	"testing"
	"time"

	"github.com/gdamore/tcell/v2"

	"github.com/osctl/eventd/hub"
)

// BenchmarkPicture draws a state of 2,000 rows and 2,000 events.
func BenchmarkPicture(b *testing.B) {
	state := NewState(time.Now())
	var links []hub.Interface
	for i := range 2000 {
		links = append(links, hub.Interface{Ifindex: uint32(i), Veth: fmt.Sprintf("v%d", i), Pool: "tank", ID: fmt.Sprint(i), State: hub.LinkUp})
		state.AddEvents([]*hub.Event{event(uint64(i), fmt.Sprint(i), "running")})
	}
	setRows(state, links, nil)
	simulated := tcell.NewSimulationScreen("UTF-8")
	if err := simulated.Init(); err != nil {
		b.Fatal(err)
	}
	defer simulated.Fini()
	simulated.SetSize(200, 60)
	view := New(state, noHistory, true)
	b.ReportAllocs()
	for b.Loop() {
		view.Draw(simulated)
	}
}
