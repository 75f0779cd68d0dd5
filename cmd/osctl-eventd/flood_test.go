package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/osctl/eventd/cmd/internal/daemontest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/cttest"
	"github.com/osctl/eventd/netwatch/links"
)

// TestContainerCannotFlood has root of an LXC container rename its interface at full speed. It wants no
// more events than the interface's budget, in the log and as signals, the last name in the end, and the
// events of other containers meanwhile.
func TestContainerCannotFlood(t *testing.T) {
	const renames, others = 10000, 5
	h := cttest.NewHost(t)
	bus := bustest.Start(t, bustest.Broker, bustest.PolicyOpen)
	d := daemonOnBus(t, h, bus)
	signals := receiveSignals(t, bus, ",arg0='ct_netif'")
	a := follow(t, d, h.Exec)
	c := h.LXC(t, cttest.LXCConfig{ID: "flood", Interfaces: []cttest.Interface{{Pair: "ct-flood"}}})
	must(t, c.Start())
	eth0 := iface{pool: "lxc", id: "flood", name: "eth0", veth: "ct-flood"}.at(t, h.NS())
	a.expect("start", eth0.says("up"))

	rename := renamer(t, c)
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
		p.plug(t, h.NS(), "v"+id)
		for _, action := range []string{"up", "down"} {
			if !a.readUntil(func() bool {
				return slices.ContainsFunc(a.events, func(e *hub.Event) bool {
					return e.Action == action && e.ID == id && e.Options.Text("veth") == "v"+id
				})
			}) {
				t.Fatalf("nothing is said of the %s of %s", action, id)
			}
			p.kill()
		}
	}
	stop.Store(true)
	must(t, <-ended)
	must(t, rename("last0"))
	until(t, "the list has the last name", func() bool {
		rows, _, err := a.client.Interfaces(t.Context(), hub.Filter{})
		must(t, err)
		return slices.ContainsFunc(rows, func(row hub.Interface) bool { return row.ID == "flood" && row.Name == "last0" })
	})
	all := a.upToNow()
	must(t, d.Cmd.Process.Signal(syscall.SIGTERM))
	d.Wait(t)
	announced := signals()

	var told []*hub.Event
	seen := 0
	for _, e := range all {
		if eth0.isOf(e) {
			told = append(told, e)
			coalesced, _ := e.Options.Get("coalesced")
			seen += 1 + int(coalesced.Uint())
			if !announced[e.Seq] {
				t.Errorf("no signal of %s", inFull(e))
			}
		}
	}
	last := told[len(told)-1]
	allowed := links.InterfaceBudget.Burst + int(last.Time.Sub(told[0].Time)/links.InterfaceBudget.Every) + 2
	if len(told) > allowed {
		t.Errorf("%d events, the budget is %d", len(told), allowed)
	}
	if seen < renames/10 || seen > int(done.Load())+10 || last.Options.Text("new_name") != "last0" {
		t.Errorf("%d renames; events tell or count %d of them; the last event is %s", done.Load(), seen, inFull(last))
	}
	if n := len(all) + a.marks; len(announced) > n+10 { // the down of the container at the end, and the like
		t.Errorf("%d signals, %d events", len(announced), n)
	}
	t.Logf("%d renames, %d told or counted, %d events, the budget is %d", done.Load(), seen, len(told), allowed)
}

// renamer returns what renames the interface of a container, as root in it can.
func renamer(t *testing.T, c *cttest.LXC) (rename func(name string) error) {
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

// daemonOnBus starts a daemon on a host of containers, on a bus that stays when it ends.
func daemonOnBus(t *testing.T, h *cttest.Host, bus *bustest.Bus) *daemonProcess {
	t.Helper()
	cmd := h.Command("nice", "--adjustment=-20", filepath.Join(programs, "osctl-eventd"), "--bus", bus.Address(), "--state-dir", stateNone)
	d := &daemonProcess{&daemontest.Daemon{Cmd: cmd, Address: bus.Address(), Stderr: &daemontest.Output{}, Ended: make(chan struct{})}}
	cmd.Stderr = d.Stderr
	must(t, cmd.Start())
	go func() {
		defer close(d.Ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-d.Ended
		if t.Failed() {
			t.Logf("the daemon said:\n%s", d.Stderr)
		}
	})
	d.WaitForService(t)
	return d
}
