package netwatch

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/containers"
	"github.com/osctl/eventd/netwatch/cttest"
	"github.com/osctl/eventd/netwatch/links"
	"github.com/osctl/eventd/netwatch/nstest"
)

// stateHost is a namespace with cgroups of its own, and a hub with one watcher after another.
type stateHost struct {
	*testing.T // of the present watcher, or of the whole test
	whole      *testing.T
	ns         *nstest.NS
	view       *cttest.View
	hub        *hub.Hub
	events     *eventLog
	watcher    *Watcher // the present one
}

func newStateHost(t *testing.T) *stateHost {
	t.Helper()
	h := newHub(t)
	return &stateHost{T: t, whole: t, ns: nstest.New(t), view: cttest.NewView(t), hub: h, events: follow(t, h)}
}

// watch makes a watcher, calls do, runs the watcher, and calls during.
func (h *stateHost) watch(name string, do, during func()) {
	h.Helper()
	outer := h.T
	defer func() { h.T = outer }()
	h.Run(name, func(t *testing.T) {
		h.T = t
		var tracker *containers.Tracker
		var err error
		h.ns.Do(func() { tracker, err = containers.New(containers.Config{Cgroup: h.view.Dir, Netns: t.TempDir()}) })
		must(t, err)
		t.Cleanup(func() { must(t, tracker.Close()) })
		w := newWatcherIn(t, h.ns, &Config{Hub: h.hub, Owners: tracker})
		h.watcher = w
		do()
		run(t, w)
		during()
	})
}

// start starts a process in a cgroup, and returns a function that kills it.
func (h *stateHost) start(cgroup string) (kill func()) {
	h.Helper()
	path := filepath.Join(h.view.Dir, cgroup)
	must(h, os.MkdirAll(path, 0o755))
	dir, err := os.Open(path)
	must(h, err)
	defer dir.Close()
	cmd := exec.Command("sleep", "300")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	must(h, cmd.Start())
	var killed bool
	kill = func() {
		if !killed {
			killed = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	h.whole.Cleanup(kill)
	return kill
}

// freeze freezes a cgroup with "1", or thaws it with "0", and waits until the kernel has done that: a process must run
// before it is frozen.
func (h *stateHost) freeze(cgroup, to string) {
	h.Helper()
	dir := filepath.Join(h.view.Dir, cgroup)
	must(h, os.WriteFile(filepath.Join(dir, "cgroup.freeze"), []byte(to), 0))
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(filepath.Join(dir, "cgroup.events"))
		must(h, err)
		if strings.Contains(string(text), "frozen "+to) {
			return
		}
		if time.Now().After(end) {
			h.Fatalf("cgroup.events of %s is %q", cgroup, text)
		}
	}
}

// report reports a state, as a container manager does.
func (h *stateHost) report(pool, id, state string) {
	h.Helper()
	e, err := hub.NewEvent(hub.TypeState, hub.Options{
		{Name: "pool", Value: hub.String(pool)}, {Name: "id", Value: hub.String(id)}, {Name: "state", Value: hub.String(state)},
	}, "m.service")
	must(h, err)
	_, err = h.hub.Commit(hub.Batch{Events: []*hub.Event{e}})
	must(h, err)
}

// want waits for the states since the last call, and expects exactly these.
func (h *stateHost) want(want ...string) {
	h.Helper()
	before := len(h.events.events)
	for end := time.Now().Add(patience); len(h.events.read(h)) < before+len(want) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	var got []string
	for _, e := range h.events.events[before:] {
		line := fmt.Sprintf("%s:%s %s by %s", e.Pool, e.ID, e.Action, e.Source)
		if resync, _ := e.Options.Get("resync"); resync.Bool() {
			line += " resync"
		}
		got = append(got, line)
	}
	if !slices.Equal(got, want) {
		h.Errorf("states\n%q, want\n%q", got, want)
	}
}

// TestStatesOverRestarts expects changes while no watcher ran to be announced once, before the next one
// runs, and states that a manager reported not to be repeated.
func TestStatesOverRestarts(t *testing.T) {
	h := newStateHost(t)
	h.report("lxc", "gone", "running")
	h.report("lxc", "starts", "starting")
	h.report("tank", "101", "running")
	h.report("lxc", "known", "running")
	h.want("lxc:gone running by m.service", "lxc:starts starting by m.service", "tank:101 running by m.service", "lxc:known running by m.service")
	known, down := h.start("lxc.payload.known"), h.start("lxc.payload.down")
	h.watch("first", func() {
		h.want("lxc:down running by cgroup resync", "lxc:gone stopped by cgroup resync")
	}, func() {
		h.start("lxc.payload.starts")
		h.want("lxc:starts running by cgroup")
		h.report("lxc", "known", "frozen")
		h.want("lxc:known frozen by m.service")
		h.freeze("lxc.payload.known", "1")
		h.freeze("lxc.payload.starts", "1")
		h.want("lxc:starts frozen by cgroup")
	})
	down()
	must(t, os.Remove(filepath.Join(h.view.Dir, "lxc.payload.down")))
	h.watch("second", func() { h.want("lxc:down stopped by cgroup resync") }, func() {
		// Thaw first, because a frozen process that is killed may or may not be seen as running.
		h.freeze("lxc.payload.known", "0")
		h.want("lxc:known running by cgroup")
		known()
		h.want("lxc:known stopped by cgroup")
	})
	h.watch("third", func() { h.want() }, func() { h.want() })
}

// TestStatesThatFlap freezes and thaws a container faster than its budget allows. It expects changes to be
// left out and counted, the right state in the end, and no delay of another container.
func TestStatesThatFlap(t *testing.T) {
	h := newStateHost(t)
	flap := filepath.Join(h.view.Dir, "lxc.payload.flap")
	budget := links.Budget{Burst: 10, Every: time.Second} // which a busy machine exceeds, too
	h.watch("flap", func() { setBudgets(h.watcher, links.InterfaceBudget, budget) }, func() {
		started := time.Now()
		kill := h.start("lxc.payload.flap")
		freeze := func(to string) { must(h, os.WriteFile(filepath.Join(flap, "cgroup.freeze"), []byte(to), 0)) }
		announced := func() []*hub.Event {
			return slices.DeleteFunc(slices.Clone(h.events.read(h)), func(e *hub.Event) bool { return e.ID != "flap" })
		}
		omitted := uint64(0)
		for omitted < 5 {
			freeze("1")
			freeze("0")
			omitted = 0
			for _, e := range announced() {
				n, _ := e.Options.Get("coalesced")
				omitted += n.Uint()
			}
			if time.Since(started) > patience {
				h.Fatal("no change is left out")
			}
		}
		h.start("lxc.payload.other")
		before := len(h.events.events)
		for !slices.ContainsFunc(h.events.read(h)[before:], func(e *hub.Event) bool { return e.ID == "other" }) {
			freeze("1")
			freeze("0")
			if time.Since(started) > patience {
				h.Fatal("the state of the other container is not announced")
			}
		}
		kill()
		for events := announced(); events[len(events)-1].Action != "stopped"; events = announced() {
			if time.Since(started) > patience {
				h.Fatalf("the last state is %s", events[len(events)-1].Action)
			}
			time.Sleep(time.Millisecond)
		}
		events := announced()
		most := budget.Burst + int(time.Since(started)/budget.Every) + 1
		if len(events) > most {
			h.Errorf("%d events, at most %d are allowed", len(events), most)
		}
	})
}

// TestStatesOfManyUserContainers has a user start and end more containers, each with another name, than
// the budget of one container allows. It expects none of them to stay running.
func TestStatesOfManyUserContainers(t *testing.T) {
	h := newStateHost(t)
	const given = "user.slice/user-1000.slice/user@1000.service"
	must(t, os.MkdirAll(filepath.Join(h.view.Dir, given), 0o755))
	must(t, os.Chown(filepath.Join(h.view.Dir, given), 1000, 1000))
	h.watch("many", func() {}, func() {
		started := time.Now()
		for i := range 2 * links.ContainerBudget.Burst {
			cgroup := filepath.Join(given, fmt.Sprint("lxc.payload.x", i))
			h.start(cgroup)()
			must(h, os.Remove(filepath.Join(h.view.Dir, cgroup)))
		}
		h.start("lxc.payload.other")
		for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			rows, _ := h.hub.Containers()
			running := slices.DeleteFunc(rows, func(c hub.Container) bool { return c.State == "stopped" })
			if len(running) == 1 && running[0].ID == "other" && len(h.events.read(h)) > 2 {
				break
			}
			if time.Now().After(end) {
				h.Fatalf("running: %v", running)
			}
		}
		most := links.ContainerBudget.Burst + int(time.Since(started)/links.ContainerBudget.Every) + 1
		if n := len(h.events.read(h)) - 1; n > most {
			h.Errorf("%d events of the user's containers, at most %d are allowed", n, most)
		}
	})
}

// TestRebootAndCrash ends the service between New and Run after a reboot. It expects the next New not to
// announce running containers as stopped.
func TestRebootAndCrash(t *testing.T) {
	h := newStateHost(t)
	_, err := h.hub.Commit(hub.Batch{Place: "one/4026531840"})
	must(t, err)
	h.report("lxc", "web", "running")
	h.report("lxc", "mail", "running")
	h.want("lxc:web running by m.service", "lxc:mail running by m.service")
	h.start("lxc.payload.web")
	begin := func() {
		t.Helper()
		var tracker *containers.Tracker
		h.ns.Do(func() { tracker, err = containers.New(containers.Config{Cgroup: h.view.Dir, Netns: t.TempDir()}) })
		must(t, err)
		must(t, newWatcherIn(t, h.ns, &Config{Hub: h.hub, Owners: tracker, Boot: "two"}).Close())
		must(t, tracker.Close())
	}
	begin()
	h.want("lxc:mail stopped by cgroup resync", "lxc:web stopped by cgroup resync", "lxc:web running by cgroup resync")
	begin()
	h.want()
}
