package containers

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/netwatch/nstest"
)

// TestUsers expects containers below a delegated cgroup in a pool of the user, and containers below the
// container of the system to count as that container.
func TestUsers(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	given := filepath.Join(root, "user.slice/user-1000.slice/user@1000.service")
	must(t, os.MkdirAll(given, 0o755))
	tracker := trackerIn(t, ns, Config{Cgroup: root})
	ctx, cancel := context.WithCancel(t.Context())
	var ended sync.WaitGroup
	ended.Go(func() { tracker.Run(ctx, nil, nil) })
	defer ended.Wait()
	defer cancel()
	must(t, os.Chown(given, 1000, 1000)) // after the Tracker has seen it, as systemd does
	n := 0
	start := func(cgroup, want string) {
		t.Helper()
		n++
		s := sleepIn(t, filepath.Join(root, cgroup))
		wants(t, tracker, vethTo(t, ns, fmt.Sprint("v", n), s.pid()), want)
	}
	start("lxc.payload.web", "lxc:web")
	start("user.slice/user-1000.slice/user@1000.service/lxc.payload.web", "lxc@1000:web")
	start("user.slice/user-1000.slice/user@1000.service/user.slice/libpod-"+testID+".scope", "podman@1000:"+testID)
	start("lxc.payload.outer/lxc.payload.web", "lxc:outer")
	owned := filepath.Join(root, "osctl/pool.tank/ct.101/user-owned")
	must(t, os.MkdirAll(owned, 0o755))
	must(t, os.Chown(owned, 2000, 2000))
	start("osctl/pool.tank/ct.101/user-owned/lxc.payload.101", "tank:101")
	must(t, os.MkdirAll(filepath.Join(root, "lxc.payload.mapped"), 0o755))
	must(t, os.Chown(filepath.Join(root, "lxc.payload.mapped"), 100000, 100000))
	start("lxc.payload.mapped/init.scope", "lxc:mapped")
	for i := range maxPerUser + 50 {
		must(t, os.Mkdir(filepath.Join(given, fmt.Sprint("lxc.payload.x", i)), 0o755))
	}
	start("lxc.payload.late", "lxc:late")
	count := func() int {
		tracker.mu.Lock()
		defer tracker.mu.Unlock()
		for tracker.readWatches(tracker.users) {
		}
		return tracker.usageOf(1000).containers
	}
	if n := count(); n != maxPerUser {
		t.Errorf("%d containers of a user, want %d", n, maxPerUser)
	}
	if lines := tracker.Missing(); len(lines) != 0 {
		t.Errorf("missing: %q", lines)
	}
}

// TestUserChanges expects the containers in a cgroup, and below it, to be those of the user that it was given to
// last.
func TestUserChanges(t *testing.T) {
	for _, below := range []string{"", "web-a.slice/web-a-b.slice"} {
		ns, root := nstest.New(t), cgroupRoot(t)
		tracker := trackerIn(t, ns, Config{Cgroup: root})
		ctx, cancel := context.WithCancel(t.Context())
		var ended sync.WaitGroup
		ended.Go(func() { tracker.runQueries(ctx) })
		given, nsids := filepath.Join(root, "web.slice"), map[string]int32{}
		for i, user := range []int{1000, 2000, 3000, 0, 1000} {
			must(t, os.MkdirAll(filepath.Join(given, below), 0o755))
			must(t, exec.Command("chown", "-R", fmt.Sprint(user), given).Run())
			id := strings.Repeat(fmt.Sprint(i), 64)
			s := sleepIn(t, filepath.Join(given, below, "libpod-"+id+".scope"))
			nsids[id] = vethTo(t, ns, fmt.Sprint("v", i), s.pid())
			tracker.mu.Lock()
			if i == 2 { // the cgroup is listed before the event is read
				for n := range maps.Clone(tracker.containers) {
					tracker.list(n.parent)
				}
			}
			tracker.readWatches(tracker.system)
			for tracker.readWatches(tracker.users) {
			}
			watched, containers := len(tracker.system.nodes)+len(tracker.users.nodes), len(tracker.containers)
			tracker.mu.Unlock()
			pool := "podman"
			if user != 0 {
				pool = fmt.Sprint("podman@", user)
			}
			for id, nsid := range nsids {
				wants(t, tracker, nsid, pool+":"+id)
			}
			tracker.mu.Lock()
			for uid, u := range tracker.perUser {
				if (u.cgroups+u.containers > 0) != (int(uid) == user) {
					t.Errorf("%s: user %d has %d cgroups and %d containers", pool, uid, u.cgroups, u.containers)
				}
			}
			tracker.mu.Unlock()
			if want := 2 + strings.Count(below, ".slice"); watched != want || containers != i+1 {
				t.Errorf("%s: %d cgroups and %d containers are known, want %d and %d", pool, watched, containers, want, i+1)
			}
		}
		cancel()
		ended.Wait()
	}
}

// TestOverflow expects containers to be found after events were lost.
func TestOverflow(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	tracker := trackerIn(t, ns, Config{Cgroup: root})
	a := sleepIn(t, filepath.Join(root, "deep.slice/deep-er.slice/lxc.payload.a"))
	nsid := vethTo(t, ns, "v", a.pid())
	tracker.mu.Lock()
	discard(t, tracker.system)
	tracker.mu.Unlock()
	wants(t, tracker, nsid, "")
	tracker.mu.Lock()
	tracker.handleEvents(tracker.system, []byte("\xff\xff\xff\xff\x00\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	tracker.mu.Unlock()
	wants(t, tracker, nsid, "lxc:a")
}

// TestMissedEvent expects an owner to be found without an event about its processes.
func TestMissedEvent(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	tracker := trackerIn(t, ns, Config{Cgroup: root})
	dir := filepath.Join(root, "lxc.payload.a")
	must(t, os.Mkdir(dir, 0o755))
	wants(t, tracker, 4711, "") // reads the events
	tracker.mu.Lock()
	for _, c := range tracker.containers {
		tracker.unwatchEvents(c)
	}
	tracker.mu.Unlock()
	s := sleepIn(t, dir)
	wants(t, tracker, vethTo(t, ns, "v", s.pid()), "lxc:a")
}

// TestWithoutInotify expects searches to find containers, and expects a line of Missing.
func TestWithoutInotify(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	tracker := trackerIn(t, ns, Config{Cgroup: root})
	tracker.mu.Lock()
	must(t, tracker.system.close())
	tracker.system = &watches{err: unix.EMFILE, nodes: map[int32]*node{}, files: map[int32]*container{}}
	tracker.updateMissingWatches()
	tracker.mu.Unlock()
	if lines := tracker.Missing(); len(lines) != 1 || lines[0] != missingLines[missingWatch]+" (too many open files)" {
		t.Errorf("missing: %q", lines)
	}
	s := sleepIn(t, filepath.Join(root, "lxc.payload.a"))
	wants(t, tracker, vethTo(t, ns, "v", s.pid()), "lxc:a")
}

// TestRun expects Run to report a new nsid and the end of a container, without a call of Owner.
func TestRun(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	tracker := trackerIn(t, ns, Config{Cgroup: root})
	type call struct {
		c    Container
		nsid int32
	}
	calls := make(chan call, 100)
	ctx, cancel := context.WithCancel(t.Context())
	var ended sync.WaitGroup
	ended.Go(func() { tracker.Run(ctx, func(c Container, nsid int32) { calls <- call{c, nsid} }, nil) })
	defer ended.Wait()
	defer cancel()
	dir := filepath.Join(root, "lxc.payload.a")
	must(t, os.Mkdir(dir, 0o755)) // some time before the first process
	s := sleepIn(t, filepath.Join(root, "start.slice"))
	want := call{Container{"lxc", "a"}, vethTo(t, ns, "v", s.pid())} // before it enters, because Run asks only for some seconds
	must(t, os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Append(nil, s.pid()), 0o644))
	if got := <-calls; got != want {
		t.Errorf("changed was called with %v, want %v", got, want)
	}
	s.stop()
	must(t, unix.Rmdir(dir))
	if got := <-calls; got != want {
		t.Errorf("changed was called with %v at the end, want %v", got, want)
	}
}

// TestAskedAgain expects a container to be asked until it has an nsid, which it gets only after its cgroup has a
// process, and not after the last pause.
func TestAskedAgain(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	s := sleepIn(t, filepath.Join(root, "lxc.payload.a"))
	tracker := trackerIn(t, ns, Config{Cgroup: root})
	var reported []int32
	tracker.mu.Lock()
	defer tracker.mu.Unlock()
	tracker.onNSID = func(_ Container, nsid int32) { reported = append(reported, nsid) }
	for _, c := range tracker.containers {
		tracker.queueQuery(c)
	}
	now := time.Now()
	for tries := 0; ; tries++ {
		next := tracker.queryPending(now)
		if next.IsZero() {
			if want := len(askPauses); tries != want {
				t.Errorf("asked again %d times, want %d", tries, want)
			}
			break
		}
		now = next
	}
	for _, c := range tracker.containers {
		tracker.queueQuery(c)
	}
	next := tracker.queryPending(now)
	nsid := vethTo(t, ns, "v", s.pid())
	if tracker.queryPending(next); !slices.Equal(reported, []int32{nsid}) {
		t.Errorf("changed was called with %v, want %d", reported, nsid)
	}
}

// helperMonitor is the variable that makes the test binary the monitor of a container; see TestMonitor.
const helperMonitor = "CONTAINERS_TEST_MONITOR"

// helperNamespaces is the variable with the namespaces of that container.
const helperNamespaces = "CONTAINERS_TEST_NAMESPACES"

func monitor(dir string) {
	f, err := os.Open(dir)
	if err != nil {
		os.Exit(1)
	}
	cmd := exec.Command("sleep", "300")
	flags, _ := strconv.ParseUint(os.Getenv(helperNamespaces), 10, 32)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: uintptr(flags), UseCgroupFD: true, CgroupFD: int(f.Fd()), Pdeathsig: unix.SIGKILL}
	if cmd.Start() == nil {
		fmt.Println(cmd.Process.Pid)
		_ = cmd.Wait()
	}
}

// TestMonitor expects the name of a container whose cgroup ends in a number to come from its monitor, also if the
// container has the host's pid namespace.
func TestMonitor(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	tracker := trackerIn(t, ns, Config{Cgroup: root})
	for i, c := range []struct {
		title, cgroup, want string
		namespaces          int
	}{
		{"[lxc monitor] /var/lib/lxc web", "lxc.payload.web-1", "lxc:web", newNet | newPid},
		{"[lxc monitor] /var/lib/lxc web-2", "lxc.payload.web-2", "lxc:web-2", newNet | newPid},
		{"[lxc monitor] /var/lib/lxc other", "lxc.payload.web-3", "lxc:web-3", newNet | newPid},
		{"[lxc monitor] /var/lib/lxc we", "lxc.payload.web-7", "lxc:web-7", newNet | newPid},
		{"something else web", "lxc.payload.web-4", "lxc:web-4", newNet | newPid},
		{"[lxc monitor] /var/lib/lxc web", "lxc.payload.web-5", "lxc:web", newNet},
		{"something else web", "lxc.payload.web-6", "", newNet},
	} {
		dir := filepath.Join(root, c.cgroup)
		must(t, os.Mkdir(dir, 0o755))
		cmd := exec.Command("/proc/self/exe")
		cmd.Args = []string{c.title}
		cmd.Env = []string{helperMonitor + "=" + dir, fmt.Sprint(helperNamespaces, "=", c.namespaces), "PATH=" + os.Getenv("PATH")}
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		var pid int
		_, err = fmt.Fscan(out, &pid)
		must(t, err)
		wants(t, tracker, vethTo(t, ns, fmt.Sprint("v", i), pid), c.want)
		must(t, unix.Kill(pid, unix.SIGKILL))
		must(t, cmd.Wait())
	}
}

// startFalseMonitor has root of a container hide the init, and start a process whose parent has the command line of
// another container's monitor. It returns the init.
func startFalseMonitor(t *testing.T, ct string) sleeper {
	t.Helper()
	for i := range maxInside {
		must(t, os.MkdirAll(filepath.Join(ct, fmt.Sprintf("a%02d", i)), 0o755))
	}
	seen := filepath.Join(ct, "init.scope/cgroup.procs")
	must(t, os.Mkdir(filepath.Dir(seen), 0o755))
	init := startIn(t, filepath.Join(ct, "z"), newNet|newPid, "bash", "-c",
		`exec -a "[lxc monitor] /var/lib/lxc" bash -c "(echo 0 >`+seen+`; exec sleep 300) & wait" web`)
	eventually(t, func() bool { pids, err := os.ReadFile(seen); return err == nil && len(pids) > 0 })
	return init
}

// TestFalseMonitor starts a Tracker after startFalseMonitor. It expects neither an owner nor a state with the other
// name.
func TestFalseMonitor(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	init := startFalseMonitor(t, filepath.Join(root, "lxc.payload.web-1"))
	nsid := vethTo(t, ns, "v", init.pid())
	tracker := trackerIn(t, ns, Config{Cgroup: root})
	wants(t, tracker, nsid, "")
	if got := tracker.Begin(running(Container{"lxc", "web-1"})); len(got) != 0 {
		t.Errorf("states %v", got)
	}
	l := &listener{Tracker: tracker, t: t, states: make(chan StateChange, 1000)}
	l.run()
	l.ends(root)
	init.stop()
	l.wants("lxc:web-1 running stopped")
}
