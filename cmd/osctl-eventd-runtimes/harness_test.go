package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/osctl/eventd/cmd/internal/daemontest"
)

// programs is the directory with the programs, built once.
var programs string //nolint:gochecknoglobals // set by TestMain alone

func TestMain(m *testing.M) { daemontest.Main(m, &programs, "osctl-eventd-runtimes") }

// times is how often something is done: a few times, or as often as make soak says.
func times(t *testing.T, few int) int {
	t.Helper()
	text := os.Getenv("OSCTL_EVENTD_TEST_KILLS")
	if text == "" {
		return few
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

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
