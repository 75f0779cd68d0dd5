package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/osctl/eventd/cmd/internal/daemontest"
)

// programs is the directory with the programs, built once.
var programs string //nolint:gochecknoglobals // set by TestMain alone

func TestMain(m *testing.M) { daemontest.Main(m, &programs, "osctl-eventd-runtimes") }

// process is a run of the program.
type process struct {
	cmd *exec.Cmd
	out daemontest.Output
}

// launch starts the program until the test ends.
func launch(t testing.TB, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(filepath.Join(programs, "osctl-eventd-runtimes"), args...)}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%v said:\n%s", p.cmd.Args[1:], p.out.String())
		}
	})
	return p
}

// kill kills the process (SIGKILL) and waits until it is dead.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}
