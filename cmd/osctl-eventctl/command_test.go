package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/osctl/eventd/dbusapi"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

// patience is how long a test waits for what must come. It is no measure of speed.
const patience = 30 * time.Second

// program is the path of the program, built once.
var program string //nolint:gochecknoglobals // set by TestMain alone

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "osctl-eventctl-test-")
	if err == nil {
		program = filepath.Join(dir, "osctl-eventctl")
		build := exec.Command("go", "build", "-o", program, ".")
		build.Stderr = os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build the program:", err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// startService runs a service with a new hub on a bus, and returns how to end it.
func startService(t *testing.T, bus *bustest.Bus) func() {
	t.Helper()
	h, err := hub.New(hub.Config{})
	if err != nil {
		t.Fatal(err)
	}
	service, err := dbusapi.New(dbusapi.Config{Hub: h, Log: slog.New(slog.DiscardHandler), Address: bus.Address(), Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- service.Run(ctx) }()
	select {
	case <-service.Ready():
	case err := <-ended:
		cancel()
		t.Fatal(err)
	}
	return sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		h.Close()
	})
}

// result is what a run of the program came to.
type result struct {
	stdout, stderr string
	code           int
}

// ctl runs the program to its end.
func ctl(t *testing.T, env []string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = env
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run()
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

func TestReportAndStatus(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	defer startService(t, bus)()
	if r := ctl(t, bus.Env(), "report", "state", "pool=tank", "id=101", "state=running"); r != (result{"1\n", "", 0}) {
		t.Errorf("report: %+v", r)
	}
	if r := ctl(t, bus.Env(), "report", "state", "pool=tank", "id=101"); r.code != 1 || !strings.Contains(r.stderr, `option "state": got nothing`) {
		t.Errorf("bad report: %+v", r)
	}
	r := ctl(t, bus.Env(), "status")
	for _, want := range []string{
		`Service: +running, version 1\.2\.3`, `Events: +1 so far, 1 to 1 kept`, `Durable: +no`, `Containers: +1`,
		`events state: +1`, `reports refused: +1`,
	} {
		if r.code != 0 || !regexp.MustCompile(want).MatchString(r.stdout) {
			t.Errorf("status does not say %s: %+v", want, r)
		}
	}
}

func TestTroubles(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyRootOnly)
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"no service", []string{"status"}, "osctl-eventd is not running on the bus system: start it"},
		{"monitor without service", []string{"monitor"}, "osctl-eventd is not running"},
		{"no bus", []string{"--bus", "unix:path=/nonexistent", "status"}, "connect to bus unix:path=/nonexistent"},
		{"bad bus", []string{"--bus", "nowhere", "status"}, `bus "nowhere": expected system, session`},
		{"bad argument", []string{"report", "state", "pool"}, `argument "pool": expected KEY=TEXT`},
		{"no type", []string{"report"}, "which event?"},
		{"unknown command", []string{"monitr"}, `unknown command "monitr"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if r := ctl(t, bus.Env(), test.args...); r.code != 1 || !strings.Contains(r.stderr, test.want) {
				t.Errorf("%+v, want %q", r, test.want)
			}
		})
	}
	t.Run("not allowed", func(t *testing.T) {
		defer startService(t, bus)()
		readable(t)
		cmd := bustest.AsNobody(program, "report", "x", "a=b")
		cmd.Env = bus.Env()
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "not allowed") || !strings.Contains(string(out), "group osctl-eventd") {
			t.Errorf("%v: %s", err, out)
		}
	})
}

// readable lets every user run the program.
func readable(t *testing.T) {
	t.Helper()
	if err := os.Chmod(filepath.Dir(program), 0o755); err != nil {
		t.Fatal(err)
	}
}

// monitor is a run of `osctl-eventctl monitor`.
type monitor struct {
	cmd            *exec.Cmd
	mu             sync.Mutex
	stdout, stderr bytes.Buffer
}

type lockedWriter struct {
	mu  *sync.Mutex
	buf *bytes.Buffer
}

func (w lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(p)
}

func startMonitor(t *testing.T, bus *bustest.Bus, args ...string) *monitor {
	t.Helper()
	m := &monitor{cmd: exec.Command(program, append([]string{"monitor"}, args...)...)}
	m.cmd.Env = bus.Env()
	m.cmd.Stdout, m.cmd.Stderr = lockedWriter{&m.mu, &m.stdout}, lockedWriter{&m.mu, &m.stderr}
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = m.cmd.Process.Kill()
		_ = m.cmd.Wait()
	})
	return m
}

// line waits until stdout (or stderr) has a line that contains text, and returns it.
// do is run before each look.
func (m *monitor) line(t *testing.T, buf *bytes.Buffer, text string, do func()) string {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		do()
		m.mu.Lock()
		all := buf.String()
		m.mu.Unlock()
		for line := range strings.Lines(all) {
			if strings.Contains(line, text) && strings.HasSuffix(line, "\n") {
				return line
			}
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	t.Fatalf("no line with %q came; stdout:\n%s\nstderr:\n%s", text, &m.stdout, &m.stderr)
	return ""
}

// TestMonitor follows events with filters over a restart of the service.
func TestMonitor(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	stop := startService(t, bus)
	defer func() { stop() }()
	report := func(args ...string) func() {
		return func() {
			if r := ctl(t, bus.Env(), append([]string{"report"}, args...)...); r.code != 0 {
				t.Fatalf("report: %+v", r)
			}
		}
	}
	m := startMonitor(t, bus, "--json", "--type", "state", "--type", "db", "--id", "101")
	// When the monitor begins cannot be seen from outside, so report until it shows.
	line := m.line(t, &m.stdout, "101", report("state", "pool=tank", "id=101", "state=running"))
	var event struct {
		Type   string
		Opts   map[string]string
		Seq    uint64
		Source string
		Cursor string
		Time   time.Time
	}
	if err := json.Unmarshal([]byte(line), &event); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	if event.Type != "state" || event.Opts["state"] != "running" || event.Opts["pool"] != "tank" || event.Seq == 0 ||
		event.Source != "uid:0" || !strings.HasSuffix(event.Cursor, fmt.Sprintf(":%d", event.Seq)) || event.Time.IsZero() {
		t.Errorf("%+v from %s", event, line)
	}
	report("state", "pool=tank", "id=102", "state=running")()
	report("other", "id=101")()
	report("db", "object=container", "pool=tank", "id=101", "action=remove")()
	m.line(t, &m.stdout, `"db"`, func() {})
	m.mu.Lock()
	if all := m.stdout.String(); strings.Contains(all, "102") || strings.Contains(all, "other") {
		t.Errorf("foreign events were shown:\n%s", all)
	}
	m.mu.Unlock()

	stop()
	m.line(t, &m.stderr, "waiting for it to come back", func() {})
	stop = startService(t, bus)
	m.line(t, &m.stderr, "osctl-eventd is back", func() {})
	m.line(t, &m.stderr, "events were lost", func() {})
	report("state", "pool=tank", "id=101", "state=frozen")()
	m.line(t, &m.stdout, "frozen", func() {})

	if err := m.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := m.cmd.Wait(); err != nil {
		t.Errorf("interrupted: %v", err)
	}
}

// TestMonitorPipe ends quietly, by SIGPIPE, when nobody reads its output any more.
func TestMonitorPipe(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	defer startService(t, bus)()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", `{ "$0" monitor; echo "status $?" >&2; } | head -n 1`, program)
	cmd.Env = bus.Env()
	var stderr lockedWriter
	stderr.mu, stderr.buf = &sync.Mutex{}, &bytes.Buffer{}
	cmd.Stderr = stderr
	ended := make(chan error, 1)
	go func() { ended <- cmd.Run() }()
	for {
		select {
		case err := <-ended:
			if err != nil || stderr.buf.String() != "status 141\n" {
				t.Errorf("%v: %s", err, stderr.buf)
			}
			return
		case <-time.After(20 * time.Millisecond):
			ctl(t, bus.Env(), "report", "x")
		}
	}
}
