package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/osctl/eventd/netwatch/cttest"
)

// TestLXC follows containers with osctld's cgroups, and with LXC's default ones.
func TestLXC(t *testing.T) {
	for name, conf := range map[string]cttest.LXCConfig{
		"privileged": {Pool: "tank", ID: "101", Interfaces: []cttest.Interface{{Pair: "ct-101", Bridge: "br0"}, {}}},
		"mapped":     {Pool: "tank", ID: "102", Interfaces: []cttest.Interface{{Pair: "ct-102"}, {Bridge: "br0"}}, Mapped: true},
		"default":    {ID: "web.example.org", Interfaces: []cttest.Interface{{Pair: "web0"}, {}}},
	} {
		t.Run(name, func(t *testing.T) { followLXC(t, conf) })
	}
}

func followLXC(t *testing.T, conf cttest.LXCConfig) {
	h := cttest.NewHost(t)
	a := follow(t, startOnHost(t, h), h.Exec)
	c := h.LXC(t, conf)
	pool := cmp.Or(conf.Pool, "lxc")
	interfaces := func() (all [2]iface) {
		for n := range all {
			name := fmt.Sprintf("eth%d", n)
			veth, err := c.Veth(name)
			must(t, err)
			all[n] = iface{pool: pool, id: conf.ID, name: name, veth: veth}.at(t, h.NS())
		}
		return all
	}

	must(t, c.Start())
	eth := interfaces()
	if eth[0].veth != conf.Interfaces[0].Pair {
		t.Fatalf("the host end of eth0 is named %s", eth[0].veth)
	}
	a.expect("start", eth[0].event("up"), eth[1].event("up"))
	for n := range eth {
		a.flip(&eth[n], c.Exec)
	}
	must(t, h.NS().Rename(eth[0].ifindex, "renamed0"))
	a.expect("rename of the host end", eth[0].renamedOnHost("renamed0"))

	monitor := monitorLinks(t, h)
	must(t, c.Reboot())
	again := interfaces()
	if again[0].veth != conf.Interfaces[0].Pair || again[0].ifindex == eth[0].ifindex {
		t.Errorf("the host end of eth0 is %s, ifindex %d, after a reboot", again[0].veth, again[0].ifindex)
	}
	events := a.expect("reboot", eth[0].event("down"), eth[1].event("down"), again[0].event("up"), again[1].event("up"))
	// LXC deletes the old host end of eth1 before it starts the container again. It does not find
	// the renamed host end of eth0. The kernel deletes that one together with the dead namespace,
	// sometimes after the new one is up.
	for n, mayBeLate := range []bool{true, false} {
		late := slices.IndexFunc(events, eth[n].isOf) > slices.IndexFunc(events, again[n].isOf)
		if late && (!mayBeLate || !monitor.deletedLate(t, eth[n].ifindex, again[n].ifindex)) {
			t.Errorf("reboot: the new eth%d is up before the old one is down, unlike in the kernel", n)
		}
	}

	must(t, c.Kill())
	a.expect("kill", again[0].event("down"), again[1].event("down"))
	must(t, c.Start())
	eth = interfaces()
	a.expect("start after kill", eth[0].event("up"), eth[1].event("up"))
	must(t, c.Stop())
	a.expect("stop", eth[0].event("down"), eth[1].event("down"))
	a.finish()
}

func TestPodman(t *testing.T) {
	h := cttest.NewHost(t)
	a := follow(t, startOnHost(t, h), h.Exec)
	c := h.Podman(t)
	for _, end := range []func() error{c.Stop, c.Kill} {
		eth0 := startPodman(t, a, h, c)
		a.expect("start", eth0.event("up"))
		a.flip(&eth0, c.Exec)
		must(t, end())
		a.expect("end", eth0.event("down"))
	}
	a.finish()
}

// startPodman starts the container. Podman sets the interface up before the container's cgroup
// has a process. On a busy machine the up may be announced before that, without an owner. Then
// startPodman starts the container again, up to ten times in all.
func startPodman(t *testing.T, a *follower, h *cttest.Host, c *cttest.Podman) iface {
	t.Helper()
	for tries := 1; ; tries++ {
		must(t, c.Start())
		veth, err := c.Veth("eth0")
		must(t, err)
		eth0 := iface{pool: "podman", id: c.ID(), name: "eth0", veth: veth}.at(t, h.NS())
		if !a.readUntil(func() bool { return len(a.events) > 0 }) || a.events[0].ID != "" || tries == 10 {
			return eth0
		}
		t.Log("podman was too slow: the up has no owner")
		must(t, c.Kill())
		a.readNow()
	}
}

func TestNamedNamespace(t *testing.T) {
	h := cttest.NewHost(t)
	a := follow(t, startOnHost(t, h), h.Exec)
	for range 2 { // the second namespace reuses the name of the first
		n := h.NetNS(t, "blue")
		must(t, n.Veth("vblue", "eth0"))
		eth0 := iface{pool: "netns", id: "blue", name: "eth0", veth: "vblue"}.at(t, h.NS())
		must(t, h.NS().Up(eth0.ifindex))
		a.expect("down inside from the beginning")
		run := func(args ...string) (string, error) { return n.Exec(args[0], args[1:]...) }
		_, err := run("ip", "link", "set", "eth0", "up")
		must(t, err)
		a.expect("up", eth0.event("up"))
		a.flip(&eth0, run)
		must(t, h.NS().Rename(eth0.ifindex, "vgreen"))
		a.expect("rename of the host end", eth0.renamedOnHost("vgreen"))
		must(t, n.Delete())
		a.expect("delete", eth0.event("down"))
	}
	a.finish()
}

// TestNspawn follows a systemd-nspawn container in a system booted by systemd. The host end of its
// veth is down until the test sets it up.
func TestNspawn(t *testing.T) {
	m := cttest.BootSystemd(t, cttest.MachineConfig{})
	a := follow(t, startInMachine(t, m), m.Exec)
	c := m.Nspawn(t, "bb")
	for _, end := range []func() error{c.Stop, c.Kill} {
		must(t, c.Start())
		out, err := m.Exec("cat", "/sys/class/net/"+c.Veth()+"/ifindex")
		must(t, err)
		host0 := iface{pool: "machine", id: "bb", name: "host0", veth: c.Veth()}
		host0.ifindex, err = strconv.Atoi(strings.TrimSpace(out))
		must(t, err)
		_, err = c.Exec("ip", "link", "set", "host0", "up")
		must(t, err)
		a.expect("start, and up inside")
		must(t, a.ip("link", "set", c.Veth(), "up"))
		a.expect("up on the host", host0.event("up"))
		a.flip(&host0, c.Exec)
		must(t, a.ip("link", "set", c.Veth(), "down"))
		a.expect("down on the host", host0.event("down"))
		must(t, a.ip("link", "set", c.Veth(), "up"))
		a.expect("up on the host again", host0.event("up"))
		must(t, end())
		a.expect("end", host0.event("down"))
	}
	a.finish()
}
