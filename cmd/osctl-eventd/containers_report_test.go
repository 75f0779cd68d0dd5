package main

import (
	"testing"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/cttest"
	"github.com/osctl/eventd/netwatch/nstest"
)

// report reports a change of an interface like a container manager.
func (a *follower) report(action string, i iface) {
	a.t.Helper()
	_, err := a.client.Report(a.t.Context(), hub.TypeNetif, hub.Options{
		{Name: "pool", Value: hub.String(i.pool)},
		{Name: "id", Value: hub.String(i.id)},
		{Name: "action", Value: hub.String(action)},
		{Name: "name", Value: hub.String(i.name)},
		{Name: "veth", Value: hub.String(i.veth)},
	})
	must(a.t, err)
}

// TestReportedOwner reports the owner of a veth that the watcher cannot find, because the
// namespace has no name and no process.
func TestReportedOwner(t *testing.T) {
	h := cttest.NewHost(t)
	a := follow(t, startOnHost(t, h), h.Exec)
	for _, first := range []string{"veth", "report"} {
		inside := nstest.New(t)
		eth0 := iface{pool: "tank", id: "7", name: "eth0", veth: "bound0", boundBy: "uid:0"}
		if first == "report" {
			a.report("add", eth0)
		}
		ifindex, err := h.NS().Pair("bound0", "eth0", inside)
		must(t, err)
		eth0.ifindex = ifindex
		if first == "veth" {
			a.report("up", eth0)
		}
		run := func(args ...string) (string, error) {
			return h.Exec("nsenter", append([]string{"--net=" + inside.Path(), "--"}, args...)...)
		}
		must(t, h.NS().Up(ifindex))
		_, err = run("ip", "link", "set", "eth0", "up")
		must(t, err)
		a.expect("up with the reported owner, "+first+" first", eth0.event("up"))
		a.flip(&eth0, run)
		must(t, h.NS().Rename(ifindex, "bound1"))
		a.expect("rename of the host end", eth0.renamedOnHost("bound1"))
		must(t, h.NS().Delete(ifindex))
		a.expect("delete", eth0.event("down"))
	}

	inside := nstest.New(t)
	ifindex, err := h.NS().Pair("bound1", "eth0", inside)
	must(t, err)
	eth0 := iface{name: "eth0", veth: "bound1", ifindex: ifindex}
	must(t, h.NS().Up(ifindex))
	peer, err := inside.Index("eth0")
	must(t, err)
	must(t, inside.Up(peer))
	a.expect("another veth of the same name", eth0.event("up"))
	must(t, h.NS().Delete(ifindex))
	a.expect("delete of the other veth", eth0.event("down"))
	a.finish()
}

// TestReportAgainstCgroup reports a false owner: the owner found by the cgroup wins.
func TestReportAgainstCgroup(t *testing.T) {
	h := cttest.NewHost(t)
	a := follow(t, startOnHost(t, h), h.Exec)
	c := h.LXC(t, cttest.LXCConfig{Pool: "tank", ID: "8", Interfaces: []cttest.Interface{{Pair: "ct-8"}}})
	must(t, c.Start())
	found := iface{pool: "tank", id: "8", name: "eth0", veth: "ct-8"}.at(t, h.NS())
	a.expect("start", found.event("up"))
	lie := found
	lie.pool, lie.id = "dozer", "nine"
	a.report("up", lie)
	a.flip(&found, c.Exec)
	must(t, c.Reboot())
	before := found
	found = found.at(t, h.NS())
	a.expect("reboot", before.event("down"), found.event("up"))
	must(t, c.Kill())
	a.expect("kill", found.event("down"))
	a.finish()
}
