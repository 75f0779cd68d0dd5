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
	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/nstest"
)

const patience = apitest.Patience

// programs is the directory of the built programs.
var programs string //nolint:gochecknoglobals // set by TestMain alone

func TestMain(m *testing.M) { daemontest.Main(m, &programs) }

// program returns the path of the program under test.
func program() string { return filepath.Join(programs, "osctl-eventctl") }

// startDaemon runs the real daemon on a bus, in its own network namespace.
func startDaemon(t testing.TB, bus *bustest.Bus, args ...string) *daemontest.Daemon {
	t.Helper()
	return daemontest.Start(t, programs, nstest.New(t), bus.Address(), nil, args...)
}

// startService starts a bus with a daemon on it.
func startService(t testing.TB, args ...string) (*bustest.Bus, *daemontest.Daemon) {
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

// result is the result of a run of the program.
type result struct {
	stdout, stderr string
	code           int
}

// ctl runs the program until it ends.
func ctl(t testing.TB, env []string, args ...string) result {
	t.Helper()
	return ctlWith(t, env, nil, args...)
}

// ctlUntil is ctl, but runs the program up to three times until ok accepts the result, because on a busy machine a
// time limit of the program may pass before the service has answered.
func ctlUntil(t testing.TB, env []string, ok func(r result) bool, args ...string) (r result) {
	t.Helper()
	for range 3 {
		if r = ctl(t, env, args...); ok(r) {
			break
		}
	}
	return r
}

// ctlWith is ctl with a standard input.
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

// running is a run of the program in the background.
type running struct{ *daemontest.Process }

func start(t testing.TB, bus *bustest.Bus, args ...string) *running {
	t.Helper()
	return startCommand(t, bus, exec.Command(program(), args...))
}

// startCommand starts the program by a given command.
func startCommand(t testing.TB, bus *bustest.Bus, cmd *exec.Cmd) *running {
	t.Helper()
	cmd.Env = bus.Env()
	return &running{daemontest.StartProcess(t, cmd)}
}

// line waits until an output of the program has a whole line that contains text, and returns the
// line. It calls do before each check, unless do is nil.
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
	t.Fatalf("no line with %q; stdout:\n%s\nstderr:\n%s", text, &r.Out, &r.Err)
	return ""
}
