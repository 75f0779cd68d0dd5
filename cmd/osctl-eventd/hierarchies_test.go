package main

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/osctl/eventd/netwatch/cttest"
)

// TestHierarchies follows LXC containers on hosts with cgroups v1 and with hybrid cgroups.
func TestHierarchies(t *testing.T) {
	for _, cgroups := range []cttest.Cgroups{cttest.V1, cttest.Hybrid} {
		t.Run(string(cgroups), func(t *testing.T) {
			h := cttest.NewHostWith(t, cgroups)
			a := follow(t, startOnHost(t, h), h.Exec)
			for pool, conf := range map[string]cttest.LXCConfig{
				"tank": {Pool: "tank", ID: "101", Interfaces: []cttest.Interface{{Pair: "ct-101"}}},
				"lxc":  {ID: "web.example.org", Interfaces: []cttest.Interface{{Pair: "web0"}}, Mapped: true},
			} {
				c := h.LXC(t, conf)
				for range 2 {
					must(t, c.Start())
					expectCgroups(t, c, cgroups)
					eth0 := iface{pool: pool, id: conf.ID, name: "eth0", veth: conf.Interfaces[0].Pair}.at(t, h.NS())
					a.expect("start", eth0.event("up"))
					a.flip(&eth0, c.Exec)
					must(t, c.Kill())
					a.expect("kill", eth0.event("down"))
				}
			}
			a.finish()
		})
	}
}

// expectCgroups checks that a container is in exactly the hierarchies that the host has.
func expectCgroups(t *testing.T, c *cttest.LXC, cgroups cttest.Cgroups) {
	t.Helper()
	pid, err := c.InitPID()
	must(t, err)
	lines := cgroupLines(t, pid)
	for line, want := range map[string]bool{":name=systemd:": true, "0::": cgroups == cttest.Hybrid} {
		for _, l := range lines {
			if strings.Contains(l, line) && strings.Contains(l, c.Cgroup()) != want {
				t.Errorf("on a host with %s: %s", cgroups, l)
			}
		}
	}
}

// cgroupLines returns the lines of /proc/PID/cgroup.
func cgroupLines(t *testing.T, pid int) []string {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	must(t, err)
	return strings.Split(string(text), "\n")
}
