package owner

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/netwatch/nstest"
)

// TestPidsOf compares what a pidfd says with the status.
func TestPidsOf(t *testing.T) {
	k, err := openKernel()
	must(t, err)
	defer func() { must(t, k.close()) }()
	s := sleeper{exec.Command("sleep", "300")}
	s.SysProcAttr = &syscall.SysProcAttr{Cloneflags: newPid}
	must(t, s.Start())
	t.Cleanup(s.stop)
	open := 0 // files, from the second on
	for i, pid := range []int{s.pid(), os.Getpid(), s.pid(), os.Getpid()} {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		must(t, err)
		want, _ := nspidOf(status)
		got, err := k.pidsOf(pid)
		if err != nil || string(got) != string(want) || len(want) == 0 {
			t.Errorf("of %d: %q, %v, want %q", pid, got, err, want)
		}
		if i == 1 {
			open = openFiles(t)
		}
	}
	if now := openFiles(t); now > open {
		t.Errorf("%d files are open, and were %d before", now, open)
	}
	if flags, err := unix.FcntlInt(uintptr(k.held), unix.F_GETFD, 0); flags != unix.FD_CLOEXEC || err != nil {
		t.Errorf("flags of a pidfd: %d, %v", flags, err)
	}
	s.stop()
	if line, err := k.pidsOf(s.pid()); string(line) != "\t-1" && string(line) != "\t0" && err == nil {
		t.Errorf("of a dead one that is held: %q, %v", line, err)
	}
	k.release()
	if text, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", k.slot)); err != nil || strings.Contains(string(text), "NSpid") {
		t.Errorf("a pidfd is still held: %q, %v", text, err)
	}
	if _, err := k.pidsOf(s.pid()); !errors.Is(err, errGone) {
		t.Errorf("of a dead one: %v", err)
	}
}

// TestPidsNotTold has no file say what a pidfd is of: one is held at a time even so.
func TestPidsNotTold(t *testing.T) {
	k, err := openKernel()
	must(t, err)
	must(t, k.fdinfo.Close())
	k.fdinfo = nil
	defer func() { must(t, k.close()) }()
	before := openFiles(t)
	for range 3 {
		for _, pid := range []int{1, os.Getpid()} {
			if _, err := k.pidsOf(pid); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("of %d: %v", pid, err)
			}
		}
	}
	k.release()
	if now := openFiles(t); now > before {
		t.Errorf("%d files are open, and were %d before", now, before)
	}
}

// TestLimitFalls has fewer descriptors be allowed than the one that pidfds take turns at.
func TestLimitFalls(t *testing.T) {
	for _, released := range []bool{true, false} {
		k, err := openKernel()
		must(t, err)
		files := make([]*os.File, 20) // so that lower numbers are free in the end
		for i := range files {
			files[i], err = os.Open("/")
			must(t, err)
		}
		_, err = k.pidsOf(os.Getpid())
		must(t, err)
		for _, file := range files {
			must(t, file.Close())
		}
		if released {
			k.release()
		}
		var limit unix.Rlimit
		must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
		must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(k.slot), Max: limit.Max}))
		_, err = k.pidsOf(1)
		must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
		if err != nil {
			t.Errorf("released=%v: %v", released, err)
		}
		must(t, k.close())
	}
}

// TestScanLetsGo holds no process after all were gone over.
func TestScanLetsGo(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	s := sleepIn(t, filepath.Join(root, "lxc.payload.a"))
	nsid := nsidOf(t, ns, s.pid())
	f := finderIn(t, ns, Config{Cgroup: root})
	f.mountHierarchies()
	f.walkProcesses(t.Context(), nobody)
	if c, ok := f.lookUp(nsid); !ok || c.ID != "a" {
		t.Errorf("owner %v, %v", c, ok)
	}
	if pid := f.kernel.(*rtnetlink).heldPid; pid != 0 {
		t.Errorf("%d is held", pid)
	}
}
