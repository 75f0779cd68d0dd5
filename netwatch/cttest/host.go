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
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/osctl/eventd/netwatch/nstest"
	"golang.org/x/sys/unix"
)

// Host is a network namespace that containers can be started on, with a mount
// namespace and cgroups of its own around it. Its methods are safe for concurrent
// use.
type Host struct {
	tb          testing.TB
	cgroups     Cgroups
	ns          *nstest.NS
	dir         string   // for files of any kind; every uid may enter it
	cgroup      string   // directory of the host's cgroup
	joined      *os.File // the cgroup in which commands start
	reaper      *reaper
	init        *exec.Cmd // holds the namespaces
	stdin       *os.File  // of init
	count       atomic.Int64
	rootfs      func() (string, error)
	podmanImage func() error
}

// hostScript sets up the mounts of a host and holds its namespaces until the
// standard input ends. LXC needs /run/lock, ip(8) needs /run/netns, and podman has
// locks in /dev/shm. LXC takes the cgroup of process 1 for the root, which is wrong
// in a cgroup namespace, so another file covers /proc/1/cgroup. After that a process
// in a user namespace may mount a proc only because there is a second one with
// nothing mounted over it (mount_too_revealing in the kernel's fs/namespace.c).
// newuidmap(1) maps only the uids in /etc/subuid. podman, with any --root, has a cache in
// /var/lib/containers, unless it cannot write there.
const hostScript = `set -eu
umount -l /sys
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount --rbind /var/lib /var/lib
mount -o remount,bind,ro /var/lib
mkdir -p /run/lock /run/netns /run/cttest-proc
mount -t proc proc /run/cttest-proc
` + mountScript + `mount --bind /run/cttest-cgroup /proc/1/cgroup
printf 'root:100000:65536\n' >/run/cttest-subid
for f in /etc/subuid /etc/subgid; do [ ! -e $f ] || mount --bind /run/cttest-subid $f; done
echo ready
read -r _ || exit 0
`

// NewHost makes a host without containers, with the loopback interface up and pure v2
// cgroups. The host and all processes on it go when the test ends.
func NewHost(tb testing.TB) *Host {
	tb.Helper()
	return NewHostWith(tb, V2)
}

// NewHostWith makes a host with other cgroups. On V1 and Hybrid only LXC runs.
func NewHostWith(tb testing.TB, cgroups Cgroups) *Host {
	tb.Helper()
	requireTools(tb, "unshare", "util-linux", "nsenter", "util-linux", "mount", "mount", "find", "findutils",
		"ip", "iproute2")
	h := &Host{tb: tb, cgroups: cgroups, ns: nstest.New(tb)}
	h.rootfs = sync.OnceValues(h.makeRootfs)
	h.podmanImage = sync.OnceValue(h.importImage)
	tb.Cleanup(func() {
		if err := h.close(); err != nil {
			tb.Errorf("cttest: end the host: %v", err)
		}
	})
	if err := h.setUp(); err != nil {
		tb.Fatalf("cttest: make a host: %v", err)
	}
	return h
}

func (h *Host) setUp() (err error) {
	// Not in tb.TempDir, because only its owner may enter that.
	if h.dir, err = os.MkdirTemp("/tmp", "cttest-"); err != nil {
		return err
	}
	if err := os.Chmod(h.dir, 0o755); err != nil { //nolint:gosec // mapped uids must reach their root
		return err
	}
	top, err := cgroup2Mount()
	if err != nil {
		return err
	}
	h.cgroup = filepath.Join(top, filepath.Base(h.dir))
	if h.reaper, err = startReaper(h.cgroups, h.cgroup, h.dir); err != nil {
		return err
	}
	if err := os.Mkdir(h.cgroup, 0o755); err != nil { //nolint:gosec // as all cgroups
		return err
	}
	if err := h.startInit(); err != nil {
		return err
	}
	h.joined, err = os.Open(filepath.Join(h.cgroup, "init.scope"))
	if err != nil {
		return err
	}
	lo, err := h.ns.Index("lo")
	if err != nil {
		return err
	}
	return h.ns.Up(lo)
}

// startInit starts the process that holds the namespaces, and waits until they are
// set up.
func (h *Host) startInit() error {
	cgroup, err := os.Open(h.cgroup)
	if err != nil {
		return err
	}
	defer func() { _ = cgroup.Close() }()
	stdin, w, err := os.Pipe()
	if err != nil {
		return err
	}
	h.stdin = w
	defer func() { _ = stdin.Close() }()

	// The root of a cgroup namespace is the cgroup of the process that makes it.
	cmd := command("/bin/sh", "-c", joinScript, "cttest-host", string(h.cgroups), filepath.Base(h.cgroup),
		"unshare", "--cgroup", "--", "/bin/sh", "-c", hostScript, "cttest-host", string(h.cgroups))
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: unix.CLONE_NEWNS, // os/exec then makes all mounts private
		UseCgroupFD:  true, CgroupFD: int(cgroup.Fd()),
	}
	cmd.Stdin = stdin
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := h.ns.Start(cmd); err != nil {
		return err
	}
	h.init = cmd
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		err = errors.Join(err, cmd.Wait())
		h.init = nil
		return fmt.Errorf("set up the namespaces: %w: %s", err, stderr.String())
	}
	return nil
}

// close ends the host, in whatever state of setUp it is.
func (h *Host) close() error {
	var errs []error
	if h.joined != nil {
		errs = append(errs, h.joined.Close())
	}
	if h.reaper != nil {
		errs = append(errs, h.reaper.reap())
	}
	if h.init != nil {
		_ = h.init.Wait() // it was killed
	}
	if h.stdin != nil {
		errs = append(errs, h.stdin.Close())
	}
	return errors.Join(errs...)
}

// NS returns the host's network namespace.
func (h *Host) NS() *nstest.NS { return h.ns }

// Dir returns a directory of the host, which has the same path on the host and in
// the test. Every uid may enter it. It goes with the host.
func (h *Host) Dir() string { return h.dir }

// Path returns the path by which the test finds a file of the host. path is absolute
// on the host: /run/netns, say.
func (h *Host) Path(path string) string {
	return fmt.Sprintf("/proc/%d/root%s", h.init.Process.Pid, path)
}

// CgroupRoot returns where the test finds the host's cgroups: a directory of the
// machine's cgroup2. On the host itself they are at /sys/fs/cgroup.
func (h *Host) CgroupRoot() string { return h.cgroup }

// Command returns a command that runs on the host, in the host's namespaces and its
// cgroup /init.scope. The process of the command is the program, so it can be
// signalled. Do not change the fields of SysProcAttr that are set.
func (h *Host) Command(name string, args ...string) *exec.Cmd {
	pid := strconv.Itoa(h.init.Process.Pid)
	wd, err := os.Getwd() // nsenter would change to the root of the mount namespace
	if err != nil {
		wd = "/"
	}
	all := append([]string{"--target=" + pid, "--mount", "--net", "--cgroup", "--wd=" + wd, "--", name}, args...)
	cmd := command("nsenter", all...)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(h.joined.Fd())}
	return cmd
}

// Exec runs a command on the host, and returns its standard output.
func (h *Host) Exec(name string, args ...string) (string, error) {
	return run(h.Command(name, args...))
}

// Bridge makes a bridge that is up, unless the host has one of that name.
func (h *Host) Bridge(name string) error {
	if _, err := h.ns.Index(name); err == nil {
		return nil
	}
	_, err := h.Exec("ip", "link", "add", name, "up", "type", "bridge")
	return err
}

// linkName returns the name of the host's link with an ifindex, given as text.
func (h *Host) linkName(ifindex string) (string, error) {
	i, err := strconv.Atoi(strings.TrimSpace(ifindex))
	if err != nil {
		return "", fmt.Errorf("ifindex of a host end: %w", err)
	}
	link, err := h.ns.Handle().LinkByIndex(i)
	if err != nil {
		return "", fmt.Errorf("host end with ifindex %d: %w", i, err)
	}
	return link.Attrs().Name, nil
}

// unique returns another name on each host and in each call. It has at most 14
// characters, so an interface may have it after one letter.
func (h *Host) unique() string {
	id := strings.TrimPrefix(filepath.Base(h.dir), "cttest-")
	return fmt.Sprintf("%s%03d", id[:min(len(id), 10)], h.count.Add(1))
}

// awaitGone waits until a process that is no child of the test has ended.
func awaitGone(pidfd int) error {
	end := time.Now().Add(deadline)
	for {
		fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}} //nolint:gosec // an fd fits
		n, err := unix.Poll(fds, int(time.Until(end).Milliseconds()))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("poll the pidfd: %w", err)
		case n == 0:
			return fmt.Errorf("process still alive after %v", deadline)
		default:
			return nil
		}
	}
}
