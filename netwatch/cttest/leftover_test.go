package cttest

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// leftovers opens pidfds of the processes of a host, and returns a function that
// expects them dead and the rest of the host gone.
func leftovers(t *testing.T, cgroup, dir string) func() {
	t.Helper()
	var held []int
	err := filepath.WalkDir(cgroup, func(path string, _ os.DirEntry, err error) error {
		// Short-lived processes of the system may end now, and their cgroups go.
		if errors.Is(err, os.ErrNotExist) || err == nil && filepath.Base(path) != "cgroup.procs" {
			return nil
		}
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
			return nil
		}
		for field := range strings.FieldsSeq(string(b)) {
			pid, err := strconv.Atoi(field)
			must(t, err)
			pidfd, err := unix.PidfdOpen(pid, 0)
			if errors.Is(err, unix.ESRCH) {
				continue
			}
			must(t, err)
			t.Cleanup(func() { _ = unix.Close(pidfd) })
			held = append(held, pidfd)
		}
		return err
	})
	must(t, err)
	return func() {
		t.Helper()
		for _, pidfd := range held {
			if err := awaitGone(pidfd); err != nil { // its cgroup may be gone while it still exits
				t.Fatal(err)
			}
		}
		if len(held) < 3 {
			t.Errorf("only %d processes were found", len(held))
		}
		for _, path := range []string{cgroup, dir} {
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is still there: %v", path, err)
			}
		}
		b, err := os.ReadFile("/proc/self/mountinfo")
		must(t, err)
		if strings.Contains(string(b), filepath.Base(dir)) {
			t.Errorf("mounts are left:\n%s", b)
		}
	}
}

// populate starts one container of each kind.
func populate(tb testing.TB) *Host {
	tb.Helper()
	h := NewHost(tb)
	c := h.LXC(tb, LXCConfig{Pool: "tank", Interfaces: []Interface{{}}})
	err := errors.Join(c.Start(), h.LXC(tb, LXCConfig{Mapped: true}).Start(), h.Podman(tb).Start())
	if err != nil {
		tb.Fatal(err)
	}
	h.NetNS(tb, "blue")
	return h
}

// TestNothingIsLeft expects everything gone after a test that stops nothing.
func TestNothingIsLeft(t *testing.T) {
	check := func() {}
	t.Run("containers", func(t *testing.T) {
		h := populate(t)
		check = leftovers(t, h.CgroupRoot(), h.Dir())
	})
	check()
	t.Run("machine", func(t *testing.T) {
		m := BootSystemd(t, MachineConfig{})
		must(t, m.Nspawn(t, "bb").Start())
		check = leftovers(t, m.Host().CgroupRoot(), m.Host().Dir())
	})
	check()
}

// TestKilled expects the same after the test process was killed. It is both that process
// and the one that checks.
func TestKilled(t *testing.T) {
	if os.Getenv("CTTEST_VICTIM") != "" {
		h := populate(t)
		fmt.Fprintln(os.Stderr, h.CgroupRoot(), h.Dir())
		select {}
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), "CTTEST_VICTIM=1")
	stderr, err := cmd.StderrPipe()
	must(t, err)
	must(t, cmd.Start())
	line, err := bufio.NewReader(stderr).ReadString('\n')
	var check func()
	fields := strings.Fields(line)
	if len(fields) == 2 {
		check = leftovers(t, fields[0], fields[1])
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	if check == nil {
		t.Fatalf("the victim printed %q, %v", line, err)
	}
	must(t, eventually("the directory is gone", func() (bool, error) {
		_, err := os.Stat(fields[1])
		return errors.Is(err, os.ErrNotExist), nil
	}))
	check()
}
