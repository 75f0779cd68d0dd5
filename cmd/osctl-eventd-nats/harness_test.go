package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/osctl/eventd/cmd/internal/daemontest"
	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleettest"
	"github.com/osctl/eventd/dbusapi/apitest"
)

// programs is the directory of the built programs.
var programs string //nolint:gochecknoglobals // set by TestMain alone

func TestMain(m *testing.M) { daemontest.Main(m, &programs, "osctl-eventd-nats") }

// program returns the path of the program under test.
func program() string { return filepath.Join(programs, "osctl-eventd-nats") }

// process is a run of the program.
type process struct {
	cmd    *exec.Cmd
	out    daemontest.Output // stdout, and stderr except of watch
	err    daemontest.Output // stderr of watch
	ended  chan struct{}
	status int // set before ended is closed
}

// launch starts the program until the test ends.
func launch(t testing.TB, env []string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(program(), args...), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if args[0] == "watch" {
		p.cmd.Stderr = &p.err
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait()
		p.status = p.cmd.ProcessState.ExitCode()
	}()
	t.Cleanup(func() {
		p.kill()
		if output := p.out.String() + p.err.String(); t.Failed() && output != "" {
			t.Logf("output of %v:\n%s", p.cmd.Args[1:], lastLines(output, 20))
		}
	})
	return p
}

func lastLines(text string, n int) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(len(lines)-n, 0):], "\n")
}

// kill sends SIGKILL, and waits until the process has ended.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// wait waits until the process has ended, and returns the exit status.
func (p *process) wait(t *testing.T) int {
	t.Helper()
	apitest.Await(t, "the program ends", p.ended)
	return p.status
}

// bridge returns the arguments of a bridge with its own state directory.
func bridge(t testing.TB, server *fleettest.Server, bus string, more ...string) []string {
	t.Helper()
	id := filepath.Join(t.TempDir(), "machine-id")
	if err := os.WriteFile(id, []byte("3f8e4c0a5d0b4f6c9b7a1122334455ff\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return append([]string{
		"forward", "--server", server.URL, "--bus", bus, "--host", "node1", "--state-dir", t.TempDir(), "--machine-id", id,
	}, more...)
}
