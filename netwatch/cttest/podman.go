package cttest

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// PodmanImage is the name of the small system as an image.
const PodmanImage = "localhost/cttest:latest"

// Podman is a podman container with one interface, on podman's default bridge. Its
// methods are safe for concurrent use.
type Podman struct {
	host *Host
	id   string
}

// Podman makes a container with a podman that has its state on the host, and does not
// start it. The container goes with the host.
func (h *Host) Podman(tb testing.TB) *Podman {
	tb.Helper()
	h.requirePodman(tb)
	// Limits that podman raises by default may be above what the machine allows.
	out, err := run(h.podman("create", "--privileged", "--pids-limit=-1", "--stop-signal=SIGUSR1",
		"--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024", PodmanImage, "/sbin/init"))
	if err != nil {
		tb.Fatalf("cttest: make a podman container: %v", err)
	}
	return &Podman{host: h, id: strings.TrimSpace(out)}
}

// PodmanCommand returns a podman command on the host with the arguments args. The image [PodmanImage]
// exists.
func (h *Host) PodmanCommand(tb testing.TB, args ...string) *exec.Cmd {
	tb.Helper()
	h.requirePodman(tb)
	return h.podman(args...)
}

// requirePodman fails the test if podman is not installed, and makes the image.
func (h *Host) requirePodman(tb testing.TB) {
	tb.Helper()
	requireTools(tb, "podman", "podman", "crun", "crun", "conmon", "conmon", "iptables", "iptables",
		"busybox", "busybox-static", "tar", "tar", "/usr/lib/podman/netavark", "netavark")
	if err := h.podmanImage(); err != nil {
		tb.Fatalf("cttest: make a podman image: %v", err)
	}
}

// importImage makes the image.
func (h *Host) importImage() error {
	root, err := h.Rootfs()
	if err != nil {
		return err
	}
	archive := filepath.Join(h.dir, "image.tar")
	if _, err := run(command("tar", "-C", root, "-cf", archive, ".")); err != nil {
		return err
	}
	_, err = run(h.podman("import", archive, PodmanImage))
	return err
}

// podman returns a podman command with all its state in the host's directory, and with
// the runtime, cgroups and events that need no systemd. It has a high priority, because
// podman sets the interface up before the container's cgroup has a process, and on a busy
// machine the time between would be longer than a watcher waits for an owner.
func (h *Host) podman(args ...string) *exec.Cmd {
	dir := filepath.Join(h.dir, "podman")
	return h.Command("nice", append([]string{
		"--adjustment=-20", "podman",
		"--root=" + dir + "/root", "--runroot=" + dir + "/runroot", "--tmpdir=" + dir + "/tmp",
		"--network-config-dir=" + dir + "/networks", "--runtime=crun",
		"--cgroup-manager=cgroupfs", "--events-backend=file",
	}, args...)...)
}

// ID returns the container's ID: 64 hexadecimal digits.
func (p *Podman) ID() string { return p.id }

// Cgroup returns the cgroup of the container's processes, as the host names it.
func (p *Podman) Cgroup() string { return "/libpod_parent/libpod-" + p.id }

// Start starts the container.
func (p *Podman) Start() error { return p.do("start") }

// Stop lets the container power off (podman stop), and returns when its interface is gone.
func (p *Podman) Stop() error { return p.do("stop") }

// Kill kills the container (podman stop -t 0), and returns when its interface is gone.
func (p *Podman) Kill() error { return p.do("stop", "--time=0") }

// Freeze freezes the container (podman pause).
func (p *Podman) Freeze() error { return p.do("pause") }

// Thaw thaws the container (podman unpause).
func (p *Podman) Thaw() error { return p.do("unpause") }

func (p *Podman) do(args ...string) error {
	_, err := run(p.host.podman(append(args, p.id)...))
	return err
}

// Exec runs a command inside, and returns its standard output.
func (p *Podman) Exec(args ...string) (string, error) {
	return run(p.host.podman(append([]string{"exec", p.id}, args...)...))
}

// InitPID returns the pid of the container's process 1, for the host and the test.
func (p *Podman) InitPID() (int, error) {
	out, err := run(p.host.podman("inspect", "--format={{.State.Pid}}", p.id))
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(out))
	if err != nil || pid <= 0 {
		return 0, fmt.Errorf("the container %s has no process 1: podman says %q", p.id, out)
	}
	return pid, nil
}

// Veth returns the present name of the host end of an interface, by its name inside:
// eth0.
func (p *Podman) Veth(inside string) (string, error) {
	out, err := p.Exec("cat", "/sys/class/net/"+inside+"/iflink")
	if err != nil {
		return "", err
	}
	return p.host.linkName(out)
}
