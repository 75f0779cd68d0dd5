package cttest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// LXCConfig configures an LXC container.
type LXCConfig struct {
	// Pool makes the cgroup that osctld makes:
	// /osctl/pool.POOL/group.default/user.1/ct.ID/user-owned/lxc.payload.ID. If it is
	// empty, the cgroup is LXC's default: /lxc.payload.ID.
	Pool string
	// ID is the container's name. If it is empty, the container gets a unique one.
	ID string
	// Interfaces are the veths.
	Interfaces []Interface
	// Mapped gives the container a user namespace: uid 0 inside is 100000 outside.
	Mapped bool
}

// Interface is a veth of a container.
type Interface struct {
	Pair   string // host end; if empty, LXC generates a name at each start
	Name   string // inside; if empty, eth0, eth1, …
	Bridge string // of the host end, made if it does not exist; none if empty
}

// LXC is an LXC container. Its methods are safe for concurrent use, except that only
// one start, stop or reboot may run at a time.
type LXC struct {
	host *Host
	conf LXCConfig
	path string // lxcpath: the directory of all containers of the host

	mu      sync.Mutex
	monitor int // pidfd of the last monitor, -1 if none
}

// LXC makes a container, and does not start it. The container goes when the test ends.
func (h *Host) LXC(tb testing.TB, conf LXCConfig) *LXC {
	tb.Helper()
	requireTools(tb, "lxc-start", "lxc", "busybox", "busybox-static", "ip", "iproute2")
	if conf.ID == "" {
		conf.ID = "ct" + h.unique()
	}
	c := &LXC{host: h, conf: conf, path: filepath.Join(h.dir, "lxc"), monitor: -1}
	tb.Cleanup(func() {
		if err := c.close(tb == h.tb); err != nil {
			tb.Errorf("cttest: end the LXC container %s: %v", conf.ID, err)
		}
	})
	if err := c.setUp(); err != nil {
		tb.Fatalf("cttest: make the LXC container %s: %v", conf.ID, err)
	}
	return c
}

func (c *LXC) setUp() error {
	root, err := c.host.Rootfs()
	if err != nil {
		return err
	}
	for _, i := range c.conf.Interfaces {
		if i.Bridge != "" {
			if err := c.host.Bridge(i.Bridge); err != nil {
				return err
			}
		}
	}
	dir := filepath.Join(c.path, c.conf.ID)
	if err := os.MkdirAll(c.path, 0o755); err != nil { //nolint:gosec // mapped uids must get through
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // as above
		return err
	}
	return os.WriteFile(filepath.Join(dir, "config"), []byte(c.config(root)), 0o600)
}

// config returns the container's configuration, see lxc.container.conf(5).
func (c *LXC) config(root string) string {
	var b strings.Builder
	set := func(key, value string) { fmt.Fprintf(&b, "%s = %s\n", key, value) }
	set("lxc.uts.name", c.conf.ID)
	set("lxc.rootfs.path", "dir:"+root)
	set("lxc.rootfs.options", "ro")
	set("lxc.apparmor.profile", "unconfined")
	set("lxc.mount.auto", "proc:mixed sys:mixed")
	set("lxc.console.path", "none")
	set("lxc.tty.max", "0")
	set("lxc.signal.halt", "SIGUSR1")
	set("lxc.signal.reboot", "SIGTERM")
	if c.conf.Pool != "" {
		top := fmt.Sprintf("osctl/pool.%s/group.default/user.1/ct.%s", c.conf.Pool, c.conf.ID)
		set("lxc.cgroup.dir.container", top+"/user-owned/lxc.payload."+c.conf.ID)
		set("lxc.cgroup.dir.monitor", top+"/lxc.monitor."+c.conf.ID)
	}
	if c.conf.Mapped {
		set("lxc.idmap", "u 0 100000 65536")
		set("lxc.idmap", "g 0 100000 65536")
	}
	for n, i := range c.conf.Interfaces {
		key := fmt.Sprintf("lxc.net.%d.", n)
		set(key+"type", "veth")
		set(key+"flags", "up")
		if i.Name == "" {
			i.Name = fmt.Sprintf("eth%d", n)
		}
		set(key+"name", i.Name)
		if i.Pair != "" {
			set(key+"veth.pair", i.Pair)
		}
		if i.Bridge != "" {
			set(key+"link", i.Bridge)
		}
	}
	return b.String()
}

// close ends the container. With hostEnds it leaves that to the end of the host.
func (c *LXC) close(hostEnds bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	if c.monitor >= 0 {
		if !hostEnds {
			_ = c.Kill() // fails if it does not run
			errs = append(errs, awaitGone(c.monitor))
		}
		errs = append(errs, unix.Close(c.monitor))
		c.monitor = -1
	}
	if !hostEnds {
		errs = append(errs, os.RemoveAll(filepath.Join(c.path, c.conf.ID)))
	}
	return errors.Join(errs...)
}

// ID returns the container's name.
func (c *LXC) ID() string { return c.conf.ID }

// Cgroup returns the cgroup of the container's processes, as the host names it.
func (c *LXC) Cgroup() string {
	if c.conf.Pool == "" {
		return "/lxc.payload." + c.conf.ID
	}
	return fmt.Sprintf("/osctl/pool.%s/group.default/user.1/ct.%s/user-owned/lxc.payload.%[2]s", c.conf.Pool, c.conf.ID)
}

// Start starts the container and returns when it runs: its interfaces exist, and both
// ends are up. After Stop or Kill it first waits until LXC has cleaned up.
func (c *LXC) Start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.monitor >= 0 {
		if err := awaitGone(c.monitor); err != nil {
			return fmt.Errorf("container %s: %w", c.conf.ID, err)
		}
		_ = unix.Close(c.monitor)
		c.monitor = -1
	}
	log := filepath.Join(c.path, c.conf.ID, "log")
	if _, err := run(c.command("lxc-start", "--logfile="+log, "--logpriority=INFO")); err != nil {
		output, _ := os.ReadFile(log) //nolint:gosec // our own file
		return fmt.Errorf("%w\n%s", err, output)
	}
	pid, err := c.InitPID()
	if err != nil {
		return err
	}
	if pid, err = parentOf(pid); err != nil {
		return err
	}
	c.monitor, err = unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("pidfd of the monitor of %s: %w", c.conf.ID, err)
	}
	return nil
}

// Stop lets the container power off, and returns when it is stopped.
func (c *LXC) Stop() error {
	if err := c.awaitHandlers(); err != nil {
		return err
	}
	_, err := run(c.command("lxc-stop", "--timeout=60"))
	return err
}

// awaitHandlers waits until the container's process 1 handles the signals of initScript,
// because the kernel drops a signal for which a process 1 has no handler.
func (c *LXC) awaitHandlers() error {
	return eventually("process 1 of "+c.conf.ID+" handles signals", func() (bool, error) {
		pid, err := c.InitPID()
		if err != nil {
			return false, err
		}
		text, err := statusOf(pid, "SigCgt")
		if err != nil {
			return false, err
		}
		caught, err := strconv.ParseUint(text, 16, 64)
		const both = 1<<(unix.SIGUSR1-1) | 1<<(unix.SIGTERM-1)
		return caught&both == both, err
	})
}

// Kill kills the container (lxc-stop -k), and returns when it is stopped.
func (c *LXC) Kill() error {
	_, err := run(c.command("lxc-stop", "--kill"))
	return err
}

// Reboot lets the container reboot (lxc-stop -r), and returns when it runs again:
// with the same monitor, another process 1 and other interfaces.
func (c *LXC) Reboot() error {
	if err := c.awaitHandlers(); err != nil {
		return err
	}
	_, err := run(c.command("lxc-stop", "--reboot", "--timeout=60"))
	return err
}

// Freeze freezes the container (lxc-freeze).
func (c *LXC) Freeze() error {
	_, err := run(c.command("lxc-freeze"))
	return err
}

// Thaw thaws the container (lxc-unfreeze).
func (c *LXC) Thaw() error {
	_, err := run(c.command("lxc-unfreeze"))
	return err
}

// Exec runs a command inside (lxc-attach), and returns its standard output.
func (c *LXC) Exec(args ...string) (string, error) {
	return run(c.Command(args...))
}

// Command returns a command that runs inside.
func (c *LXC) Command(args ...string) *exec.Cmd {
	return c.command("lxc-attach", append([]string{"--clear-env", "--set-var=PATH=/bin", "--"}, args...)...)
}

// InitPID returns the pid of the container's process 1, for the host and the test. It
// changes with a reboot.
func (c *LXC) InitPID() (int, error) { return c.host.initOf(c.Cgroup()) }

// Veth returns the present name of the host end of an interface, by its name inside.
func (c *LXC) Veth(inside string) (string, error) {
	out, err := c.Exec("cat", "/sys/class/net/"+inside+"/iflink")
	if err != nil {
		return "", err
	}
	return c.host.linkName(out)
}

func (c *LXC) command(name string, args ...string) *exec.Cmd {
	return c.host.Command(name, append([]string{"--lxcpath=" + c.path, "--name=" + c.conf.ID}, args...)...)
}
