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

// runDaemon starts a command that is a daemon on a private bus, and returns when the
// service answers. The bus's socket, given by its path where the daemon runs, is where
// path says for the test. The daemon ends with the test, by a signal, and takes its bus along.
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
			t.Errorf("the daemon does not end")
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
		t.Fatalf("the daemon printed the address %q", line)
	}
	d.Address = "unix:path=" + path(socket)
	d.WaitForService(t)
	return d
}

// daemonOn starts a daemon on a host of containers. It goes before others, as it must find
// whose an interface is while an event waits for that: how busy the machine is is not tested.
func daemonOn(t testing.TB, h *cttest.Host) *daemonProcess {
	t.Helper()
	return daemonBy(t, h, "nice", "--adjustment=-20")
}

// daemonBy starts a daemon on a host of containers, by a command that gets the daemon's
// as arguments and becomes it.
func daemonBy(t testing.TB, h *cttest.Host, command ...string) *daemonProcess {
	t.Helper()
	command = append(command, filepath.Join(programs, "osctl-eventd"), "--bus", busPrivate, "--state-dir", stateNone)
	cmd := h.Command(command[0], command[1:]...)
	return runDaemon(t, cmd, func(socket string) string { return socket }, func(s syscall.Signal) error { return cmd.Process.Signal(s) })
}

// daemonIn starts a daemon in a booted system. It goes before others, as that of [daemonOn].
func daemonIn(t testing.TB, m *cttest.Machine) *daemonProcess {
	t.Helper()
	program, err := m.CopyIn(filepath.Join(programs, "osctl-eventd"))
	must(t, err)
	shared := filepath.Dir(program)
	cmd := m.Command("nice", "--adjustment=-20", program, "--bus", busPrivate, "--state-dir", stateNone)
	cmd.Env = append(cmd.Env, "TMPDIR="+shared)
	path := func(socket string) string { return m.Shared() + strings.TrimPrefix(socket, shared) }
	return runDaemon(t, cmd, path, func(s syscall.Signal) error {
		// The command waits for a child of its own, which is in the machine's pid namespace.
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

// fate says whether a daemon that may just be ending lives.
func (d *daemonProcess) fate() string {
	select {
	case <-d.Ended:
		return fmt.Sprintf("ended: %v", d.Cmd.ProcessState)
	case <-time.After(time.Second):
		return "lives"
	}
}
