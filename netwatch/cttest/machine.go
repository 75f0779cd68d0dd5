package cttest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Machine is a Debian 12 with systemd as process 1, in a systemd-nspawn. It has its own
// network, processes and cgroup2. Its changes of files are lost when it stops.
type Machine struct {
	host   *Host
	cmd    *exec.Cmd
	log    *os.File
	leader int // pid of its process 1, for the test
	ended  chan struct{}
}

// MachineConfig configures a machine.
type MachineConfig struct {
	// Broker makes dbus-broker the system bus, in place of dbus-daemon.
	Broker bool
}

// shared is the path of [Machine.Shared] in the machine.
const shared = "/mnt"

// nspawnScript boots the system $1 under the name $2, with the directory $3 shared,
// in a cgroup of its own. Changed files go to memory, so that several machines may run
// from one image. If $4 is not empty, dbus.service is an alias of that unit, as after
// systemctl enable.
const nspawnScript = `set -eu
cd /run
mkdir -p /sys/fs/cgroup/machine cttest-machine/root cttest-machine/upper cttest-machine/work
echo $$ >/sys/fs/cgroup/machine/cgroup.procs
mount -t overlay -o "lowerdir=$1,upperdir=cttest-machine/upper,workdir=cttest-machine/work" overlay cttest-machine/root
[ -z "$4" ] || ln -s "/lib/systemd/system/$4" cttest-machine/root/etc/systemd/system/dbus.service
exec systemd-nspawn --quiet --register=no --keep-unit --directory=/run/cttest-machine/root --machine="$2" \
	--private-network --capability=all --bind="$3:` + shared + `" \
	--kill-signal=SIGRTMIN+3 --notify-ready=yes --console=pipe --boot systemd.show_status=0
`

// BootSystemd boots a Debian and returns when systemd says that it is up. The first
// call on a machine installs that Debian to the user's cache directory, with
// mmdebstrap and a Debian mirror. The machine goes when the test ends.
func BootSystemd(tb testing.TB, conf MachineConfig) *Machine {
	tb.Helper()
	requireTools(tb, "systemd-nspawn", "systemd-container", "mmdebstrap", "mmdebstrap", "busybox", "busybox-static")
	image, err := debianImage()
	if err != nil {
		tb.Fatalf("cttest: %v", err)
	}
	m := &Machine{host: NewHost(tb), ended: make(chan struct{})}
	if err := m.boot(image, conf); err != nil {
		tb.Fatalf("cttest: boot systemd: %v\n%s", err, m.bootLog())
	}
	return m
}

func (m *Machine) boot(image string, conf MachineConfig) error {
	files := m.Shared()
	if err := os.Mkdir(files, 0o755); err != nil { //nolint:gosec // daemons in the machine run files of it
		return err
	}
	notify := filepath.Join(m.host.dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetReadDeadline(time.Now().Add(deadline)); err != nil {
		return err
	}
	if m.log, err = os.Create(filepath.Join(m.host.dir, "boot.log")); err != nil {
		return err
	}
	bus := ""
	if conf.Broker {
		bus = "dbus-broker.service"
	}
	cmd := m.host.Command("/bin/sh", "-c", nspawnScript, "cttest-machine", image, m.host.unique(), files, bus)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+notify, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1")
	cmd.Stdout, cmd.Stderr = m.log, m.log
	if err := cmd.Start(); err != nil {
		return err
	}
	m.cmd = cmd
	go func() {
		defer close(m.ended)
		_ = cmd.Wait() // it was stopped or killed
		_ = conn.SetReadDeadline(time.Unix(1, 0))
	}()
	// This cleanup runs before that of the host, which removes the log.
	m.host.tb.Cleanup(m.close)
	return m.awaitReady(conn)
}

// awaitReady reads the notifications of systemd-nspawn (sd_notify(3)) until the machine is up.
func (m *Machine) awaitReady(conn *net.UnixConn) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return fmt.Errorf("the machine is not up: %w", err)
		}
		for line := range strings.Lines(string(buf[:n])) {
			line = strings.TrimSpace(line)
			if pid, ok := strings.CutPrefix(line, "X_NSPAWN_LEADER_PID="); ok {
				if m.leader, err = strconv.Atoi(pid); err != nil {
					return err
				}
			}
			if line == "READY=1" && m.leader > 0 {
				return nil
			}
		}
	}
}

func (m *Machine) close() {
	_ = m.cmd.Process.Signal(unix.SIGKILL) // the processes inside die with the host's cgroup
	<-m.ended
	_ = m.log.Close()
}

// bootLog returns the output of the boot.
func (m *Machine) bootLog() string {
	b, _ := os.ReadFile(filepath.Join(m.host.dir, "boot.log"))
	return string(b)
}

// Host returns the host that the machine runs on.
func (m *Machine) Host() *Host { return m.host }

// Shared returns a directory of the test that the machine sees as /mnt. It is for
// programs and packages that the machine needs, and for logs that the test reads.
func (m *Machine) Shared() string { return filepath.Join(m.host.dir, "shared") }

// CopyIn copies a file into [Machine.Shared], with its permissions, and returns its
// path in the machine.
func (m *Machine) CopyIn(file string) (string, error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile(file) //nolint:gosec // the test chooses the file
	if err != nil {
		return "", err
	}
	name := filepath.Base(file)
	err = os.WriteFile(filepath.Join(m.Shared(), name), b, info.Mode().Perm()) //nolint:gosec // a base name
	return filepath.Join(shared, name), err
}

// Path returns the path by which the test finds a file of the machine. path is absolute
// in the machine.
func (m *Machine) Path(path string) string { return fmt.Sprintf("/proc/%d/root%s", m.leader, path) }

// Command returns a command that runs in the machine, with a fresh environment and
// outside of all units. To run a command in a unit, use systemd-run --wait --pipe
// --collect.
func (m *Machine) Command(name string, args ...string) *exec.Cmd {
	cmd := m.host.Command("nsenter", append([]string{
		"--target=" + strconv.Itoa(m.leader), "--all", "--root", "--wd", "--", name,
	}, args...)...)
	cmd.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root", "TERM=dumb", "LANG=C.UTF-8",
	}
	return cmd
}

// Exec runs a command in the machine, and returns its standard output.
func (m *Machine) Exec(name string, args ...string) (string, error) {
	return run(m.Command(name, args...))
}

// Stop shuts the machine down cleanly, and waits for that.
func (m *Machine) Stop() error {
	if err := m.cmd.Process.Signal(unix.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-m.ended:
		return nil
	case <-time.After(deadline):
		return fmt.Errorf("not shut down after %v\n%s", deadline, m.bootLog())
	}
}
