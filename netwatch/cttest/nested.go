package cttest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Nspawn is a systemd-nspawn container with --network-veth in a [Machine]. The host end
// of its veth is ve-NAME, the other end host0.
type Nspawn struct {
	machine *Machine
	name    string
}

// Nspawn makes a container of the small system, and does not start it. The name may
// have at most 12 characters, because systemd shortens the name of the veth otherwise.
// The container goes with the machine.
func (m *Machine) Nspawn(tb testing.TB, name string) *Nspawn {
	tb.Helper()
	root, err := m.host.Rootfs()
	if err == nil {
		// A copy, because systemd-nspawn locks the directory; and in /mnt, because that
		// is on no overlay.
		err = os.CopyFS(filepath.Join(m.Shared(), name), os.DirFS(root))
	}
	if err != nil {
		tb.Fatalf("cttest: make the container %s: %v", name, err)
	}
	return &Nspawn{machine: m, name: name}
}

// Cgroup returns the cgroup of the container's processes, as the machine names it.
func (n *Nspawn) Cgroup() string { return "/machine.slice/machine-" + n.name + ".scope/payload" }

// Veth returns the name of the host end of the container's veth.
func (n *Nspawn) Veth() string { return "ve-" + n.name }

// Start starts the container in a transient unit, and returns when it runs. Both ends
// of its veth stay down.
func (n *Nspawn) Start() error {
	// Without the variable systemd-nspawn uses v1 cgroups for a system without systemd,
	// and makes some in the machine's name=systemd hierarchy.
	_, err := n.machine.Exec("systemd-run", "--quiet", "--collect", "--service-type=notify", "--unit="+n.unit(),
		"--setenv=SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1",
		"systemd-nspawn", "--quiet", "--machine="+n.name, "--directory="+filepath.Join(shared, n.name),
		"--network-veth", "--volatile=no", "--kill-signal=SIGUSR1", "--link-journal=no", "/sbin/init")
	return err
}

// Stop stops the container's unit, which lets it power off, and returns when the unit
// and the veth are gone.
func (n *Nspawn) Stop() error {
	if _, err := n.machine.Exec("systemctl", "stop", n.unit()); err != nil {
		return err
	}
	return n.awaitVethGone()
}

// Kill kills the container, and returns when its unit and the veth are gone. It does not
// kill the unit, because the container is in a scope of its own and would go on.
func (n *Nspawn) Kill() error {
	if _, err := n.machine.Exec("machinectl", "kill", "--signal=KILL", n.name); err != nil {
		return err
	}
	err := eventually("the unit "+n.unit()+" is gone", func() (bool, error) {
		out, err := n.machine.Exec("systemctl", "show", "--property=LoadState,ActiveState", n.unit())
		return strings.Contains(out, "LoadState=not-found") && strings.Contains(out, "ActiveState=inactive"), err
	})
	if err != nil {
		return err
	}
	return n.awaitVethGone()
}

// Freeze freezes the container (systemctl freeze).
func (n *Nspawn) Freeze() error { return n.systemctl("freeze") }

// Thaw thaws the container (systemctl thaw).
func (n *Nspawn) Thaw() error { return n.systemctl("thaw") }

func (n *Nspawn) systemctl(verb string) error {
	_, err := n.machine.Exec("systemctl", verb, "machine-"+n.name+".scope")
	return err
}

// awaitVethGone waits until the veth is gone, because the kernel deletes the veths of a
// dead namespace some time later. Until then the name is taken.
func (n *Nspawn) awaitVethGone() error {
	path := n.machine.Path("/sys/class/net/" + n.Veth())
	return eventually(n.Veth()+" is gone", func() (bool, error) {
		_, err := os.Lstat(path)
		if errors.Is(err, os.ErrNotExist) {
			return true, nil
		}
		return false, err
	})
}

func (n *Nspawn) unit() string { return "nspawn-" + n.name + ".service" }

// InitPID returns the pid of the container's process 1 in the machine. The test sees
// another pid.
func (n *Nspawn) InitPID() (int, error) {
	out, err := n.machine.Exec("machinectl", "show", "--property=Leader", "--value", n.name)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(out))
	if err != nil {
		return 0, fmt.Errorf("leader of %s: %w", n.name, err)
	}
	return pid, nil
}

// Exec runs a command inside, and returns its standard output.
func (n *Nspawn) Exec(args ...string) (string, error) {
	pid, err := n.InitPID()
	if err != nil {
		return "", err
	}
	return n.machine.Exec("nsenter", append([]string{"--target=" + strconv.Itoa(pid), "--all", "--root", "--"}, args...)...)
}
