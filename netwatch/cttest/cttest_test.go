package cttest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/vishvananda/netlink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// must ends the test on an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// get calls f, and ends the test on an error.
func get[T any](t *testing.T, f func() (T, error)) T {
	t.Helper()
	v, err := f()
	must(t, err)
	return v
}

// carrier waits until the host end has a carrier, or until it has none.
func carrier(t *testing.T, h *Host, name string, want bool) {
	t.Helper()
	must(t, eventually(fmt.Sprintf("carrier of %s: %v", name, want), func() (bool, error) {
		l, err := h.NS().Handle().LinkByName(name)
		if err != nil {
			return false, err
		}
		return (l.Attrs().RawFlags&unix.IFF_LOWER_UP != 0) == want, nil
	}))
}

// gone waits until the host has no link of that name.
func gone(t *testing.T, h *Host, name string) {
	t.Helper()
	must(t, eventually(name+" is gone", func() (bool, error) {
		_, err := h.NS().Handle().LinkByName(name)
		if missing := (netlink.LinkNotFoundError{}); errors.As(err, &missing) {
			return true, nil
		}
		return false, err
	}))
}

// inCgroup expects a process in a cgroup, as the host names it.
func inCgroup(t *testing.T, h *Host, pid int, want string) {
	t.Helper()
	out, err := h.Exec("cat", "/proc/"+strconv.Itoa(pid)+"/cgroup")
	must(t, err)
	if !strings.Contains("\n"+out, "\n0::"+want+"\n") {
		t.Errorf("the host reads that process %d is in\n%s\nwant %s", pid, out, want)
	}
	if _, err := os.Stat(h.CgroupRoot() + want); err != nil {
		t.Error(err)
	}
}

// TestHostsAreApart runs containers of the same names on two hosts, several at a time.
func TestHostsAreApart(t *testing.T) {
	hosts := []*Host{NewHost(t), NewHost(t)}
	var wg sync.WaitGroup
	for _, h := range hosts {
		for i := range 3 {
			wg.Go(func() {
				c := h.LXC(t, LXCConfig{Pool: "tank", ID: strconv.Itoa(i), Interfaces: []Interface{{Pair: "ct" + strconv.Itoa(i)}}})
				if err := errors.Join(c.Start(), c.Reboot(), c.Kill(), c.Start()); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	for _, h := range hosts {
		carrier(t, h, "ct0", true)
	}
}

// TestStateOfMachine wants programs on a host to leave nothing in the machine's /var/lib.
func TestStateOfMachine(t *testing.T) {
	t.Parallel()
	h := NewHost(t)
	file := "/var/lib/" + filepath.Base(h.Dir())
	if _, err := h.Exec("touch", file); err == nil {
		t.Errorf("a host wrote %s", file)
		must(t, os.Remove(file))
	}
}

func TestNetNS(t *testing.T) {
	h := NewHost(t)
	n := h.NetNS(t, "blue")
	if _, err := os.Stat(h.Path("/run/netns/blue")); err != nil {
		t.Error("the test does not see the namespace on the host:", err)
	}
	if _, err := os.Stat("/run/netns/blue"); !errors.Is(err, os.ErrNotExist) {
		t.Error("the namespace is on the machine:", err)
	}
	must(t, n.Veth("vblue", "eth0"))
	i, err := h.NS().Index("vblue")
	must(t, err)
	must(t, h.NS().Up(i))
	for _, state := range []string{"up", "down"} {
		_, err := n.Exec("ip", "link", "set", "eth0", state)
		must(t, err)
		carrier(t, h, "vblue", state == "up")
	}
	must(t, n.Delete())
	gone(t, h, "vblue")
}

func TestPodman(t *testing.T) {
	h := NewHost(t)
	c := h.Podman(t)
	for range 2 {
		must(t, c.Start())
		inCgroup(t, h, get(t, c.InitPID), "/libpod_parent/libpod-"+c.ID())
		veth, err := c.Veth("eth0")
		must(t, err)
		if veth != "veth0" {
			t.Errorf("the host end is %s, want veth0", veth)
		}
		carrier(t, h, veth, true)
		_, err = c.Exec("ip", "link", "set", "eth0", "down")
		must(t, err)
		carrier(t, h, veth, false)
		must(t, c.Stop())
		gone(t, h, veth)
	}
	must(t, c.Start())
	must(t, c.Kill())
	gone(t, h, "veth0")
}

func TestSystemd(t *testing.T) {
	m := BootSystemd(t, MachineConfig{})
	file := filepath.Join(t.TempDir(), "hello")
	must(t, os.WriteFile(file, []byte("#!/bin/sh\necho hello >/mnt/out; cat /proc/self/cgroup\n"), 0o755))
	path, err := m.CopyIn(file)
	must(t, err)
	out, err := m.Exec("systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--unit=hello", path)
	must(t, err)
	if !strings.Contains(out, "0::/system.slice/hello.service\n") {
		t.Errorf("the unit is in the cgroups\n%s", out)
	}
	if b, err := os.ReadFile(filepath.Join(m.Shared(), "out")); string(b) != "hello\n" {
		t.Errorf("copied out: %q, %v", b, err)
	}

	c := m.Nspawn(t, "bb")
	for _, end := range []func() error{c.Stop, c.Kill} {
		must(t, c.Start())
		out, err = m.Exec("cat", "/proc/"+strconv.Itoa(get(t, c.InitPID))+"/cgroup")
		must(t, err)
		if !strings.Contains("\n"+out, "\n0::/machine.slice/machine-bb.scope/payload\n") {
			t.Errorf("the container is in the cgroups\n%s", out)
		}
		for _, state := range []string{"up", "down"} {
			_, err = m.Exec("ip", "link", "set", "ve-bb", "up")
			must(t, err)
			_, err = c.Exec("ip", "link", "set", "host0", state)
			must(t, err)
			must(t, eventually("ve-bb follows host0 "+state, func() (bool, error) {
				out, err := m.Exec("ip", "link", "show", c.Veth())
				return strings.Contains(out, "LOWER_UP") == (state == "up"), err
			}))
		}
		must(t, end())
		if out, err := m.Exec("ip", "link", "show", c.Veth()); err == nil {
			t.Errorf("the veth is still there: %s", out)
		}
	}
	must(t, m.Stop())
	must(t, m.Stop()) // a second Stop does nothing
}

// fatalTB records the message of Fatalf.
type fatalTB struct {
	testing.TB
	msg string
}

func (f *fatalTB) Fatalf(format string, args ...any) {
	f.msg = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// TestMissingTool expects the failure to name the package to install.
func TestMissingTool(t *testing.T) {
	h := NewHost(t)
	t.Setenv("PATH", t.TempDir())
	for pkg, start := range map[string]func(tb testing.TB){
		"util-linux":        func(tb testing.TB) { NewHost(tb) },
		"lxc":               func(tb testing.TB) { h.LXC(tb, LXCConfig{}) },
		"podman":            func(tb testing.TB) { h.Podman(tb) },
		"iproute2":          func(tb testing.TB) { h.NetNS(tb, "a") },
		"systemd-container": func(tb testing.TB) { BootSystemd(tb, MachineConfig{}) },
	} {
		f := &fatalTB{TB: t}
		done := make(chan struct{})
		go func() {
			defer close(done)
			start(f)
		}()
		<-done
		if !strings.HasSuffix(f.msg, "install the Debian package "+pkg) {
			t.Errorf("without %s: %q", pkg, f.msg)
		}
	}
}
