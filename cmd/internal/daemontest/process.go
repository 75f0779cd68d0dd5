package daemontest

import (
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"
)

// Process is a program that runs during a test.
type Process struct {
	Cmd      *exec.Cmd
	Out, Err Output        // stdout and stderr
	Ended    chan struct{} // closed when the process has ended
}

// StartProcess starts cmd. The process ends with the test. If the test has failed, its output is logged.
func StartProcess(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	return startProcess(t, cmd, (*exec.Cmd).Start)
}

// startProcess is [StartProcess] with a function that starts cmd. Err stays empty if cmd has a stderr.
func startProcess(t testing.TB, cmd *exec.Cmd, start func(*exec.Cmd) error) *Process {
	t.Helper()
	p := &Process{Cmd: cmd, Ended: make(chan struct{})}
	cmd.Stdout = &p.Out
	if cmd.Stderr == nil {
		cmd.Stderr = &p.Err
	}
	if err := start(cmd); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.Ended)
		_ = cmd.Wait() // Cmd.ProcessState tells how it ended
	}()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%v; stdout:\n%s\nstderr:\n%s", cmd.Args, tail(p.Out.String()), tail(p.Err.String()))
		}
	})
	return p
}

// tail returns the last 4 KiB of text.
func tail(text string) string { return text[max(len(text)-4096, 0):] }

// Signal sends a signal.
func (p *Process) Signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.Cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// Kill sends SIGKILL, and waits until the process has ended.
func (p *Process) Kill() {
	_ = p.Cmd.Process.Kill()
	<-p.Ended
}

// Wait waits until the process has ended. It returns the exit status, -1 for a signal.
func (p *Process) Wait(t testing.TB) int {
	t.Helper()
	select {
	case <-p.Ended:
	case <-time.After(apitest.Patience):
		t.Fatalf("%v does not end", p.Cmd.Args)
	}
	return p.Cmd.ProcessState.ExitCode()
}
