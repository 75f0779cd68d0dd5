package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/osctl/eventd/cmd/internal/daemontest"
	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/cttest"
	"github.com/osctl/eventd/netwatch/links"
)

// TestContainerCannotFlood renames the interface of an LXC container at full speed, as the
// container's root can. The interface stays within its budget of events and signals, its last
// name is announced, and events of other containers still come.
func TestContainerCannotFlood(t *testing.T) {
	const renames, others = 10000, 5
	h := cttest.NewHost(t)
	bus := bustest.Start(t, bustest.Broker, bustest.PolicyOpen)
	d := startOnBus(t, h, bus)
	signals := receiveSignals(t, bus, ",arg0='ct_netif'")
	a := follow(t, d, h.Exec)
	c := h.LXC(t, cttest.LXCConfig{ID: "flood", Interfaces: []cttest.Interface{{Pair: "ct-flood"}}})
	must(t, c.Start())
	eth0 := iface{pool: "lxc", id: "flood", name: "eth0", veth: "ct-flood"}.at(t, h.NS())
	a.expect("start", eth0.event("up"))

	rename := newRenamer(t, c)
	var done atomic.Int64
	var stop atomic.Bool
	ended := make(chan error, 1)
	go func() {
		for !stop.Load() || done.Load() < renames {
			if err := rename(fmt.Sprint("f", done.Add(1)%2)); err != nil {
				ended <- err
				return
			}
		}
		ended <- nil
	}()
	for i := range others {
		id := fmt.Sprint("other", i)
		p := startProcess(t, h, "/lxc.payload."+id, syscall.CLONE_NEWNET, "sleep", "infinity")
		p.addVeth(t, h.NS(), "v"+id)
		for _, action := range []string{"up", "down"} {
			if !a.readUntil(func() bool {
				return slices.ContainsFunc(a.events, func(e *hub.Event) bool {
					return e.Action == action && e.ID == id && e.Options.Text("veth") == "v"+id
				})
			}) {
				t.Fatalf("no event for the %s of %s", action, id)
			}
			p.kill()
		}
	}
	stop.Store(true)
	must(t, <-ended)
	must(t, rename("last0"))
	apitest.Eventually(t, "ListInterfaces has the last name", func() bool {
		rows, _, err := a.client.Interfaces(t.Context(), hub.Filter{})
		must(t, err)
		return slices.ContainsFunc(rows, func(row hub.Interface) bool { return row.ID == "flood" && row.Name == "last0" })
	})
	all := a.readNow()
	must(t, d.Cmd.Process.Signal(syscall.SIGTERM))
	d.Wait(t)
	announced := signals()

	var flood []*hub.Event
	counted := 0 // renames announced or coalesced
	for _, e := range all {
		if eth0.isOf(e) {
			flood = append(flood, e)
			coalesced, _ := e.Options.Get("coalesced")
			counted += 1 + int(coalesced.Uint())
			if !announced[e.Seq] {
				t.Errorf("no signal for %s", formatFull(e))
			}
		}
	}
	last := flood[len(flood)-1]
	allowed := links.InterfaceBudget.Burst + int(last.Time.Sub(flood[0].Time)/links.InterfaceBudget.Every) + 2
	if len(flood) > allowed {
		t.Errorf("%d events exceed the budget of %d", len(flood), allowed)
	}
	if counted < renames/10 || counted > int(done.Load())+10 || last.Options.Text("new_name") != "last0" {
		t.Errorf("the container made %d renames, the events account for %d; the last event is %s", done.Load(), counted, formatFull(last))
	}
	if n := len(all) + a.marks; len(announced) > n+10 { // a few more, such as the down of the container at the end
		t.Errorf("%d signals for %d events", len(announced), n)
	}
	t.Logf("%d renames, %d announced or coalesced, %d events, budget %d", done.Load(), counted, len(flood), allowed)
}

// newRenamer returns a function that renames the interface of a container from inside.
func newRenamer(t *testing.T, c *cttest.LXC) (rename func(name string) error) {
	t.Helper()
	pid, err := c.InitPID()
	must(t, err)
	ns, err := netns.GetFromPid(pid)
	must(t, err)
	defer func() { _ = ns.Close() }()
	handle, err := netlink.NewHandleAt(ns)
	must(t, err)
	t.Cleanup(handle.Close)
	eth0, err := handle.LinkByName("eth0")
	must(t, err)
	return func(name string) error { return handle.LinkSetName(eth0, name) }
}

// startOnBus is [startOnHost] on a bus that outlives the daemon.
func startOnBus(t *testing.T, h *cttest.Host, bus *bustest.Bus) *daemonProcess {
	t.Helper()
	cmd := h.Command("nice", "--adjustment=-20", filepath.Join(programs, "osctl-eventd"), "--bus", bus.Address(), "--state-dir", stateNone)
	d := &daemonProcess{daemontest.Run(t, cmd, (*exec.Cmd).Start, bus.Address())}
	d.WaitForService(t)
	return d
}
