package containers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/netwatch/nstest"
)

// listener is a Tracker with the states that it reported.
type listener struct {
	*Tracker
	t      *testing.T
	states chan StateChange
}

func listen(t *testing.T, root string) *listener {
	t.Helper()
	l := &listener{Tracker: trackerIn(t, nstest.New(t), Config{Cgroup: root}), t: t, states: make(chan StateChange, 1000)}
	l.run()
	return l
}

// run runs the Tracker until the test ends.
func (l *listener) run() {
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() { l.Run(ctx, nil, func(c StateChange) { l.states <- c }) })
	l.t.Cleanup(func() { cancel(); ended.Wait() })
}

// wants waits for changes, written POOL:ID FROM TO, and expects exactly these.
func (l *listener) wants(want ...string) {
	l.t.Helper()
	var got []string
	for range want {
		select {
		case c := <-l.states:
			got = append(got, describe(c))
		case <-time.After(time.Minute):
			l.t.Fatalf("reported %q, want %q", got, want)
		}
	}
	if !slices.Equal(got, want) {
		l.t.Errorf("reported %q, want %q", got, want)
	}
}

// ends starts another container, and expects its state to be the next change.
func (l *listener) ends(root string) {
	l.t.Helper()
	sleepIn(l.t, filepath.Join(root, "lxc.payload.last"))
	l.wants("lxc:last - running")
}

func describe(c StateChange) string {
	line := fmt.Sprintf("%s:%s %s %s", c.Container.Pool, c.Container.ID, c.From, c.To)
	line = strings.Replace(line, "  ", " - ", 1)
	if c.Resync {
		line += " resync"
	}
	return line
}

func freeze(t *testing.T, dir, to string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(dir, "cgroup.freeze"), []byte(to), 0))
}

// TestState follows a container through its life, and then another one of the same name.
func TestState(t *testing.T) {
	root := cgroupRoot(t)
	l := listen(t, root)
	dir := filepath.Join(root, "lxc.payload.web")
	must(t, os.MkdirAll(filepath.Join(dir, "inside"), 0o755)) // an empty container has no state
	for range 2 {
		s := sleepIn(t, filepath.Join(dir, "inside"))
		l.wants("lxc:web - running")
		freeze(t, dir, "1")
		l.wants("lxc:web running frozen")
		freeze(t, dir, "0")
		l.wants("lxc:web frozen running")
		s.stop()
		l.wants("lxc:web running stopped")
		s = sleepIn(t, filepath.Join(dir, "inside"))
		l.wants("lxc:web stopped running")
		s.stop()
		must(t, unix.Rmdir(filepath.Join(dir, "inside")))
		must(t, unix.Rmdir(dir))
		l.wants("lxc:web running stopped")
		for { // until it is dropped, because the next one must have no former state
			l.mu.Lock()
			n := len(l.containers)
			l.mu.Unlock()
			if n == 0 {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	l.ends(root)
}

// TestStateOfReplaced replaces a cgroup before its events are read.
func TestStateOfReplaced(t *testing.T) {
	root := cgroupRoot(t)
	l := listen(t, root)
	dir := filepath.Join(root, "lxc.payload.web")
	s := sleepIn(t, dir)
	l.wants("lxc:web - running")
	l.mu.Lock()
	s.stop()
	must(t, unix.Rmdir(dir))
	sleepIn(t, dir)
	l.mu.Unlock()
	l.wants("lxc:web running stopped", "lxc:web - running")
	l.ends(root)
}

// TestStateByOwner expects states of users' containers in pools of their own, none of containers whose
// manager reports them, and of two cgroups of one name the state of the one with processes.
func TestStateByOwner(t *testing.T) {
	root := cgroupRoot(t)
	given := filepath.Join(root, "user.slice/user-1000.slice/user@1000.service")
	must(t, os.MkdirAll(given, 0o755))
	must(t, os.Chown(given, 1000, 1000))
	l := listen(t, root)
	sleepIn(t, filepath.Join(root, "osctl/pool.tank/ct.101/user-owned/lxc.payload.101"))
	s := sleepIn(t, filepath.Join(given, "lxc.payload.web"))
	l.wants("lxc@1000:web - running")
	s.stop()
	l.wants("lxc@1000:web running stopped")

	id := "podman:" + testID
	first, second := filepath.Join(root, "libpod-"+testID), filepath.Join(root, "machine.slice/libpod-"+testID+".scope")
	s = sleepIn(t, first)
	l.wants(id + " - running")
	other := sleepIn(t, second)
	freeze(t, second, "1") // the first one's inode is smaller
	freeze(t, first, "1")
	l.wants(id + " running frozen")
	freeze(t, second, "0")
	freeze(t, first, "0")
	l.wants(id + " frozen running")
	freeze(t, second, "1")
	s.stop()
	l.wants(id + " running frozen")
	freeze(t, second, "0") // because a frozen process that is killed may or may not be seen as running
	l.wants(id + " frozen running")
	other.stop()
	l.wants(id + " running stopped")
	l.ends(root)
}

// TestStateByMonitorName expects the name that the monitor has in the state of a container.
func TestStateByMonitorName(t *testing.T) {
	root := cgroupRoot(t)
	l := listen(t, root)
	dir := filepath.Join(root, "lxc.payload.web-1")
	must(t, os.Mkdir(dir, 0o755))
	must(t, os.Mkdir(filepath.Join(root, "lxc.payload.web"), 0o755)) // of an earlier start
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"[lxc monitor] /var/lib/lxc web"}
	cmd.Env = []string{helperMonitor + "=" + dir, fmt.Sprint(helperNamespaces, "=", newNet|newPid), "PATH=" + os.Getenv("PATH")}
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	var pid int
	_, err = fmt.Fscan(out, &pid)
	must(t, err)
	l.wants("lxc:web - running")
	must(t, syscall.Kill(pid, unix.SIGKILL))
	must(t, cmd.Wait())
	l.wants("lxc:web running stopped")
	l.ends(root)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.groups[Container{"lxc", "web-1"}] != nil {
		t.Error("the group of the former name is left")
	}
}

// TestOldestCounts expects the cgroup with the smallest inode to count among those with processes.
func TestOldestCounts(t *testing.T) {
	made := func(ino uint64, frozen bool) *container {
		return &container{node: &node{ino: ino}, rule: &matcher{}, named: true, populated: true, frozen: frozen}
	}
	for _, s := range []group{{cgroups: []*container{made(1, true), made(2, false)}}, {cgroups: []*container{made(2, false), made(1, true)}}} {
		if got := s.state(); got != Frozen {
			t.Errorf("state %s", got)
		}
	}
}
