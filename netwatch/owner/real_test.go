package owner

import (
	"fmt"
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

// cgroupRoot makes a cgroup of our own that is a hierarchy to a Finder.
func cgroupRoot(t testing.TB) string {
	t.Helper()
	mounts, err := readMounts("/proc/self/mountinfo")
	must(t, err)
	m := best(mounts, func(m *mount) bool { return m.v2 })
	if m == nil {
		t.Fatal("this needs cgroup v2 to be mounted, beside v1 or alone")
	}
	return cgroupIn(t, m.dir)
}

func cgroupIn(t testing.TB, dir string) string {
	t.Helper()
	root := filepath.Join(dir, fmt.Sprintf("osctl-eventd-test-%d-%d", os.Getpid(), time.Now().UnixNano()))
	must(t, os.Mkdir(root, 0o755))
	t.Cleanup(func() { removeCgroups(t, root) })
	return root
}

// removeCgroups removes a cgroup and those in it, once its processes are reaped.
func removeCgroups(t testing.TB, root string) {
	t.Helper()
	var dirs []string
	_ = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	for _, dir := range slices.Backward(dirs) {
		if err := unix.Rmdir(dir); err != nil {
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

// sleepIn starts an init of a container that does nothing.
func sleepIn(t testing.TB, cgroup string) sleeper {
	t.Helper()
	return startIn(t, cgroup, newNet|newPid, "sleep", "300")
}

// finderIn makes a Finder that counts as a namespace does.
func finderIn(t testing.TB, ns *nstest.NS, config Config) *Finder {
	t.Helper()
	if config.Netns == "" {
		config.Netns = t.TempDir()
	}
	var f *Finder
	var err error
	ns.Do(func() { f, err = New(config) })
	must(t, err)
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return f
}

// nsidOf gives the namespace of a process an id, as the kernel does when a veth leads there.
func nsidOf(t testing.TB, ns *nstest.NS, pid int) int32 {
	t.Helper()
	_ = ns.Handle().SetNetNsIdByPid(pid, -1) // EEXIST: it has one
	nsid, err := ns.Handle().GetNetNsIdByPid(pid)
	must(t, err)
	return int32(nsid)
}

// find walks until an nsid is known, or has rested for as long as an event waits. What the
// walks take does not count: the machine may be busy.
func find(t testing.TB, f *Finder, nsid int32) (Container, bool) {
	t.Helper()
	for rested := time.Duration(0); ; {
		c, ok := f.Find(t.Context(), nsid)
		rest := max(time.Until(f.NextWalk()), 0)
		if rested += rest; ok || rested > 500*time.Millisecond {
			return c, ok
		}
		<-time.After(rest)
	}
}

// rested lets a walk be due at once.
func rested(f *Finder) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range []*pace{&f.looks, &f.walks, &f.scans} {
		p.next, p.broke = time.Time{}, time.Time{}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
