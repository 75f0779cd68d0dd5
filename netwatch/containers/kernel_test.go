package containers

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/netwatch/nstest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperMonitor); dir != "" {
		monitor(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// TestRules starts a container in a real cgroup for each rule, and gives it a veth.
func TestRules(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	tracker := trackerIn(t, ns, Config{Cgroup: root})
	for i, r := range rules() {
		s := sleepIn(t, filepath.Join(root, r.example))
		nsid := vethTo(t, ns, fmt.Sprintf("v%d", i), s.pid())
		wants(t, tracker, nsid, r.is.Pool+":"+r.is.ID)
	}
	if lines := tracker.Missing(); len(lines) != 0 {
		t.Errorf("missing: %q", lines)
	}
}

// vethTo makes a veth whose peer is in the namespace of a process, and returns the
// nsid of that namespace.
func vethTo(t testing.TB, ns *nstest.NS, name string, pid int) int32 {
	t.Helper()
	index, err := ns.Pair(name, name+"p", nil)
	must(t, err)
	peer, err := ns.Handle().LinkByName(name + "p")
	must(t, err)
	must(t, ns.Handle().LinkSetNsPid(peer, pid))
	link, err := ns.Handle().LinkByIndex(index)
	must(t, err)
	return int32(link.Attrs().NetNsID)
}

// mountOfV1 returns where a hierarchy of v1 is mounted; "" if it is not.
func mountOfV1(t *testing.T, controller string) string {
	mounts, err := readMounts("/proc/self/mountinfo")
	must(t, err)
	m := bestMount(mounts, func(m *mount) bool { return !m.v2 && slices.Contains(m.options, controller) })
	if m == nil {
		return ""
	}
	return m.dir
}

// TestV1 has a container only in a hierarchy of v1.
func TestV1(t *testing.T) {
	dir := mountOfV1(t, "name=systemd")
	if dir == "" {
		t.Log("no hierarchy of v1 is mounted, so this tests nothing") // as on a pure v2 system
		return
	}
	ns, root := nstest.New(t), cgroupIn(t, dir)
	tracker := trackerIn(t, ns, Config{Cgroup: root})
	if tracker.hierarchies[0].v2 {
		t.Errorf("hierarchy %+v", tracker.hierarchies[0])
	}
	s := sleeper{exec.Command("sleep", "300")}
	s.SysProcAttr = &syscall.SysProcAttr{Cloneflags: newNet | newPid}
	must(t, s.Start())
	t.Cleanup(s.stop)
	dir = filepath.Join(root, "lxc.payload.old")
	must(t, os.Mkdir(dir, 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(fmt.Sprint(s.pid())), 0o644))
	wants(t, tracker, vethTo(t, ns, "v", s.pid()), "lxc:old")
	if lines := tracker.Missing(); len(lines) != 1 || !strings.HasPrefix(lines[0], missingLines[missingStates]) {
		t.Errorf("missing: %q", lines)
	}
	if got := tracker.Begin(map[Container]bool{{"lxc", "old"}: true, {"lxc", "gone"}: true}); len(got) != 0 {
		t.Errorf("states of v1: %v", got)
	}
}

// TestInit has a container whose init is in a cgroup further down, and in as many groups as the kernel allows.
// Other cgroups have a process in another namespace, and one of the runtime.
func TestInit(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	tracker := trackerIn(t, ns, Config{Cgroup: root})
	ct := filepath.Join(root, "machine-a.scope")
	beside := sleepIn(t, filepath.Join(ct, "supervisor"))
	inner := startIn(t, filepath.Join(ct, "aa"), newNet, "sleep", "300")
	init := startIn(t, filepath.Join(ct, "payload", "init.scope"), newNet|newPid, "perl", "-e", `$) = join " ", 0, 1e9 .. 1e9 + 65535; exec "sleep", "300"`)
	wants(t, tracker, vethTo(t, ns, "v0", init.pid()), "machine:a")
	wants(t, tracker, vethTo(t, ns, "v1", inner.pid()), "")
	wants(t, tracker, vethTo(t, ns, "v2", beside.pid()), "")
}

// TestVanishedProcess expects a process that ended after its cgroup was read not to count as the oldest.
func TestVanishedProcess(t *testing.T) {
	tracker, dir := trackerIn(t, nstest.New(t), Config{Cgroup: cgroupRoot(t)}), t.TempDir()
	c := &container{node: &node{h: &hierarchy{dir: dir}}, rule: &matcher{}}
	const ended = 1<<22 + 1 // beyond the kernel's greatest pid
	must(t, os.WriteFile(dir+"/cgroup.procs", fmt.Appendf(nil, "%d\n%d\n", ended, os.Getpid()), 0o644))
	if got := tracker.findFirst(c).pid; got != os.Getpid() {
		t.Errorf("first process %d, want %d", got, os.Getpid())
	}
}

// TestNoPidNamespace has containers without a pid namespace of their own: one with a network of its own, and
// one on the host's network with a process that joined another network namespace, as a network agent does.
func TestNoPidNamespace(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	tracker := trackerIn(t, ns, Config{Cgroup: root})
	dir := filepath.Join(root, "docker-"+testID+".scope")
	s := startIn(t, dir, newNet, "sleep", "300")
	startIn(t, dir, 0, "sleep", "300")
	wants(t, tracker, vethTo(t, ns, "v0", s.pid()), "docker:"+testID)
	dir = filepath.Join(root, "docker-"+strings.Repeat("a", 64)+".scope")
	first := startIn(t, dir, 0, "sleep", "300")
	s = startIn(t, dir, newNet, "sleep", "300")
	for readProcess(s.pid()).started == readProcess(first.pid()).started { // the kernel counts starts in ticks
		s.stop()
		s = startIn(t, dir, newNet, "sleep", "300")
	}
	wants(t, tracker, vethTo(t, ns, "v1", s.pid()), "")
}

// TestHiddenInit moves an init to a cgroup of its container beyond the limits of the search, as root of the
// container can do, and then to another container, as only root of the host can do.
func TestHiddenInit(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	tracker := trackerIn(t, ns, Config{Cgroup: root})
	ct, other := filepath.Join(root, "lxc.payload.a"), filepath.Join(root, "lxc.payload.b")
	var deep []string // almost PATH_MAX long, of v1
	for _, controller := range []string{"freezer", "pids"} {
		if dir := mountOfV1(t, controller); dir != "" {
			deep = append(deep, cgroupIn(t, dir)+strings.Repeat("/"+strings.Repeat("d", 240), 16))
		}
	}
	s := sleepIn(t, ct)
	wants(t, tracker, vethTo(t, ns, "v0", sleepIn(t, filepath.Join(root, "machine-a.scope")).pid()), "machine:a") // searches all containers
	move := func(dir string) {
		must(t, os.MkdirAll(dir, 0o755))
		must(t, os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Append(nil, s.pid()), 0o644))
	}
	for i := range maxInside {
		must(t, os.Mkdir(filepath.Join(ct, fmt.Sprintf("a%02d", i)), 0o755))
	}
	move(filepath.Join(ct, "z"))
	nsid := vethTo(t, ns, "v", s.pid())
	wants(t, tracker, nsid, "lxc:a")
	for _, dir := range deep {
		move(dir)
	}
	wants(t, tracker, nsid, "lxc:a")
	inner, err := os.OpenRoot(ct)
	must(t, err)
	for range 17 { // a path longer than PATH_MAX
		must(t, inner.Mkdir(strings.Repeat("d", 240), 0o755))
		outer := inner
		inner, err = outer.OpenRoot(strings.Repeat("d", 240))
		must(t, err)
		defer outer.Close()
		defer outer.Remove(strings.Repeat("d", 240))
	}
	defer inner.Close()
	must(t, inner.WriteFile("cgroup.procs", fmt.Append(nil, s.pid()), 0o644))
	wants(t, tracker, nsid, "lxc:a")
	move(other)
	wants(t, tracker, nsid, "lxc:b")
}

// TestInitLeaves has an init enter another network namespace, twice, which root of the container can do, while
// another process stays in each former one. It expects the end of the container to be reported, although the init
// has no nsid then.
func TestInitLeaves(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	tracker := trackerIn(t, ns, Config{Cgroup: root})
	ct := Container{"lxc", "a"}
	var reported []int32
	tracker.onNSID = func(_ Container, nsid int32) { reported = append(reported, nsid) }
	s := startIn(t, filepath.Join(root, "lxc.payload.a"), newNet|newPid, "sh", "-c",
		"trap : USR1; sleep 300 & wait; exec unshare --net sh -c 'trap : USR2; sleep 300 & wait; exec unshare --net sleep 300'")
	leave := func(sig os.Signal) {
		namespace := fmt.Sprintf("/proc/%d/ns/net", s.pid())
		before, err := os.Readlink(namespace)
		must(t, err)
		for now := before; now == before; now, err = os.Readlink(namespace) {
			must(t, err)
			must(t, s.Process.Signal(sig)) // nothing happens before the trap is set
			<-time.After(time.Millisecond)
		}
	}
	first := vethTo(t, ns, "v", s.pid())
	wants(t, tracker, first, "lxc:a")
	if tracker.Left(ct, first) {
		t.Error("left before it did")
	}
	leave(unix.SIGUSR1)
	wants(t, tracker, first, "")
	second := vethTo(t, ns, "w", s.pid())
	wants(t, tracker, second, "lxc:a")
	leave(unix.SIGUSR2)
	wants(t, tracker, second, "")
	for nsid, left := range map[int32]bool{first: true, second: true, first + second + 1: false} {
		if tracker.Left(ct, nsid) != left || tracker.Left(Container{"lxc", "b"}, nsid) {
			t.Errorf("whether the init left %d is not known", nsid)
		}
	}
	reported = nil
	s.stop()
	if tracker.Left(ct, first) || tracker.Left(ct, second) {
		t.Error("left, although it ended")
	}
	wants(t, tracker, 4711, "") // reads the events
	if !slices.Equal(reported, []int32{none}) {
		t.Errorf("at the end changed was called with %v, want %d", reported, none)
	}
}

// TestShared has several containers in one namespace. It expects the oldest as the owner, also from
// another Tracker.
func TestShared(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	tracker := trackerIn(t, ns, Config{Cgroup: root})
	older := sleepIn(t, filepath.Join(root, "machine.slice/libpod-ffffffffffff.scope"))
	join := func(cgroup string) sleeper {
		return startIn(t, filepath.Join(root, cgroup), 0, "nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", older.pid()), "unshare", "--pid", "--fork", "--kill-child", "sleep", "300")
	}
	join("machine.slice/libpod-aaaaaaaaaaaa.scope")
	nsid := vethTo(t, ns, "v", older.pid())
	wants(t, tracker, nsid, "podman:ffffffffffff")
	wants(t, trackerIn(t, ns, Config{Cgroup: root}), nsid, "podman:ffffffffffff")
	older.stop()
	wants(t, tracker, nsid, "podman:aaaaaaaaaaaa")
}

func TestPodCounts(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	tracker := trackerIn(t, ns, Config{Cgroup: root})
	older := sleepIn(t, filepath.Join(root, "docker-"+testID+".scope"))
	startIn(t, filepath.Join(root, "kubepods/pod"+testUID), 0, "nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", older.pid()), "unshare", "--pid", "--fork", "--kill-child", "sleep", "300")
	nsid := vethTo(t, ns, "v", older.pid())
	for started := time.Now(); time.Since(started) < time.Minute; { // until the pod has joined
		if c, _ := find(t, tracker, nsid); c.Pool == "k8s" {
			break
		}
		tracker.mu.Lock()
		tracker.search(nsid, func() bool { return true })
		tracker.mu.Unlock()
	}
	wants(t, tracker, nsid, "k8s:"+testUID)
}

// TestNotHeld expects a veth to go away with its container after a question for the owner.
func TestNotHeld(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	tracker := trackerIn(t, ns, Config{Cgroup: root})
	s := sleepIn(t, filepath.Join(root, "lxc.payload.a"))
	wants(t, tracker, vethTo(t, ns, "v", s.pid()), "lxc:a")
	s.stop()
	gone(t, ns, "v")
}

func gone(t testing.TB, ns *nstest.NS, name string) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; {
		if _, err := ns.Index(name); err != nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s still exists", name)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// TestNamed binds namespaces to files, as ip netns does. Other files are stale, or have a name that a
// runtime generated.
func TestNamed(t *testing.T) {
	ns, dir := nstest.New(t), t.TempDir()
	tracker := trackerIn(t, ns, Config{Cgroup: cgroupRoot(t), Netns: dir})
	must(t, os.WriteFile(filepath.Join(dir, "stale"), nil, 0o644))
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o644))
	bind := func(name, what string) {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, nil, 0o644))
		must(t, unix.Mount(what, path, "", unix.MS_BIND, ""))
		t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
	}
	bind("uts", "/proc/self/ns/uts")
	for name, want := range map[string]string{"blue": "netns:blue", "a\xffb": `netns:a\xffb`, "cni-" + testUID: ""} {
		inside, err := nstest.Open()
		must(t, err)
		bind(name, inside.Path())
		_, err = ns.Pair("v", "p", inside)
		must(t, err)
		link, err := ns.Handle().LinkByName("v")
		must(t, err)
		wants(t, tracker, int32(link.Attrs().NetNsID), want)
		inside.Close()
		must(t, unix.Unmount(filepath.Join(dir, name), unix.MNT_DETACH))
		gone(t, ns, "v")
	}
}

// TestNsidReused kills one container and starts another at once, so that the kernel gives it the
// same nsid.
func TestNsidReused(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	tracker := trackerIn(t, ns, Config{Cgroup: root})
	reused := 0
	for i, last := 0, none; i < 15; i++ {
		name := fmt.Sprintf("ct%d", i)
		s := sleepIn(t, filepath.Join(root, "lxc.payload."+name))
		nsid := vethTo(t, ns, "v"+name, s.pid())
		if nsid == last {
			reused++
		}
		last = nsid
		wants(t, tracker, nsid, "lxc:"+name)
		s.stop()
		gone(t, ns, "v"+name)
	}
	if reused == 0 {
		t.Error("no nsid was reused, so this tests nothing")
	}
}

// TestReboot restarts a container in its old cgroup, and in a new cgroup of the same name.
func TestReboot(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	tracker := trackerIn(t, ns, Config{Cgroup: root})
	dir := filepath.Join(root, "osctl/pool.tank/group.default/user.1/ct.100/user-owned/lxc.payload.100")
	for i := range 5 {
		s := sleepIn(t, dir)
		wants(t, tracker, vethTo(t, ns, fmt.Sprint("v", i), s.pid()), "tank:100")
		s.stop()
		if i%2 == 1 {
			for path := dir; path != filepath.Dir(root) && filepath.Base(path) != "user.1"; path = filepath.Dir(path) {
				must(t, unix.Rmdir(path))
			}
		}
	}
	tracker.mu.Lock()
	defer tracker.mu.Unlock()
	if n := len(tracker.containers); n != 1 {
		t.Errorf("%d containers are known", n)
	}
}

// TestKnownIsNotSearched expects Owner to confirm a known container without a search.
func TestKnownIsNotSearched(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	tracker := trackerIn(t, ns, Config{Cgroup: root})
	nsid := vethTo(t, ns, "v", sleepIn(t, filepath.Join(root, "lxc.payload.ct")).pid())
	wants(t, tracker, nsid, "lxc:ct")
	searched := func(nsid int32) bool {
		tracker.queryAfter, tracker.searchAfter = time.Time{}, time.Time{} // a search may begin
		tracker.Owner(nsid, func() bool { return true })
		return !tracker.queryAfter.IsZero() || !tracker.searchAfter.IsZero()
	}
	if searched(nsid) {
		t.Error("Owner searched for a known container")
	}
	if !searched(nsid + 1) {
		t.Error("Owner did not search for an unknown nsid")
	}
}

// TestReplaced expects the Tracker to notice by the inode that a cgroup was replaced.
func TestReplaced(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	tracker := trackerIn(t, ns, Config{Cgroup: root})
	dir := filepath.Join(root, "a.slice")
	must(t, os.Mkdir(dir, 0o755))
	wants(t, tracker, 4711, "") // reads the events
	must(t, unix.Rmdir(dir))
	tracker.mu.Lock() // the events of these changes are lost
	must(t, os.Mkdir(dir, 0o755))
	discard(t, tracker.system)
	tracker.mu.Unlock()
	s := sleepIn(t, filepath.Join(dir, "lxc.payload.a"))
	tracker.mu.Lock()
	tracker.system.overflowed = true
	tracker.mu.Unlock()
	wants(t, tracker, vethTo(t, ns, "v", s.pid()), "lxc:a")
	s = sleepIn(t, filepath.Join(dir, "lxc.payload.b")) // the watch of the former cgroup does not report it
	wants(t, tracker, vethTo(t, ns, "w", s.pid()), "lxc:b")
}

// discard drops the queued events of an instance.
func discard(t *testing.T, w *watches) {
	t.Helper()
	for {
		if _, err := unix.Read(w.fd, w.buf[:]); err == unix.EAGAIN {
			return
		}
	}
}

// TestChangesMeanwhile changes the link or the container during Owner, which must then find none.
func TestChangesMeanwhile(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	tracker := trackerIn(t, ns, Config{Cgroup: root})
	s := sleepIn(t, filepath.Join(root, "lxc.payload.a"))
	nsid := vethTo(t, ns, "v", s.pid())
	wants(t, tracker, nsid, "lxc:a")
	if c, ok, _ := tracker.Owner(nsid, func() bool { return false }); ok {
		t.Errorf("found %v, although the link leads elsewhere", c)
	}
	if c, ok, _ := tracker.Owner(nsid, func() bool { s.stop(); return true }); ok {
		t.Errorf("found %v, although it died", c)
	}
}

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
			for uid, u := range tracker.perUser {
				if (u.cgroups+u.containers > 0) != (int(uid) == user) {
					t.Errorf("%s: user %d has %d cgroups and %d containers", pool, uid, u.cgroups, u.containers)
				}
			}
			if want := 2 + strings.Count(below, ".slice"); watched != want || containers != i+1 {
				t.Errorf("%s: %d cgroups and %d containers are known, want %d and %d", pool, watched, containers, want, i+1)
			}
		}
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
	s := startIn(t, dir, newNet|newPid, "sleep", "300")
	want := call{Container{"lxc", "a"}, vethTo(t, ns, "v", s.pid())}
	if got := <-calls; got != want {
		t.Errorf("changed was called with %v, want %v", got, want)
	}
	s.stop()
	must(t, unix.Rmdir(dir))
	if got := <-calls; got != want {
		t.Errorf("changed was called with %v at the end, want %v", got, want)
	}
}

// helperMonitor is the variable that makes the test binary the monitor of a container; see TestMonitor.
const helperMonitor = "CONTAINERS_TEST_MONITOR"

func monitor(dir string) {
	f, err := os.Open(dir)
	if err != nil {
		os.Exit(1)
	}
	cmd := exec.Command("sleep", "300")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: newNet | newPid, UseCgroupFD: true, CgroupFD: int(f.Fd()), Pdeathsig: unix.SIGKILL}
	if cmd.Start() == nil {
		fmt.Println(cmd.Process.Pid)
		_ = cmd.Wait()
	}
}

// TestMonitor expects the name of a container whose cgroup ends in a number to come from its monitor.
func TestMonitor(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	tracker := trackerIn(t, ns, Config{Cgroup: root})
	for i, c := range []struct{ title, cgroup, want string }{
		{"[lxc monitor] /var/lib/lxc web", "lxc.payload.web-1", "lxc:web"},
		{"[lxc monitor] /var/lib/lxc web-2", "lxc.payload.web-2", "lxc:web-2"},
		{"[lxc monitor] /var/lib/lxc other", "lxc.payload.web-3", "lxc:web-3"},
		{"something else web", "lxc.payload.web-4", "lxc:web-4"},
	} {
		dir := filepath.Join(root, c.cgroup)
		must(t, os.Mkdir(dir, 0o755))
		cmd := exec.Command("/proc/self/exe")
		cmd.Args = []string{c.title}
		cmd.Env = []string{helperMonitor + "=" + dir, "PATH=" + os.Getenv("PATH")}
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

// TestOutsidePids expects a line of Missing if processes are outside of our pid namespace.
func TestOutsidePids(t *testing.T) {
	tracker := trackerIn(t, nstest.New(t), Config{Cgroup: cgroupRoot(t)})
	dir := t.TempDir()
	must(t, os.WriteFile(dir+"/cgroup.procs", []byte("0\n12\n0\n"), 0o644))
	tracker.mu.Lock()
	got := tracker.pids(dir)
	tracker.mu.Unlock()
	if lines := tracker.Missing(); len(got) != 1 || got[0] != 12 || len(lines) != 1 || !strings.HasPrefix(lines[0], missingLines[missingPids]) {
		t.Errorf("%v, missing %q", got, lines)
	}
}

// TestMissingEnds expects a line of Missing to go away with its cause, and not before.
func TestMissingEnds(t *testing.T) {
	tracker, dir := trackerIn(t, nstest.New(t), Config{Cgroup: cgroupRoot(t)}), t.TempDir()
	must(t, os.WriteFile(dir+"/cgroup.procs", []byte("0\n"), 0o644))
	n := &node{h: &hierarchy{dir: dir}}
	n.container = &container{node: n, rule: &matcher{}, nsid: none}
	tracker.joinGroup(n.container)
	tracker.containers[n] = n.container
	other, err := os.Open(os.DevNull)
	must(t, err)
	defer other.Close()
	namespace := tracker.namespace
	tracker.namespace = other // which has no nsid
	wants(t, tracker, 4711, "")
	wants(t, tracker, 4711, "")
	if lines := tracker.Missing(); len(lines) != 2 || !strings.HasPrefix(lines[0], missingLines[missingQuery]) || !strings.HasPrefix(lines[1], missingLines[missingPids]) {
		t.Errorf("missing: %q", lines)
	}
	delete(tracker.containers, n)
	tracker.namespace = namespace
	wants(t, tracker, 4711, "")
	if lines := tracker.Missing(); len(lines) != 0 {
		t.Errorf("still missing: %q", lines)
	}
}

// TestMissingIsLoggedOnce expects one line of the log about a facility that is missing again and again.
func TestMissingIsLoggedOnce(t *testing.T) {
	var lines bytes.Buffer
	tracker := &Tracker{log: slog.New(slog.NewTextHandler(&lines, nil))}
	for range 3 {
		tracker.setMissing(missingPidfd, "too many open files")
		tracker.setMissing(missingPidfd, "")
	}
	if n := bytes.Count(lines.Bytes(), []byte("\n")); n != 1 {
		t.Errorf("%d lines, want 1", n)
	}
}

// TestMissingIsText expects Missing to show a path of any bytes as text.
func TestMissingIsText(t *testing.T) {
	tracker := trackerIn(t, nstest.New(t), Config{Cgroup: cgroupRoot(t)})
	tracker.mu.Lock()
	tracker.setMissing(missingNetns, "open /run/a\xff\x1bb")
	tracker.mu.Unlock()
	if lines := tracker.Missing(); len(lines) != 1 || !strings.HasSuffix(lines[0], `(open /run/a\xff\x1bb)`) {
		t.Errorf("%q", lines)
	}
}

// TestFaultsAreBounded expects each error to be logged once, also a long one, and at most maxFaults.
func TestFaultsAreBounded(t *testing.T) {
	var lines bytes.Buffer
	tracker := &Tracker{log: slog.New(slog.NewTextHandler(&lines, nil))}
	for i := range 2 * maxFaults {
		for range 2 {
			tracker.logFault(fmt.Errorf("%d %s", i, strings.Repeat("x", 2*maxText)))
		}
	}
	if n := bytes.Count(lines.Bytes(), []byte("\n")); n != maxFaults {
		t.Errorf("%d lines, want %d", n, maxFaults)
	}
}

func TestNoCgroups(t *testing.T) {
	tracker := trackerIn(t, nstest.New(t), Config{Cgroup: t.TempDir()})
	if lines := tracker.Missing(); len(lines) != 1 || !strings.HasPrefix(lines[0], missingLines[missingCgroup]) {
		t.Errorf("%q", lines)
	}
	wants(t, tracker, 3, "")
}

// TestCgroupNamespace finds an owner in a cgroup namespace whose root is beside the container, while all cgroups
// are mounted, as in a docker container with the host's pids and cgroups.
func TestCgroupNamespace(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	s := sleepIn(t, filepath.Join(root, "system.slice/lxc.payload.a"))
	own := filepath.Join(root, "system.slice/eventd.scope")
	must(t, os.Mkdir(own, 0o755))
	dir, err := os.Open(own)
	must(t, err)
	defer dir.Close()
	self, err := os.Executable()
	must(t, err)
	cmd := exec.Command("unshare", "--cgroup", self, "-test.run=^TestUnprivileged$")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	wantsOf(t, ns, cmd, root, vethTo(t, ns, "v", s.pid()))
}

// helperRoot is the variable that makes the test binary a Tracker of its own; see TestUnprivileged.
const helperRoot = "CONTAINERS_TEST_ROOT"

// TestUnprivileged finds owners as nobody, without any capability.
func TestUnprivileged(t *testing.T) {
	if root := os.Getenv(helperRoot); root != "" {
		unprivileged(t, root)
		return
	}
	ns, root := nstest.New(t), cgroupRoot(t)
	s := sleepIn(t, filepath.Join(root, "lxc.payload.a"))
	nsid := vethTo(t, ns, "v", s.pid())
	self, err := os.Executable()
	must(t, err)
	data, err := os.Open(self) // the user nobody cannot enter its directory
	must(t, err)
	defer data.Close()
	cmd := exec.Command("/proc/self/fd/3", "-test.run=^TestUnprivileged$")
	cmd.ExtraFiles = []*os.File{data}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	wantsOf(t, ns, cmd, root, nsid)
}

// wantsOf expects a Tracker in another process to find the owner lxc:a.
func wantsOf(t *testing.T, ns *nstest.NS, cmd *exec.Cmd, root string, nsid int32) {
	t.Helper()
	cmd.Env = []string{helperRoot + "=" + root, "NSID=" + fmt.Sprint(nsid)}
	cmd.Dir = "/"
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, ns.Start(cmd))
	var said []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said = append(said, lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %q", err, said)
	}
	if !strings.Contains(strings.Join(said, "\n"), "owner lxc a, missing []") {
		t.Errorf("output %q", said)
	}
}

func unprivileged(t *testing.T, root string) {
	tracker, err := New(Config{Cgroup: root})
	must(t, err)
	defer tracker.Close()
	var nsid int32
	_, err = fmt.Sscan(os.Getenv("NSID"), &nsid)
	must(t, err)
	c, _ := find(t, tracker, nsid)
	fmt.Printf("owner %s %s, missing %q\n", c.Pool, c.ID, tracker.Missing())
}
