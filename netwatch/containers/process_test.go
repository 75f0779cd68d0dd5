package containers

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/netwatch/nstest"
)

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

// TestLongStatus has processes in as many groups as the kernel allows, which root of a container or of a user namespace
// can start. It expects the search to end after maxStatus.
func TestLongStatus(t *testing.T) {
	root := cgroupRoot(t)
	ct := filepath.Join(root, "machine-a.scope")
	for range maxStatus/(512<<10) + 1 {
		s := startIn(t, ct, 0, "perl", "-e", `$) = join " ", 0, 1e9 .. 1e9 + 65535; exec "sleep", "300"`)
		eventually(t, func() bool { _, size := readStatus(s.pid(), ""); return size > 512<<10 })
	}
	sleepIn(t, ct)
	tracker := trackerIn(t, nstest.New(t), Config{Cgroup: root})
	tracker.mu.Lock()
	defer tracker.mu.Unlock()
	for _, c := range tracker.containers {
		if p := tracker.findFirst(c); p.init {
			t.Errorf("found %+v", p)
		}
	}
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
	for readStart(s.pid()) == readStart(first.pid()) { // the kernel counts starts in ticks
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
	for _, name := range []string{"one", "two"} {
		deep = append(deep, mountV1(t, name)+strings.Repeat("/"+strings.Repeat("d", 240), 15))
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

// TestFirstThreadEnds has the first thread of an init end, while another one goes on, which root of the container can
// do. It expects the container to stay the owner, also of another Tracker.
func TestFirstThreadEnds(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	tracker := trackerIn(t, ns, Config{Cgroup: root})
	end := filepath.Join(t.TempDir(), "end")
	s := startIn(t, filepath.Join(root, "lxc.payload.a"), newNet|newPid, "perl", "-Mthreads", "-e",
		`threads->create(sub { sleep 300 }); select undef, undef, undef, .01 until -e $ARGV[1]; syscall $ARGV[0], 0`, fmt.Sprint(unix.SYS_EXIT), end)
	nsid := vethTo(t, ns, "v", s.pid())
	wants(t, tracker, nsid, "lxc:a")
	must(t, os.WriteFile(end, nil, 0o644))
	eventually(t, func() bool { state, _ := readStatus(s.pid(), "State"); return strings.Contains(string(state), "Z") })
	wants(t, tracker, nsid, "lxc:a")
	wants(t, trackerIn(t, ns, Config{Cgroup: root}), nsid, "lxc:a")
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
	eventually(t, func() bool { // the kernel reports the end some time after it
		tracker.mu.Lock()
		defer tracker.mu.Unlock()
		tracker.readWatches(tracker.system)
		return len(reported) > 0
	})
	if !slices.Equal(reported, []int32{none}) {
		t.Errorf("at the end changed was called with %v, want %d", reported, none)
	}
}
