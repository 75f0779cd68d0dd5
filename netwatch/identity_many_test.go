package netwatch

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/netwatch/nstest"
)

// TestManyStart starts many containers at once and expects each event with its owner.
func TestManyStart(t *testing.T) {
	const workers, each = 8, 25
	h := newHome(t)
	run(t, h.w)
	var mu sync.Mutex
	of := map[uint32]string{}
	var all sync.WaitGroup
	for n := range workers {
		all.Go(func() {
			for i := range each {
				id := fmt.Sprintf("%d-%d", n, i)
				ns, err := nstest.Open()
				if err != nil {
					t.Error(err)
					return
				}
				h.owners.set(id, ns)
				host, err := h.host.Pair("h"+id, "eth0", ns)
				peer, err2 := ns.Index("eth0")
				if err := errors.Join(err, err2, h.host.Up(host), ns.Up(peer)); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				of[uint32(host)] = id
				mu.Unlock()
				for up := false; !up; {
					l, err := h.host.Handle().LinkByIndex(host)
					up = err == nil && l.Attrs().RawFlags&unix.IFF_LOWER_UP != 0 && l.Attrs().OperState == netlink.OperUp
				}
				settle(t, h.w)
				h.owners.stop(id)
			}
		})
	}
	all.Wait()
	for h.hub.Status().Interfaces > 0 {
		settle(t, h.w)
	}
	events := h.events.read(t)
	for _, e := range events {
		if want := of[indexOf(e)]; e.ID != want || e.Options.Text("name") != "eth0" {
			t.Errorf("the owner is %s: %s", want, describe(e))
		}
	}
	foldAll(t, events)
	if len(events) != 2*workers*each {
		t.Errorf("%d events", len(events))
	}
}
