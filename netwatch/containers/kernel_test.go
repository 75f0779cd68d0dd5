package containers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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

// mountV1 mounts a hierarchy of v1 without controllers, and returns a cgroup in it.
func mountV1(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	must(t, unix.Mount("none", dir, "cgroup", 0, fmt.Sprintf("none,name=osctl-eventd-test-%d-%s", os.Getpid(), name)))
	t.Cleanup(func() { must(t, unix.Unmount(dir, 0)) })
	return cgroupIn(t, dir)
}

// TestV1 has a container only in a hierarchy of v1.
func TestV1(t *testing.T) {
	ns, root := nstest.New(t), mountV1(t, "old")
	tracker := trackerIn(t, ns, Config{Cgroup: root})
	if tracker.hierarchies[0].v2 {
		t.Errorf("hierarchy %+v", tracker.hierarchies[0])
	}
	s := sleeper{exec.Command("sleep", "300")}
	s.SysProcAttr = &syscall.SysProcAttr{Cloneflags: newNet | newPid}
	must(t, s.Start())
	t.Cleanup(s.stop)
	dir := filepath.Join(root, "lxc.payload.old")
	must(t, os.Mkdir(dir, 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(fmt.Sprint(s.pid())), 0o644))
	wants(t, tracker, vethTo(t, ns, "v", s.pid()), "lxc:old")
	if lines := tracker.Missing(); len(lines) != 1 || !strings.HasPrefix(lines[0], missingLines[missingStates]) {
		t.Errorf("missing: %q", lines)
	}
	if got := tracker.Begin(running(Container{"lxc", "old"}, Container{"lxc", "gone"})); len(got) != 0 {
		t.Errorf("states of v1: %v", got)
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
	younger := join("machine.slice/libpod-aaaaaaaaaaaa.scope")
	namespace := func(s sleeper) string { name, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", s.pid())); return name }
	eventually(t, func() bool { return namespace(younger) == namespace(older) }) // which must not end before
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

// TestManyNamed asks for the owners of several named namespaces at once, as a start of the service does. It
// expects the first search to find all of them, because a search pauses the next one.
func TestManyNamed(t *testing.T) {
	ns, dir := nstest.New(t), t.TempDir()
	tracker := trackerIn(t, ns, Config{Cgroup: cgroupRoot(t), Netns: dir})
	const count = 20
	var nsids [count]int32
	for i := range nsids {
		inside, err := nstest.Open()
		must(t, err)
		path := filepath.Join(dir, fmt.Sprint("ns", i))
		must(t, os.WriteFile(path, nil, 0o644))
		must(t, unix.Mount(inside.Path(), path, "", unix.MS_BIND, ""))
		t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
		veth := fmt.Sprint("v", i)
		_, err = ns.Pair(veth, "p", inside)
		must(t, err)
		inside.Close()
		link, err := ns.Handle().LinkByName(veth)
		must(t, err)
		nsids[i] = int32(link.Attrs().NetNsID)
	}
	for i, nsid := range nsids {
		c, found, _ := tracker.Owner(nsid, func() bool { return true })
		if want := (Container{PoolNetns, fmt.Sprint("ns", i)}); !found || c != want {
			t.Errorf("nsid %d belongs to %v, want %v", nsid, c, want)
		}
	}
	c, found, _ := tracker.Owner(nsids[0], func() bool { return false })
	if found {
		t.Errorf("the link leads to another namespace, but its owner is %v", c)
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

// TestHostNetwork gives the watched namespace an id in itself, which a container with the host's network then has,
// too. It expects the owners of veths to be the same as without that id.
func TestHostNetwork(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	must(t, ns.Handle().SetNetNsIdByFd(ns.FD(), 77))
	tracker := trackerIn(t, ns, Config{Cgroup: root})
	onHost := startIn(t, filepath.Join(root, "lxc.payload.host"), 0, "nsenter", "--net="+ns.Path(), "sleep", "300")
	want, err := os.Readlink(ns.Path())
	must(t, err)
	eventually(t, func() bool {
		name, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", onHost.pid()))
		return name == want
	})
	s := sleepIn(t, filepath.Join(root, "lxc.payload.ct"))
	nsid := vethTo(t, ns, "v", s.pid())
	wants(t, tracker, nsid, "lxc:ct")
	s.stop()
	wants(t, tracker, nsid, "")
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
