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

// Machine is a Debian 12 with systemd as process 1, in a systemd-nspawn: its own
// network, processes and cgroup2. What it writes is gone when it is stopped.
type Machine struct {
	host   *Host
	cmd    *exec.Cmd
	log    *os.File
	leader int // process 1 inside, as the test counts
	ended  chan struct{}
}

// MachineConfig says what a machine is like.
type MachineConfig struct {
	// Broker makes dbus-broker the system bus, in place of dbus-daemon.
	Broker bool
}

// shared is where the machine has the directory [Machine.Shared].
const shared = "/mnt"

// nspawnScript boots the system $1 under the name $2, with the directory $3 shared,
// in a cgroup of its own. What is written goes to memory, so that several may run from
// one image. If $4 is not empty the alias dbus.service is that unit's, as
// systemctl enable would make it.
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
		said := m.said()
		tb.Fatalf("cttest: boot systemd: %v\n%s", err, said)
	}
	return m
}

func (m *Machine) boot(image string, conf MachineConfig) error {
	files := m.Shared()
	if err := os.Mkdir(files, 0o755); err != nil { //nolint:gosec // daemons in the machine run from it
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
		_ = cmd.Wait() // how it ended is no news: it was stopped or killed
		_ = conn.SetReadDeadline(time.Unix(1, 0))
	}()
	// Before the host's own cleanup, which kills it, has removed all.
	m.host.tb.Cleanup(m.close)
	return m.awaitReady(conn)
}

// awaitReady reads what systemd-nspawn says by sd_notify(3), until it is up.
func (m *Machine) awaitReady(conn *net.UnixConn) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return fmt.Errorf("it is not up: %w", err)
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
	_ = m.cmd.Process.Signal(unix.SIGKILL) // what is inside dies with the host's cgroup
	<-m.ended
	_ = m.log.Close()
}

// said is what the boot printed.
func (m *Machine) said() string {
	b, _ := os.ReadFile(filepath.Join(m.host.dir, "boot.log"))
	return string(b)
}

// Host returns the host that the machine runs on.
func (m *Machine) Host() *Host { return m.host }

// Leader returns the machine's process 1, as the test counts.
func (m *Machine) Leader() int { return m.leader }

// Shared returns a directory of the test's that the machine sees as /mnt: for
// programs and packages on the way in, and logs on the way out.
func (m *Machine) Shared() string { return filepath.Join(m.host.dir, "shared") }

// CopyIn copies a file into [Machine.Shared], with its permissions, and returns its
// path in the machine.
func (m *Machine) CopyIn(file string) (string, error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile(file) //nolint:gosec // the test says which
	if err != nil {
		return "", err
	}
	name := filepath.Base(file)
	err = os.WriteFile(filepath.Join(m.Shared(), name), b, info.Mode().Perm()) //nolint:gosec // a base name
	return filepath.Join(shared, name), err
}

// Path returns where the test finds a file of the machine, given by its absolute path
// there.
func (m *Machine) Path(path string) string { return fmt.Sprintf("/proc/%d/root%s", m.leader, path) }

// Command returns a command that runs in the machine, with an environment of its own,
// and in none of its units: for that, run systemd-run --wait --pipe --collect.
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

// Stop shuts the machine down in an orderly way, and waits for that.
func (m *Machine) Stop() error {
	if err := m.cmd.Process.Signal(unix.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-m.ended:
		return nil
	case <-time.After(deadline):
		return fmt.Errorf("not shut down after %v\n%s", deadline, m.said())
	}
}
