package owner

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/osctl/eventd/netwatch/nstest"
	"golang.org/x/sys/unix"
)

// TestRules starts a process in a real cgroup for each rule, and leads a veth to it.
func TestRules(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	f := finderIn(t, ns, Config{Cgroup: root})
	for i, r := range rules() {
		s := sleepIn(t, filepath.Join(root, r.example))
		nsid := vethTo(t, ns, fmt.Sprintf("v%d", i), s.pid())
		if c, ok := find(t, f, nsid); !ok || c != r.is {
			t.Errorf("%s: nsid %d is of %v, %v, want %v", r.name, nsid, c, ok, r.is)
		}
	}
	if lines := f.Missing(); len(lines) != 0 {
		t.Errorf("missing: %q", lines)
	}
}

// vethTo makes a veth whose peer is in the namespace of a process, and returns the
// nsid by which it leads there.
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

// TestV1 has a container in a hierarchy of v1 alone.
func TestV1(t *testing.T) {
	mounts, err := readMounts("/proc/self/mountinfo")
	must(t, err)
	m := best(mounts, func(m *mount) bool { return !m.v2 && strings.Contains(strings.Join(m.options, ","), "name=systemd") })
	if m == nil {
		t.Log("no hierarchy of v1 here: nothing to see") // as on a pure v2 system
		return
	}
	ns, root := nstest.New(t), cgroupIn(t, m.dir)
	f := finderIn(t, ns, Config{Cgroup: root})
	if f.hierarchies[0].line != "name=systemd" {
		t.Errorf("hierarchy %+v", f.hierarchies[0])
	}
	s := sleeper{exec.Command("sleep", "300")}
	s.SysProcAttr = &syscall.SysProcAttr{Cloneflags: newNet | newPid}
	must(t, s.Start())
	t.Cleanup(s.stop)
	dir := filepath.Join(root, "lxc.payload.old")
	must(t, os.Mkdir(dir, 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(fmt.Sprint(s.pid())), 0o644))
	nsid := vethTo(t, ns, "v", s.pid())
	if c, ok := find(t, f, nsid); !ok || c != (Container{"lxc", "old"}) {
		t.Errorf("nsid %d is of %v, %v", nsid, c, ok)
	}
	if c, ok := f.containerOf(s.pid()); !ok || c.ID != "old" {
		t.Errorf("its process is of %v, %v", c, ok)
	}
}

// TestNestedNamespaces is a container whose processes are in namespaces of their own,
// which come before init in the cgroup.
func TestNestedNamespaces(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	f := finderIn(t, ns, Config{Cgroup: root})
	ct := filepath.Join(root, "lxc.payload.a")
	inner := startIn(t, ct, newNet, "sleep", "300")
	main := sleepIn(t, filepath.Join(ct, "init.scope"))
	innerID, mainID := vethTo(t, ns, "v0", inner.pid()), vethTo(t, ns, "v1", main.pid())
	for _, nsid := range []int32{mainID, innerID} {
		if c, ok := find(t, f, nsid); !ok || c.ID != "a" {
			t.Errorf("nsid %d is of %v, %v", nsid, c, ok)
		}
	}
	if f.known[mainID].from != fromCgroup || f.known[innerID].from != fromProcess {
		t.Errorf("found by %v", f.known)
	}
}

// TestNotHeld checks that a namespace dies with its container although it was asked
// about: its veth goes.
func TestNotHeld(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	netns := t.TempDir()
	f := finderIn(t, ns, Config{Cgroup: root, Netns: netns})
	s := sleepIn(t, filepath.Join(root, "lxc.payload.a"))
	nsid := vethTo(t, ns, "v", s.pid())
	if _, ok := find(t, f, nsid); !ok {
		t.Fatal("not found")
	}
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
			t.Fatalf("%s is there still", name)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// TestNamedNamespace binds a namespace to a file, as ip netns does, beside stale ones.
func TestNamedNamespace(t *testing.T) {
	ns, dir := nstest.New(t), t.TempDir()
	f := finderIn(t, ns, Config{Cgroup: cgroupRoot(t), Netns: dir})
	inside, err := nstest.Open()
	must(t, err)
	path := filepath.Join(dir, "blue")
	must(t, os.WriteFile(path, nil, 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "stale"), nil, 0o644))
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o644))
	must(t, unix.Mount(inside.Path(), path, "", unix.MS_BIND, ""))
	t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
	must(t, os.WriteFile(filepath.Join(dir, "uts"), nil, 0o644))
	must(t, unix.Mount("/proc/self/ns/uts", filepath.Join(dir, "uts"), "", unix.MS_BIND, ""))
	t.Cleanup(func() { _ = unix.Unmount(filepath.Join(dir, "uts"), unix.MNT_DETACH) })
	_, err = ns.Pair("v", "p", inside)
	must(t, err)
	link, err := ns.Handle().LinkByName("v")
	must(t, err)
	nsid := int32(link.Attrs().NetNsID)
	if c, ok := find(t, f, nsid); !ok || c != (Container{"netns", "blue"}) {
		t.Errorf("nsid %d is of %v, %v", nsid, c, ok)
	}
	inside.Close()
	must(t, unix.Unmount(path, unix.MNT_DETACH))
	gone(t, ns, "v")
}

// TestNsidReused kills one container and starts another at once, so that the kernel
// gives it the same nsid.
func TestNsidReused(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	f := finderIn(t, ns, Config{Cgroup: root})
	reused := 0
	for i, last := 0, none; i < 15; i++ {
		name := fmt.Sprintf("ct%d", i)
		s := sleepIn(t, filepath.Join(root, "lxc.payload."+name))
		nsid := vethTo(t, ns, "v"+name, s.pid())
		if nsid == last {
			reused++
		}
		last = nsid
		if c, ok := find(t, f, nsid); !ok || c.ID != name {
			t.Fatalf("round %d: nsid %d is of %v, %v, want %s", i, nsid, c, ok, name)
		}
		s.stop()
		gone(t, ns, "v"+name)
		f.Forget(nsid)
	}
	if reused == 0 {
		t.Error("no nsid was used again, so this shows nothing")
	}
}

// kernelIn opens a kernel in a namespace until the test ends.
func kernelIn(t *testing.T, ns *nstest.NS) *rtnetlink {
	t.Helper()
	var k *rtnetlink
	var err error
	ns.Do(func() { k, err = openKernel() })
	must(t, err)
	t.Cleanup(func() { must(t, k.close()) })
	return k
}

func TestKernelAnswers(t *testing.T) {
	ns := nstest.New(t)
	k := kernelIn(t, ns)
	yes := func() bool { return true }
	s := sleeper{exec.Command("sleep", "300")}
	s.SysProcAttr = &syscall.SysProcAttr{Cloneflags: newNet}
	must(t, s.Start())
	t.Cleanup(s.stop)
	if nsid, err := k.byProcess(s.pid(), yes); nsid != none || err != nil {
		t.Errorf("without an nsid: %d, %v", nsid, err)
	}
	want := nsidOf(t, ns, s.pid())
	if nsid, err := k.byProcess(s.pid(), yes); nsid != want || err != nil {
		t.Errorf("%d, %v, want %d", nsid, err, want)
	}
	if nsid, err := k.byPid(s.pid()); nsid != want || err != nil {
		t.Errorf("by pid: %d, %v, want %d", nsid, err, want)
	}
	if _, err := k.byProcess(s.pid(), func() bool { return false }); !errors.Is(err, errGone) {
		t.Errorf("of another: %v", err)
	}
	// It dies between the answer and the check.
	_, err := k.byProcess(s.pid(), func() bool { s.stop(); return true })
	if !errors.Is(err, errGone) {
		t.Errorf("died meanwhile: %v", err)
	}
	for _, err := range []error{second(k.byProcess(s.pid(), yes)), second(k.byPid(s.pid())), second(k.byFile("/nowhere")), second(k.byFile("/proc/self/ns/uts"))} {
		if !errors.Is(err, errGone) {
			t.Errorf("gone: %v", err)
		}
	}
	if nsid, err := k.self(); nsid != none || err != nil {
		t.Errorf("own nsid: %d, %v", nsid, err)
	}
	if !k.guarded() {
		t.Error("no pidfd")
	}
}

func second(_ int32, err error) error { return err }

func FuzzDecodeNSID(f *testing.F) {
	f.Add([]byte("\x1c\x00\x00\x00\x58\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x08\x00\x01\x00\xff\xff\xff\xff"))
	f.Add([]byte("\x24\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xfd\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if nsid, _, err := decodeNSID(b); err != nil && nsid != none {
			t.Errorf("%d and yet %v", nsid, err)
		}
	})
}

// helperRoot makes the test binary a Finder without privileges; see TestUnprivileged.
const helperRoot = "OWNER_TEST_ROOT"

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
	data, err := os.Open(self) // in a directory that nobody may not enter
	must(t, err)
	defer data.Close()
	cmd := exec.Command("/proc/self/fd/3", "-test.run=^TestUnprivileged$")
	cmd.ExtraFiles = []*os.File{data}
	cmd.Env = []string{helperRoot + "=" + root, "NSID=" + fmt.Sprint(nsid)}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
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
		t.Errorf("said %q", said)
	}
}

func unprivileged(t *testing.T, root string) {
	f, err := New(Config{Cgroup: root})
	must(t, err)
	defer f.Close()
	var nsid int32
	_, err = fmt.Sscan(os.Getenv("NSID"), &nsid)
	must(t, err)
	c, _ := find(t, f, nsid)
	fmt.Printf("owner %s %s, missing %q\n", c.Pool, c.ID, f.Missing())
}
