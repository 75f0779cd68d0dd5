package containers

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/netwatch/nstest"
)

// cgroupRoot makes a cgroup that a Tracker may take for a hierarchy.
func cgroupRoot(t testing.TB) string {
	t.Helper()
	mounts, err := readMounts("/proc/self/mountinfo")
	must(t, err)
	m := bestMount(mounts, func(m *mount) bool { return m.v2 })
	if m == nil {
		t.Fatal("this needs cgroup v2 to be mounted, beside v1 or alone")
	}
	return cgroupIn(t, m.dir)
}

func cgroupIn(t testing.TB, dir string) string {
	t.Helper()
	test, call := filepath.Split(t.TempDir()) // packaging/dev/leftovers.sh finds it by this name
	root := filepath.Join(dir, "osctl-eventd-test-"+filepath.Base(test)+"-"+call)
	must(t, os.Mkdir(root, 0o755))
	t.Cleanup(func() { removeCgroups(t, root) })
	return root
}

// removeCgroups removes a cgroup and those in it, once its processes have ended: those that are killed with their
// parent may take a while.
func removeCgroups(t testing.TB, root string) {
	t.Helper()
	var dirs []string
	_ = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	end := time.Now().Add(time.Minute)
	for _, dir := range slices.Backward(dirs) {
		err := unix.Rmdir(dir)
		for errors.Is(err, unix.EBUSY) && time.Now().Before(end) {
			time.Sleep(time.Millisecond)
			err = unix.Rmdir(dir)
		}
		if err != nil {
			t.Errorf("remove cgroup %s: %v", dir, err)
		}
	}
}

// sleeper is a command that sleeps until it is killed.
type sleeper struct{ *exec.Cmd }

func (s sleeper) pid() int { return s.Process.Pid }

// stop kills the command and waits until it is reaped.
func (s sleeper) stop() {
	_ = s.Process.Kill()
	_ = s.Wait()
}

// startIn starts a command in a cgroup, in new namespaces.
func startIn(t testing.TB, cgroup string, namespaces uintptr, name string, args ...string) sleeper {
	t.Helper()
	must(t, os.MkdirAll(cgroup, 0o755))
	dir, err := os.Open(cgroup)
	must(t, err)
	defer dir.Close()
	s := sleeper{exec.Command(name, args...)}
	s.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces, UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	must(t, s.Start())
	t.Cleanup(s.stop)
	return s
}

const newNet, newPid = unix.CLONE_NEWNET, unix.CLONE_NEWPID

// sleepIn starts a container with an init that only sleeps.
func sleepIn(t testing.TB, cgroup string) sleeper {
	t.Helper()
	return startIn(t, cgroup, newNet|newPid, "sleep", "300")
}

// trackerIn makes a Tracker in a network namespace.
func trackerIn(t testing.TB, ns *nstest.NS, config Config) *Tracker {
	t.Helper()
	if config.Netns == "" {
		config.Netns = t.TempDir()
	}
	var tracker *Tracker
	var err error
	ns.Do(func() { tracker, err = New(config) })
	must(t, err)
	t.Cleanup(func() {
		if err := tracker.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return tracker
}

// find asks until an owner is found, or until it has paused for as long as an event waits. The time that
// the answers take does not count, because the machine may be busy.
func find(t testing.TB, tracker *Tracker, nsid int32) (Container, bool) {
	t.Helper()
	for waited := time.Duration(0); ; {
		c, ok, next := tracker.Owner(nsid, func() bool { return true })
		pause := max(time.Until(next), 5*time.Millisecond)
		if waited += pause; ok || waited > 500*time.Millisecond {
			return c, ok
		}
		<-time.After(pause)
	}
}

// wants expects an owner, written POOL:ID, or "" for none. It asks for longer if there should be one, because the
// pauses of a Tracker grow with the time that its answers take.
func wants(t testing.TB, tracker *Tracker, nsid int32, want string) {
	t.Helper()
	got := ""
	for end := time.Now().Add(time.Minute); got == ""; {
		if c, ok := find(t, tracker, nsid); ok {
			got = c.Pool + ":" + c.ID
		} else if want == "" || time.Now().After(end) {
			break
		}
	}
	if got != want {
		t.Errorf("nsid %d belongs to %q, want %q", nsid, got, want)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
