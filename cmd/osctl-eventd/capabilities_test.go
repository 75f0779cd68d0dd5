package main

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/netwatch"
	"github.com/osctl/eventd/netwatch/cttest"
)

// TestWithoutCapabilities checks that a daemon without some capabilities does what it can, and
// says once in the log and in Missing what it lacks. Root keeps its capabilities in the user
// namespaces of containers with mapped IDs, because root created these namespaces.
func TestWithoutCapabilities(t *testing.T) {
	const buffer, names, broadcast = "CAP_NET_ADMIN: the receive buffer", "CAP_NET_ADMIN over", "CAP_NET_BROADCAST: "
	for name, c := range map[string]struct {
		without string
		missing []string // the beginnings of the lines in Missing
		inside  string   // the known name of the interface of a privileged container started before the daemon
		hears   bool     // the daemon sees a rename inside
	}{
		"net_admin":     {"-net_admin", []string{buffer, names}, "", true},
		"net_broadcast": {"-net_broadcast", []string{broadcast}, "eth0", false},
		"sys_ptrace":    {"-sys_ptrace", nil, "eth0", true},
		"all":           {"-all", []string{buffer, broadcast, names}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			h := cttest.NewHost(t)
			start := func(id string, mapped bool) (*cttest.LXC, iface) {
				t.Helper()
				ct := h.LXC(t, cttest.LXCConfig{Pool: "tank", ID: id, Mapped: mapped, Interfaces: []cttest.Interface{{Pair: "ct-" + id}}})
				must(t, ct.Start())
				return ct, iface{pool: "tank", id: id, name: "eth0", veth: "ct-" + id}.at(t, h.NS())
			}
			ct, eth0 := start("1", false)
			waitOperState(t, h.NS(), netlink.OperUp, eth0.ifindex)
			// A later message of the kernel about the inner end would reveal its name.
			apitest.Eventually(t, "eth0 is up inside as well", func() bool {
				state, err := ct.Exec("cat", "/sys/class/net/eth0/operstate")
				must(t, err)
				return strings.TrimSpace(state) == "up"
			})
			eth0.name = c.inside
			// With a high priority, as by startOnHost, because an up waits only a limited time for its owner.
			d := startWith(t, h, "nice", "--adjustment=-20", "setpriv", "--bounding-set="+c.without, "--inh-caps="+c.without)
			a := follow(t, d, h.Exec)
			a.expect("started before the daemon", eth0.event("up")+" resync=true")
			a.renameInside(ct, eth0, c.hears)
			ct, eth0 = start("2", true)
			a.expect("start of a container with mapped IDs", eth0.event("up"))
			a.renameInside(ct, eth0, c.hears)
			d.expectMissing(t, slices.DeleteFunc(c.missing, func(line string) bool { return line == buffer && largeBuffers(t) }))
		})
	}
}

// renameInside sets an interface down and renames it. heard is whether the daemon sees the
// rename. The down reveals the name inside if it was unknown.
func (a *follower) renameInside(ct *cttest.LXC, i iface, heard bool) {
	a.t.Helper()
	_, err := ct.Exec("ip", "link", "set", "eth0", "down")
	must(a.t, err)
	a.expect("down inside", i.event("down"))
	_, err = ct.Exec("ip", "link", "set", "eth0", "name", "lan0")
	must(a.t, err)
	if heard {
		i.name = "eth0"
		a.expect("renamed inside", i.renamed("lan0"))
	} else {
		a.expect("renamed inside without an event")
	}
	must(a.t, ct.Kill())
}

// largeBuffers reports whether the daemon gets its receive buffer without CAP_NET_ADMIN.
func largeBuffers(t testing.TB) bool {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/net/core/rmem_max")
	must(t, err)
	limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
	must(t, err)
	return limit >= netwatch.DefaultReceiveBuffer
}

// expectMissing checks that the lines in Missing begin with want, and that each line was logged
// once.
func (d *daemonProcess) expectMissing(t testing.TB, want []string) {
	t.Helper()
	lines := d.missing(t)
	if !slices.EqualFunc(lines, want, strings.HasPrefix) {
		t.Errorf("Missing is %q, want lines that begin with %q", lines, want)
	}
	for _, line := range lines {
		if n := strings.Count(d.Err.String(), line); n != 1 {
			t.Errorf("logged %d times, want once: %s", n, line)
		}
	}
	if n := strings.Count(d.Err.String(), "level=WARN"); n != len(want) {
		t.Errorf("%d warnings, want %d", n, len(want))
	}
}

// missing returns the lines of the property Missing.
func (d *daemonProcess) missing(t testing.TB) []string {
	t.Helper()
	p, err := d.Client(t).Properties(t.Context())
	must(t, err)
	v, _ := p.Get("Missing")
	var lines []string
	for _, line := range v.Items() {
		lines = append(lines, line.Text())
	}
	return lines
}
