package dbusapi

import (
	"sync"
	"testing"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

// While one user floods with 200 connections, another user, and another connection of the same user, are
// neither refused nor starved. The flood waits for answers, because other calls queue up in the bus.
func TestManyConnectionsFlood(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		const connections, window, reports = 200, 4, 10
		h := apitest.NewHub(t, hub.Config{History: 64})
		s := serve(t, bus, h)
		session := s.current.Load()
		same, other := bus.ClientAs(t, bustest.NobodyUID), bus.ClientAs(t, 0)
		stop := make(chan struct{})
		var floods sync.WaitGroup
		for range connections {
			stream := apitest.OpenStream(t, bus, bustest.NobodyUID)
			floods.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					for serial := range uint32(window) {
						m := apitest.ReportCall("load", "pool", "tank", "id", "101")
						m.Serial = serial + 1
						stream.Send(t, m)
					}
					for range window {
						stream.Reply(t)
					}
				}
			})
		}
		apitest.Eventually(t, "the flood arrives", func() bool { return h.Status().Last > 1000 })
		for range reports {
			apitest.OK(t, same, apitest.ReportCall("same"))
			apitest.OK(t, other, apitest.ReportCall("other"))
			if _, bytes, _ := session.bus.Waiting(); bytes > 80<<20 {
				t.Fatalf("%d MiB of calls wait", bytes>>20)
			}
		}
		close(stop)
		floods.Wait()
		if n := h.Counters()["events_other"]; n != reports {
			t.Errorf("%d reports of the other user were accepted, want %d", n, reports)
		}
		if s.current.Load() != session {
			t.Error("the bus was lost")
		}
	})
}
