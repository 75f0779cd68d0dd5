package main

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/cttest"
)

// freezer is a container of any runtime.
type freezer interface {
	Start() error
	Freeze() error
	Thaw() error
	Kill() error
	Stop() error
}

// life is what is said of one container, its states and its interfaces.
type life struct {
	t        *testing.T
	daemon   *daemonProcess
	client   *client.Client
	pool, id string
	filter   hub.Filter
	cursor   string
	lines    []string
}

func lifeOf(t *testing.T, d *daemonProcess, pool, id string) *life {
	t.Helper()
	l := &life{t: t, daemon: d, client: d.Client(t), pool: pool, id: id, cursor: hub.CursorOldest}
	var err error
	l.filter, err = hub.Filter{}.With("type", hub.TypeState, hub.TypeNetif)
	must(t, err)
	return l
}

// until reads until something is said, and wants just that, in this order.
func (l *life) until(step string, want ...string) {
	l.t.Helper()
	l.read(step, want, func() bool { return slices.Equal(l.lines, want) })
}

// untilAll is until for what comes in any order; want is sorted. At the end the kernel takes the
// interface away some time after the last process.
func (l *life) untilAll(step string, want ...string) {
	l.t.Helper()
	l.read(step, want, func() bool { return slices.Equal(slices.Sorted(slices.Values(l.lines)), want) })
}

func (l *life) read(step string, want []string, enough func() bool) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), patience)
	defer cancel()
	for !enough() {
		next, events, err := l.client.WaitEvents(ctx, l.cursor, l.filter, 0, patience)
		if err != nil {
			l.t.Fatalf("%s: said %q, want %q; the daemon: %s", step, l.lines, want, l.daemon.fate())
		}
		l.cursor = next
		for _, e := range events {
			if e.Pool == l.pool && e.ID == l.id {
				l.lines = append(l.lines, e.Action)
			}
		}
	}
	l.lines = nil
}

// lives has a container live, and wants each thing to be said once and in order, and wait to know.
func (l *life) lives(c freezer, end func() error) {
	l.t.Helper()
	must(l.t, c.Start())
	l.until("start", "running", "up")
	l.is("running")
	must(l.t, c.Freeze())
	l.until("freeze", "frozen")
	l.is("frozen")
	must(l.t, c.Thaw())
	l.until("thaw", "running")
	must(l.t, end())
	l.untilAll("end", "down", "stopped")
	l.is("stopped")
}

// is wants wait and the list to say what the state is.
func (l *life) is(state string) {
	l.t.Helper()
	out, err := tool(l.t, filepath.Join(programs, "osctl-eventctl"), "--bus", l.daemon.Address, "wait", l.pool+":"+l.id, state, "--timeout=60s")
	if err != nil || strings.TrimSpace(out) != state {
		l.t.Errorf("wait says %q, %v; want %s", out, err, state)
	}
	rows, _, err := l.client.Containers(l.t.Context(), hub.Filter{})
	must(l.t, err)
	if len(rows) != 1 || rows[0].State != state || rows[0].Source != hub.SourceCgroup || rows[0].ID != l.id {
		l.t.Errorf("the list is %+v, want one that is %s", rows, state)
	}
}

func TestLifeOfLXC(t *testing.T) {
	h := cttest.NewHost(t)
	c := h.LXC(t, cttest.LXCConfig{ID: "web", Interfaces: []cttest.Interface{{Pair: "web0"}}})
	l := lifeOf(t, daemonOn(t, h), "lxc", "web")
	l.lives(c, c.Kill)
	l.lives(c, c.Stop)
}

func TestLifeOfPodman(t *testing.T) {
	h := cttest.NewHost(t)
	c := h.Podman(t)
	l := lifeOf(t, daemonOn(t, h), "podman", c.ID())
	l.lives(c, c.Kill)
	l.lives(c, c.Stop)
}

func TestLifeOfNspawn(t *testing.T) {
	m := cttest.BootSystemd(t, cttest.MachineConfig{})
	c := m.Nspawn(t, "bb")
	d := daemonIn(t, m)
	l := lifeOf(t, d, "machine", "bb")
	l.lives(nspawnWithLink{c, m}, c.Kill)
	l.lives(nspawnWithLink{c, m}, c.Stop)
}

// nspawnWithLink is a container of which somebody sets the interface up, on both ends.
type nspawnWithLink struct {
	*cttest.Nspawn
	machine *cttest.Machine
}

func (c nspawnWithLink) Start() error {
	if err := c.Nspawn.Start(); err != nil {
		return err
	}
	_, inside := c.Exec("ip", "link", "set", "host0", "up")
	_, outside := c.machine.Exec("ip", "link", "set", c.Veth(), "up")
	return errors.Join(inside, outside)
}

// TestLifeOnHybrid wants no state frozen where the freezer is that of v1, and the others.
func TestLifeOnHybrid(t *testing.T) {
	h := cttest.NewHostWith(t, cttest.Hybrid)
	c := h.LXC(t, cttest.LXCConfig{ID: "web", Interfaces: []cttest.Interface{{Pair: "web0"}}})
	l := lifeOf(t, daemonOn(t, h), "lxc", "web")
	for range 2 {
		must(t, c.Start())
		l.untilAll("start", "running", "up") // the owner is found by v1
		l.is("running")
		must(t, c.Kill())
		l.untilAll("kill", "down", "stopped")
	}
}

// TestStatesAreReported wants no state of osctld's containers, and none at all on v1.
func TestStatesAreReported(t *testing.T) {
	for cgroups, conf := range map[cttest.Cgroups]cttest.LXCConfig{
		cttest.V2: {Pool: "tank", ID: "101", Interfaces: []cttest.Interface{{Pair: "web0"}}},
		cttest.V1: {ID: "web", Interfaces: []cttest.Interface{{Pair: "web0"}}},
	} {
		t.Run(string(cgroups), func(t *testing.T) {
			h := cttest.NewHostWith(t, cgroups)
			c := h.LXC(t, conf)
			l := lifeOf(t, daemonOn(t, h), cmp.Or(conf.Pool, "lxc"), conf.ID)
			must(t, c.Start())
			l.until("start", "up")
			must(t, c.Kill())
			l.until("kill", "down")
			properties, err := l.client.Properties(t.Context())
			must(t, err)
			missing, _ := properties.Get("Missing")
			if said := string(missing.AppendJSON(nil)); strings.Contains(said, "cgroup v2: not mounted") != (cgroups == cttest.V1) {
				t.Errorf("missing is %s", said)
			}
		})
	}
}
