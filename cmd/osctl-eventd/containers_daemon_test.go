package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/osctl/eventd/cmd/internal/daemontest"
	"github.com/osctl/eventd/netwatch/cttest"
)

// runDaemon runs cmd, a daemon on a private bus, and returns when the service answers. path maps
// the path of the bus's socket from the daemon's mount namespace to the test's. At the end of the
// test signal sends the daemon SIGTERM, which stops the bus as well.
func runDaemon(t testing.TB, cmd *exec.Cmd, path func(string) string, signal func(syscall.Signal) error) *daemonProcess {
	t.Helper()
	d := &daemonProcess{&daemontest.Daemon{Cmd: cmd, Stderr: &daemontest.Output{}, Ended: make(chan struct{})}}
	cmd.Stderr = d.Stderr
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = signal(syscall.SIGTERM)
		select {
		case <-d.Ended:
		case <-time.After(patience):
			t.Error("the daemon does not stop")
			_ = signal(syscall.SIGKILL)
			<-d.Ended
		}
		if t.Failed() {
			t.Logf("the daemon said:\n%s", d.Stderr)
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	go func() {
		defer close(d.Ended)
		_ = cmd.Wait() // Cmd.ProcessState tells how it ended
	}()
	if err != nil {
		<-d.Ended
		t.Fatalf("the daemon printed no address: %v\n%s", err, d.Stderr)
	}
	socket, ok := strings.CutPrefix(strings.TrimSpace(line), "unix:path=")
	if !ok {
		t.Fatalf("the daemon printed %q, want an address unix:path=...", line)
	}
	d.Address = "unix:path=" + path(socket)
	d.WaitForService(t)
	return d
}

// startOnHost starts a daemon on a host of containers. The daemon has a high priority, because
// an event waits only a limited time for the owner of its interface, and the tests must pass on
// a busy machine.
func startOnHost(t testing.TB, h *cttest.Host) *daemonProcess {
	t.Helper()
	return startWith(t, h, "nice", "--adjustment=-20")
}

// startWith starts a daemon on a host of containers by a wrapper such as nice, which executes
// the command line that it gets as arguments.
func startWith(t testing.TB, h *cttest.Host, command ...string) *daemonProcess {
	t.Helper()
	command = append(command, filepath.Join(programs, "osctl-eventd"), "--bus", busPrivate, "--state-dir", stateNone)
	cmd := h.Command(command[0], command[1:]...)
	return runDaemon(t, cmd, func(socket string) string { return socket }, func(s syscall.Signal) error { return cmd.Process.Signal(s) })
}

// startInMachine starts a daemon in a booted system, with a high priority like [startOnHost].
func startInMachine(t testing.TB, m *cttest.Machine) *daemonProcess {
	t.Helper()
	program, err := m.CopyIn(filepath.Join(programs, "osctl-eventd"))
	must(t, err)
	shared := filepath.Dir(program)
	cmd := m.Command("nice", "--adjustment=-20", program, "--bus", busPrivate, "--state-dir", stateNone)
	cmd.Env = append(cmd.Env, "TMPDIR="+shared)
	path := func(socket string) string { return m.Shared() + strings.TrimPrefix(socket, shared) }
	return runDaemon(t, cmd, path, func(s syscall.Signal) error {
		// The daemon is a child of the command, in the machine's pid namespace.
		pid := strconv.Itoa(cmd.Process.Pid)
		children, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
		if err != nil {
			return err
		}
		for child := range strings.FieldsSeq(string(children)) {
			n, err := strconv.Atoi(child)
			if err != nil {
				return err
			}
			if err := syscall.Kill(n, s); err != nil {
				return err
			}
		}
		return nil
	})
}

// processState says whether the daemon has ended. It waits a moment, because the daemon may be
// about to end.
func (d *daemonProcess) processState() string {
	select {
	case <-d.Ended:
		return fmt.Sprintf("has ended: %v", d.Cmd.ProcessState)
	case <-time.After(time.Second):
		return "is running"
	}
}
