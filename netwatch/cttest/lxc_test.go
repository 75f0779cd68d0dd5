package cttest

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestLXC(t *testing.T) {
	for name, conf := range map[string]LXCConfig{
		"osctld": {Pool: "tank", ID: "101", Interfaces: []Interface{{Pair: "ct-101", Bridge: "br0"}, {Name: "lan0"}}},
		"mapped": {Pool: "tank", ID: "102", Mapped: true, Interfaces: []Interface{{Pair: "ct-102"}, {Pair: "ct-102b"}}},
		"lxc":    {Interfaces: []Interface{{}}},
	} {
		t.Run(name, func(t *testing.T) {
			h := NewHost(t)
			c := h.LXC(t, conf)
			must(t, c.Start())
			pid := get(t, c.InitPID)
			want := "/lxc.payload." + c.ID()
			if conf.Pool != "" {
				want = "/osctl/pool.tank/group.default/user.1/ct." + c.ID() + "/user-owned/lxc.payload." + c.ID()
			}
			inCgroup(t, h, pid, want)

			veth := hostEnds(t, h, c, conf)
			carrier(t, h, veth, true)
			_, err := c.Exec("ip", "link", "set", "eth0", "down")
			must(t, err)
			carrier(t, h, veth, false)
			out, err := c.Exec("head", "-n1", "/proc/1/uid_map")
			must(t, err)
			if mapped := strings.Contains(out, "100000"); mapped != conf.Mapped {
				t.Errorf("uids are mapped: %v, want %v", mapped, conf.Mapped)
			}

			must(t, c.Reboot())
			if again := get(t, c.InitPID); again == pid {
				t.Error("process 1 is the same after a reboot:", pid)
			}
			veth = hostEnds(t, h, c, conf)
			carrier(t, h, veth, true)
			must(t, c.Stop())
			gone(t, h, veth)
			must(t, c.Start())
			veth = hostEnds(t, h, c, conf)
			must(t, c.Kill())
			gone(t, h, veth)
		})
	}
}

// hostEnds expects the host ends of the configuration, and returns that of eth0.
func hostEnds(t *testing.T, h *Host, c *LXC, conf LXCConfig) (eth0 string) {
	t.Helper()
	for n, i := range conf.Interfaces {
		name := i.Name
		if name == "" {
			name = fmt.Sprintf("eth%d", n)
		}
		veth, err := c.Veth(name)
		must(t, err)
		if i.Pair != "" && veth != i.Pair || i.Pair == "" && !strings.HasPrefix(veth, "veth") {
			t.Errorf("the host end of %s is %q, want %q", name, veth, i.Pair)
		}
		l, err := h.NS().Handle().LinkByName(veth)
		must(t, err)
		if inBridge := l.Attrs().MasterIndex != 0; inBridge != (i.Bridge != "") {
			t.Errorf("%s is in a bridge: %v", veth, inBridge)
		}
		if n == 0 {
			eth0 = veth
		}
	}
	return eth0
}

// TestLXCGoesFirst ends the test of a container before the test of its host. It expects
// the container to be gone and its name to be free.
func TestLXCGoesFirst(t *testing.T) {
	h := NewHost(t)
	conf := LXCConfig{ID: "a", Interfaces: []Interface{{Pair: "ct-a"}}}
	for range 2 {
		t.Run("", func(t *testing.T) {
			c := h.LXC(t, conf)
			must(t, c.Start())
		})
		gone(t, h, "ct-a")
		if _, err := os.Stat(h.CgroupRoot() + "/lxc.payload.a"); !errors.Is(err, os.ErrNotExist) {
			t.Error("the cgroup is still there:", err)
		}
	}
}
