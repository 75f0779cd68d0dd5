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

// stateFollower reads the events of one container: its states and its interfaces.
type stateFollower struct {
	t        *testing.T
	daemon   *daemonProcess
	client   *client.Client
	pool, id string
	filter   hub.Filter
	cursor   string
	actions  []string // of the events since the last step
}

func followStates(t *testing.T, d *daemonProcess, pool, id string) *stateFollower {
	t.Helper()
	l := &stateFollower{t: t, daemon: d, client: d.Client(t), pool: pool, id: id, cursor: hub.CursorOldest}
	var err error
	l.filter, err = hub.Filter{}.With("type", hub.TypeState, hub.TypeNetif)
	must(t, err)
	return l
}

// expect reads events until their actions are exactly these, in this order.
func (l *stateFollower) expect(step string, want ...string) {
	l.t.Helper()
	l.readUntil(step, want, func() bool { return slices.Equal(l.actions, want) })
}

// expectSet is expect for actions in any order; want is sorted. At the end of a container the
// kernel deletes the interface some time after the last process.
func (l *stateFollower) expectSet(step string, want ...string) {
	l.t.Helper()
	l.readUntil(step, want, func() bool { return slices.Equal(slices.Sorted(slices.Values(l.actions)), want) })
}

func (l *stateFollower) readUntil(step string, want []string, enough func() bool) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), patience)
	defer cancel()
	for !enough() {
		next, events, err := l.client.WaitEvents(ctx, l.cursor, l.filter, 0, patience)
		if err != nil {
			l.t.Fatalf("%s: got events %q, want %q; the daemon %s", step, l.actions, want, l.daemon.processState())
		}
		l.cursor = next
		for _, e := range events {
			if e.Pool == l.pool && e.ID == l.id {
				l.actions = append(l.actions, e.Action)
			}
		}
	}
	l.actions = nil
}

// runContainer starts, freezes, thaws and ends a container, and checks the events and the state
// after each step.
func (l *stateFollower) runContainer(c freezer, end func() error) {
	l.t.Helper()
	must(l.t, c.Start())
	l.expect("start", "running", "up")
	l.expectState("running")
	must(l.t, c.Freeze())
	l.expect("freeze", "frozen")
	l.expectState("frozen")
	must(l.t, c.Thaw())
	l.expect("thaw", "running")
	must(l.t, end())
	l.expectSet("end", "down", "stopped")
	l.expectState("stopped")
}

// expectState checks the state that `osctl-eventctl wait` and ListContainers show.
func (l *stateFollower) expectState(state string) {
	l.t.Helper()
	out, err := runTool(l.t, filepath.Join(programs, "osctl-eventctl"), "--bus", l.daemon.Address, "wait", l.pool+":"+l.id, state, "--timeout=60s")
	if err != nil || strings.TrimSpace(out) != state {
		l.t.Errorf("wait prints %q, %v; want %s", out, err, state)
	}
	rows, _, err := l.client.Containers(l.t.Context(), hub.Filter{})
	must(l.t, err)
	if len(rows) != 1 || rows[0].State != state || rows[0].Source != hub.SourceCgroup || rows[0].ID != l.id {
		l.t.Errorf("ListContainers returns %+v, want one container that is %s", rows, state)
	}
}

func TestLifeOfLXC(t *testing.T) {
	h := cttest.NewHost(t)
	c := h.LXC(t, cttest.LXCConfig{ID: "web", Interfaces: []cttest.Interface{{Pair: "web0"}}})
	l := followStates(t, startOnHost(t, h), "lxc", "web")
	l.runContainer(c, c.Kill)
	l.runContainer(c, c.Stop)
}

func TestLifeOfPodman(t *testing.T) {
	h := cttest.NewHost(t)
	c := h.Podman(t)
	l := followStates(t, startOnHost(t, h), "podman", c.ID())
	l.runContainer(c, c.Kill)
	l.runContainer(c, c.Stop)
}

func TestLifeOfNspawn(t *testing.T) {
	m := cttest.BootSystemd(t, cttest.MachineConfig{})
	c := m.Nspawn(t, "bb")
	d := startInMachine(t, m)
	l := followStates(t, d, "machine", "bb")
	l.runContainer(nspawnWithLink{c, m}, c.Kill)
	l.runContainer(nspawnWithLink{c, m}, c.Stop)
}

// nspawnWithLink is a container whose Start also sets both ends of its interface up.
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

// TestLifeOnHybrid checks the states running and stopped on a hybrid host. Its freezer is that of
// v1, so there is no state frozen.
func TestLifeOnHybrid(t *testing.T) {
	h := cttest.NewHostWith(t, cttest.Hybrid)
	c := h.LXC(t, cttest.LXCConfig{ID: "web", Interfaces: []cttest.Interface{{Pair: "web0"}}})
	l := followStates(t, startOnHost(t, h), "lxc", "web")
	for range 2 {
		must(t, c.Start())
		l.expectSet("start", "running", "up") // the owner is found by v1
		l.expectState("running")
		must(t, c.Kill())
		l.expectSet("kill", "down", "stopped")
	}
}

// TestNoStates checks that the service announces no states of osctld's containers, which osctld
// reports itself, and none at all on v1.
func TestNoStates(t *testing.T) {
	for cgroups, conf := range map[cttest.Cgroups]cttest.LXCConfig{
		cttest.V2: {Pool: "tank", ID: "101", Interfaces: []cttest.Interface{{Pair: "web0"}}},
		cttest.V1: {ID: "web", Interfaces: []cttest.Interface{{Pair: "web0"}}},
	} {
		t.Run(string(cgroups), func(t *testing.T) {
			h := cttest.NewHostWith(t, cgroups)
			c := h.LXC(t, conf)
			l := followStates(t, startOnHost(t, h), cmp.Or(conf.Pool, "lxc"), conf.ID)
			must(t, c.Start())
			l.expect("start", "up")
			must(t, c.Kill())
			l.expect("kill", "down")
			properties, err := l.client.Properties(t.Context())
			must(t, err)
			missing, _ := properties.Get("Missing")
			if text := string(missing.AppendJSON(nil)); strings.Contains(text, "cgroup v2: not mounted") != (cgroups == cttest.V1) {
				t.Errorf("Missing is %s", text)
			}
		})
	}
}
