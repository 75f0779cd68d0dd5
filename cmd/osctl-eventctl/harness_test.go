package main

import (
	"context"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/osctl/eventd/cmd/internal/daemontest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/nstest"
)

const patience = daemontest.Patience

// programs is the directory with both programs, built once.
var programs string //nolint:gochecknoglobals // set by TestMain alone

func TestMain(m *testing.M) { daemontest.Main(m, &programs) }

// program is the path of the program under test.
func program() string { return filepath.Join(programs, "osctl-eventctl") }

// startDaemon runs the real daemon on a bus, in a network namespace of its own.
func startDaemon(t testing.TB, bus *bustest.Bus, args ...string) *daemontest.Daemon {
	t.Helper()
	return daemontest.Start(t, programs, nstest.New(t), bus.Address(), nil, args...)
}

// served is a bus with a daemon on it.
func served(t testing.TB, args ...string) (*bustest.Bus, *daemontest.Daemon) {
	t.Helper()
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	return bus, startDaemon(t, bus, args...)
}

// report reports n events of a type with string options, in batches.
func report(t testing.TB, c *client.Client, n int, typ string, pairs ...string) {
	t.Helper()
	var options hub.Options
	for i := 0; i < len(pairs); i += 2 {
		options = append(options, hub.Option{Name: pairs[i], Value: hub.String(pairs[i+1])})
	}
	for n > 0 {
		batch := make([]client.Report, min(n, client.MaxEvents))
		for i := range batch {
			batch[i] = client.Report{Type: typ, Options: options}
		}
		if _, err := c.ReportBatch(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		n -= len(batch)
	}
}

// result is what a run of the program came to.
type result struct {
	stdout, stderr string
	code           int
}

// ctl runs the program to its end.
func ctl(t testing.TB, env []string, args ...string) result {
	t.Helper()
	return ctlWith(t, env, nil, args...)
}

// ctlWith runs the program to its end with a standard input.
func ctlWith(t testing.TB, env []string, stdin io.Reader, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(), args...)
	cmd.Env, cmd.Stdin = env, stdin
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run()
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// running is a run of the program that goes on.
type running struct {
	cmd            *exec.Cmd
	stdout, stderr daemontest.Output
}

func start(t testing.TB, bus *bustest.Bus, args ...string) *running {
	t.Helper()
	return startCommand(t, bus, exec.Command(program(), args...))
}

// startCommand starts a command that is the program.
func startCommand(t testing.TB, bus *bustest.Bus, cmd *exec.Cmd) *running {
	t.Helper()
	r := &running{cmd: cmd}
	r.cmd.Env = bus.Env()
	r.cmd.Stdout, r.cmd.Stderr = &r.stdout, &r.stderr
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
	})
	return r
}

// line waits until an output of the program has a whole line that contains text, and
// returns it. do is run before each look; it may be nil.
func (r *running) line(t testing.TB, out *daemontest.Output, text string, do func()) string {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if do != nil {
			do()
		}
		for line := range strings.Lines(out.String()) {
			if strings.Contains(line, text) && strings.HasSuffix(line, "\n") {
				return line
			}
		}
	}
	t.Fatalf("no line with %q came; stdout:\n%s\nstderr:\n%s", text, &r.stdout, &r.stderr)
	return ""
}

// until waits until something is so.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so in time: %s", what)
		}
	}
}

// wait waits until the program has ended, and returns its exit status, -1 for a signal.
func (r *running) wait(t testing.TB) int {
	t.Helper()
	timer := time.AfterFunc(patience, func() { _ = r.cmd.Process.Kill() })
	_ = r.cmd.Wait()
	if !timer.Stop() {
		t.Fatalf("%v does not end; stdout:\n%s\nstderr:\n%s", r.cmd.Args, &r.stdout, &r.stderr)
	}
	return r.cmd.ProcessState.ExitCode()
}
