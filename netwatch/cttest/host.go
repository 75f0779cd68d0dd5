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
	cgroup      string   // directory of its cgroup
	joined      *os.File // the cgroup that commands start in
	reaper      *reaper
	init        *exec.Cmd // holds the namespaces
	stdin       *os.File  // of init
	count       atomic.Int64
	rootfs      func() (string, error)
	podmanImage func() error
}

// hostScript makes a host of the cgroup and mount namespace that it is started in,
// both the host's own, and holds them until its standard input ends. /run/lock is
// where LXC locks, /run/netns where ip(8) names namespaces. LXC takes the cgroup of
// process 1 for the root of all, which is not so in a cgroup namespace. Who has a user
// namespace may mount a proc only where another one is seen with nothing mounted over
// it (mount_too_revealing in the kernel's fs/namespace.c): hence the second one.
// In /dev/shm podman keeps locks. newuidmap(1), where there is one, gives uids only to those who are listed.
const hostScript = `set -eu
umount -l /sys
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mkdir -p /run/lock /run/netns /run/cttest-proc
mount -t proc proc /run/cttest-proc
` + mountScript + `mount --bind /run/cttest-cgroup /proc/1/cgroup
printf 'root:100000:65536\n' >/run/cttest-subid
for f in /etc/subuid /etc/subgid; do [ ! -e $f ] || mount --bind /run/cttest-subid $f; done
echo ready
read -r _ || exit 0
`

// NewHost makes a host without containers, with the loopback interface up and pure v2
// cgroups. It and all that was started on it go when the test ends.
func NewHost(tb testing.TB) *Host {
	tb.Helper()
	return NewHostWith(tb, V2)
}

// NewHostWith makes a host with other cgroups. Only LXC runs on one with others than v2.
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
	// Not below testing's TempDir: only its owner may enter that.
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

	// The root of a cgroup namespace is the cgroup that its maker is in.
	cmd := command("/bin/sh", "-c", joinScript, "cttest-host", string(h.cgroups), filepath.Base(h.cgroup),
		"unshare", "--cgroup", "--", "/bin/sh", "-c", hostScript, "cttest-host", string(h.cgroups))
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: unix.CLONE_NEWNS, // all mounts private, says os/exec
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

// close ends everything, in whatever state it is.
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

// Dir returns a directory of the host's own, at the same path on the host and in
// the test. Every uid may enter it. It goes with the host.
func (h *Host) Dir() string { return h.dir }

// Path returns where the test finds a file of the host, given by its absolute path
// there: /run/netns, say.
func (h *Host) Path(path string) string {
	return fmt.Sprintf("/proc/%d/root%s", h.init.Process.Pid, path)
}

// CgroupRoot returns where the test finds the host's cgroups: a directory of the
// machine's cgroup2. On the host itself they are at /sys/fs/cgroup.
func (h *Host) CgroupRoot() string { return h.cgroup }

// CgroupOf returns the cgroup of a process as it is called on the host: the path in
// the v2 line of its /proc/PID/cgroup as [Host.Command] sees it.
func (h *Host) CgroupOf(pid int) (string, error) {
	path, err := cgroupOf(pid)
	if err != nil {
		return "", err
	}
	inside, ok := strings.CutPrefix(path, "/"+filepath.Base(h.cgroup))
	switch {
	case !ok || inside != "" && inside[0] != '/':
		return "", fmt.Errorf("process %d is not on this host, but in the cgroup %s", pid, path)
	case inside == "":
		return "/", nil
	}
	return inside, nil
}

// Command returns a command that runs on the host: in its namespaces, and in the
// cgroup /init.scope of it. Its process is the program's, so that it can be
// signalled. Fields of SysProcAttr may be changed, but keep those that are set.
func (h *Host) Command(name string, args ...string) *exec.Cmd {
	pid := strconv.Itoa(h.init.Process.Pid)
	wd, err := os.Getwd() // nsenter goes to the root of the mount namespace
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

// Bridge makes sure that the host has a bridge of that name, which is up.
func (h *Host) Bridge(name string) error {
	if _, err := h.ns.Index(name); err == nil {
		return nil
	}
	_, err := h.Exec("ip", "link", "add", name, "up", "type", "bridge")
	return err
}

// linkName returns the name of the host's link with the ifindex that a container
// printed.
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

// unique returns a name that no other host and no other call gives: at most 14
// characters, as long as an interface name may be with one letter before it.
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
