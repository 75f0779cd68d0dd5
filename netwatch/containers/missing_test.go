package containers

import (
	"bufio"
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/osctl/eventd/netwatch/nstest"
)

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
	wants(t, tracker, 4711, "")
	wants(t, tracker, 4711, "")
	if lines := tracker.Missing(); len(lines) != 1 || !strings.HasPrefix(lines[0], missingLines[missingPids]) {
		t.Errorf("missing: %q", lines)
	}
	delete(tracker.containers, n)
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
	wantsBeside(t, ns, root, vethTo(t, ns, "v", s.pid()), "lxc a")
}

// TestFalseMonitorInCgroupNamespace is TestFalseMonitor in such a namespace.
func TestFalseMonitorInCgroupNamespace(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	init := startFalseMonitor(t, filepath.Join(root, "system.slice/lxc.payload.web-1"))
	wantsBeside(t, ns, root, vethTo(t, ns, "v", init.pid()), " ")
}

// wantsBeside is wantsOf in a cgroup namespace whose root is a cgroup in system.slice.
func wantsBeside(t *testing.T, ns *nstest.NS, root string, nsid int32, want string) {
	t.Helper()
	own := filepath.Join(root, "system.slice/eventd.scope")
	must(t, os.Mkdir(own, 0o755))
	dir, err := os.Open(own)
	must(t, err)
	defer dir.Close()
	self, err := os.Executable()
	must(t, err)
	cmd := exec.Command("unshare", "--cgroup", self, "-test.run=^TestUnprivileged$")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	wantsOf(t, ns, cmd, root, nsid, want)
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
	wantsOf(t, ns, cmd, root, nsid, "lxc a")
}

// wantsOf expects a Tracker in another process to find an owner, written POOL ID, or " " for none.
func wantsOf(t *testing.T, ns *nstest.NS, cmd *exec.Cmd, root string, nsid int32, want string) {
	t.Helper()
	cmd.Env = []string{helperRoot + "=" + root, "NSID=" + fmt.Sprint(nsid), "WANT=" + want}
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
	if !strings.Contains(strings.Join(said, "\n"), "owner "+want+", missing []") {
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
	c, found := find(t, tracker, nsid)
	for end := time.Now().Add(time.Minute); !found && os.Getenv("WANT") != " " && time.Now().Before(end); {
		c, found = find(t, tracker, nsid)
	}
	fmt.Printf("owner %s %s, missing %q\n", c.Pool, c.ID, tracker.Missing())
}
