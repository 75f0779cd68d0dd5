package bustest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// deadline is how long a bus may take to start, to answer or to die.
const deadline = 2 * time.Minute

// Kind is an implementation of the message bus.
type Kind int

// The two buses that Debian 12 has.
const (
	Daemon Kind = iota // dbus-daemon, the reference implementation
	Broker             // dbus-broker under dbus-broker-launch
)

// Kinds returns all kinds, for tests that range over them.
func Kinds() []Kind { return []Kind{Daemon, Broker} }

// String returns the program's name.
func (k Kind) String() string {
	switch k {
	case Daemon:
		return "dbus-daemon"
	case Broker:
		return "dbus-broker"
	}
	return fmt.Sprintf("Kind(%d)", int(k))
}

// Bus is a private system bus. Its methods are for the goroutine of the test; only
// Address, Env and Dir may be called from others.
type Bus struct {
	tb      testing.TB
	kind    Kind
	dir     string
	reaper  *process
	release io.Closer // the reaper's standard input
	journal *journal  // of a Broker
	proc    *process  // dbus-daemon, or dbus-broker-launch
	pid     int       // of dbus-daemon or dbus-broker, not of its launcher; 0 while the bus is dead
}

// Start runs a bus with the default policy of Debian's system bus, and then the given
// policies, in their order. Each is a whole busconfig document, or only the policy
// elements of one. Start returns once the bus answers. The bus runs as root and starts
// no services. When the test ends, the bus ends and its directory is removed.
func Start(tb testing.TB, kind Kind, policies ...string) *Bus {
	tb.Helper()
	requireTools(tb, kind)
	b := &Bus{tb: tb, kind: kind}
	tb.Cleanup(b.close)
	if err := b.setUp(policies); err != nil {
		tb.Fatalf("bustest: set up %v: %v", kind, err)
	}
	b.start(tb)
	return b
}

// requireTools fails the test when the bus cannot be run here.
func requireTools(tb testing.TB, kind Kind) {
	tb.Helper()
	packages := map[string]string{"dbus-daemon": "dbus-daemon"} // by program
	if kind == Broker {
		packages = map[string]string{
			"dbus-broker-launch": "dbus-broker", "dbus-broker": "dbus-broker", "mount": "mount",
		}
	}
	for program, pkg := range packages {
		if _, err := exec.LookPath(program); err != nil {
			tb.Fatalf("bustest: %v; install the Debian package %s", err, pkg)
		}
	}
	if os.Geteuid() != 0 {
		tb.Fatal("bustest: private system buses need root")
	}
}

// setUp makes all that outlives a restart.
func (b *Bus) setUp(policies []string) (err error) {
	if b.dir, err = writeConfig(policies); err != nil {
		return err
	}
	if b.reaper, b.release, err = startReaper(b.dir); err != nil {
		return err
	}
	if b.kind == Broker {
		b.journal, err = newJournal(filepath.Join(b.dir, "journal"))
	}
	return err
}

// start runs the bus and waits until it answers.
func (b *Bus) start(tb testing.TB) {
	tb.Helper()
	var err error
	if b.kind == Broker {
		err = b.startBroker()
	} else {
		err = b.startDaemon()
	}
	if err != nil {
		p := b.proc
		b.Kill() // so that its output is complete
		tb.Fatalf("bustest: start %v: %v\n%s", b.kind, err, b.output(p))
	}
}

// close ends the bus in any state.
func (b *Bus) close() {
	var errs []error
	if b.release != nil {
		dead := b.watchDeath()
		errs = append(errs, b.release.Close())
		<-b.reaper.done
		errs = append(errs, dead())
	}
	if b.journal != nil {
		errs = append(errs, b.journal.close())
	}
	if b.dir != "" { // the reaper did that, unless it could not be started
		errs = append(errs, os.RemoveAll(b.dir))
	}
	if err := errors.Join(errs...); err != nil {
		b.tb.Errorf("bustest: end %v: %v", b.kind, err)
	}
}

// watchDeath opens the bus's processes, and returns a function that waits until they
// are dead.
func (b *Bus) watchDeath() func() error {
	pidfd := -1
	if b.pid != 0 {
		pidfd, _ = unix.PidfdOpen(b.pid, 0) // an error: it is dead already
	}
	return func() error {
		var err error
		if pidfd >= 0 {
			err = awaitDeath(pidfd)
			_ = unix.Close(pidfd)
		}
		if b.proc != nil {
			<-b.proc.done
		}
		b.proc, b.pid = nil, 0
		return err
	}
}

// Address is the bus's address, "unix:path=…". It stays the same over restarts.
func (b *Bus) Address() string { return "unix:path=" + socketPath(b.dir) }

// Dir is the bus's directory, which every uid may enter.
func (b *Bus) Dir() string { return b.dir }

// Env is the environment of the test with this bus as the system bus.
func (b *Bus) Env() []string {
	return append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+b.Address())
}

// Kill kills the bus (SIGKILL) and waits until it is dead. Connections to its
// address are refused then. It does nothing where the bus is dead.
func (b *Bus) Kill() {
	b.tb.Helper()
	if b.proc == nil {
		return
	}
	dead := b.watchDeath()
	// Kill the bus first, because it ends in an orderly way when its launcher dies.
	if b.pid != 0 {
		b.signal(unix.SIGKILL)
	}
	_ = b.proc.cmd.Process.Kill() // fails when it is dead already
	if err := dead(); err != nil {
		b.tb.Errorf("bustest: kill %v: %v", b.kind, err)
	}
}

// Restart kills the bus if it still runs, starts it again at the same address with
// the same policies, and waits until it answers.
func (b *Bus) Restart(tb testing.TB) {
	tb.Helper()
	b.Kill()
	b.start(tb)
}

// Stop stops the bus (SIGSTOP), and returns once it has stopped. Until Cont it reads
// nothing from its sockets. Connections to it succeed, but get no answer.
func (b *Bus) Stop() {
	b.tb.Helper()
	b.signal(unix.SIGSTOP)
	if err := awaitStopped(b.pid); err != nil {
		b.tb.Fatalf("bustest: stop %v: %v", b.kind, err)
	}
}

// Cont lets a bus that was stopped go on (SIGCONT).
func (b *Bus) Cont() {
	b.tb.Helper()
	b.signal(unix.SIGCONT)
}

func (b *Bus) signal(sig syscall.Signal) {
	b.tb.Helper()
	if b.pid == 0 { // and not the test's own process group
		b.tb.Fatalf("bustest: %v to a %v that is dead", sig, b.kind)
	}
	if err := unix.Kill(b.pid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
		b.tb.Fatalf("bustest: %v to %v: %v", sig, b.kind, err)
	}
}

// output returns the last output of the bus; p is its process, nil if it did not start.
func (b *Bus) output(p *process) string {
	var out string
	if p != nil {
		out = p.output.String()
	}
	if b.journal != nil {
		out += b.journal.output.String()
	}
	return out
}
