package main

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/osctl/eventd/netwatch"
	"github.com/osctl/eventd/netwatch/cttest"
)

// TestWithoutCapabilities starts a daemon that lacks capabilities, and wants it to do what it
// can, and to say once in the log and in its status what is missing. As root it has those
// over the namespaces of containers with mapped ids all the same, as who made these has.
func TestWithoutCapabilities(t *testing.T) {
	const buffer, names, broadcast = "CAP_NET_ADMIN: the receive buffer", "CAP_NET_ADMIN over", "CAP_NET_BROADCAST: "
	for name, c := range map[string]struct {
		without string
		missing []string // what the lines of the status begin with
		inside  string   // what the interface of a privileged container that was there before is called
		hears   bool     // a rename inside is heard
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
			// What the kernel says of the other end would tell its name.
			until(t, "eth0 is up inside, too", func() bool {
				state, err := ct.Exec("cat", "/sys/class/net/eth0/operstate")
				must(t, err)
				return strings.TrimSpace(state) == "up"
			})
			eth0.name = c.inside
			d := daemonBy(t, h, "setpriv", "--bounding-set="+c.without, "--inh-caps="+c.without)
			a := follow(t, d, h.Exec)
			a.expect("there before the daemon", eth0.says("up")+" resync=true")
			a.renameInside(ct, eth0, c.hears)
			ct, eth0 = start("2", true)
			a.expect("start of one with mapped ids", eth0.says("up"))
			a.renameInside(ct, eth0, c.hears)
			d.lacks(t, slices.DeleteFunc(c.missing, func(line string) bool { return line == buffer && largeBuffers(t) }))
		})
	}
}

// renameInside sets an interface down and renames it, which may be heard. With the first
// goes its name, if that was not known.
func (a *account) renameInside(ct *cttest.LXC, i iface, heard bool) {
	a.t.Helper()
	_, err := ct.Exec("ip", "link", "set", "eth0", "down")
	must(a.t, err)
	a.expect("down inside", i.says("down"))
	_, err = ct.Exec("ip", "link", "set", "eth0", "name", "lan0")
	must(a.t, err)
	if heard {
		i.name = "eth0"
		a.expect("renamed inside", i.renamed("lan0"))
	} else {
		a.expect("renamed inside, unheard")
	}
	must(a.t, ct.Kill())
}

// largeBuffers reports whether anybody may have as large a receive buffer as the daemon wants.
func largeBuffers(t testing.TB) bool {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/net/core/rmem_max")
	must(t, err)
	limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
	must(t, err)
	return limit >= netwatch.DefaultReceiveBuffer
}

// lacks wants the daemon to say that just this is missing, each once in the log. It gets
// what the lines begin with.
func (d *daemonProcess) lacks(t testing.TB, want []string) {
	t.Helper()
	lines := d.missing(t)
	if !slices.EqualFunc(lines, want, strings.HasPrefix) {
		t.Errorf("missing: %q, want %q", lines, want)
	}
	for _, line := range lines {
		if n := strings.Count(d.Stderr.String(), line); n != 1 {
			t.Errorf("%d times in the log: %s", n, line)
		}
	}
	if n := strings.Count(d.Stderr.String(), "level=WARN"); n != len(want) {
		t.Errorf("%d warnings", n)
	}
}

// missing returns what the daemon says that it has to do without.
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
