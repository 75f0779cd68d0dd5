package main

import (
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
	d := &daemonProcess{daemontest.Run(t, cmd, (*exec.Cmd).Start, "")}
	d.WaitForService(t)
	return d
}

// startInMachine starts a daemon in a booted system, with a high priority like [startOnHost].
func startInMachine(t testing.TB, m *cttest.Machine) *daemonProcess {
	t.Helper()
	program, err := m.CopyIn(filepath.Join(programs, "osctl-eventd"))
	must(t, err)
	shared := filepath.Dir(program)
	cmd := m.Command("nice", "--adjustment=-20", program, "--bus", busPrivate, "--state-dir", stateNone)
	cmd.Env = append(cmd.Env, "TMPDIR="+shared)
	d := &daemonProcess{daemontest.Run(t, cmd, (*exec.Cmd).Start, "")}
	t.Cleanup(func() {
		// The daemon is a child of the command, in the machine's pid namespace.
		pid := strconv.Itoa(cmd.Process.Pid)
		children, _ := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children") // none if it has ended
		for child := range strings.FieldsSeq(string(children)) {
			if n, err := strconv.Atoi(child); err == nil {
				_ = syscall.Kill(n, syscall.SIGTERM)
			}
		}
		d.Wait(t)
	})
	socket, ok := strings.CutPrefix(d.Address, "unix:path="+shared)
	if !ok {
		t.Fatalf("the daemon printed %q, want an address unix:path=%s...", d.Address, shared)
	}
	d.Address = "unix:path=" + m.Shared() + socket
	d.WaitForService(t)
	return d
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
