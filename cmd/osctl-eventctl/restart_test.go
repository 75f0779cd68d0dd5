package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
)

// TestMonitorRestart kills the daemon again and again during a monitor: with a log no event is lost, and
// old cursors stay valid.
func TestMonitorRestart(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	state := t.TempDir()
	d := startDaemon(t, bus, "--state-dir", state)
	m := start(t, bus, "monitor", "--json", "--since", "oldest")
	const restarts, each = 4, 10
	for i := range restarts {
		report(t, d.Client(t), each, "x")
		m.line(t, &m.Out, fmt.Sprintf(`"seq":%d,`, (i+1)*each), nil)
		d.Kill()
		d = startDaemon(t, bus, "--state-dir", state)
	}
	report(t, d.Client(t), 1, "x")
	m.line(t, &m.Out, fmt.Sprintf(`"seq":%d,`, restarts*each+1), nil)
	events := parseEvents(t, m.Out.String())
	for i, e := range events {
		if e.Seq != uint64(i+1) {
			t.Fatalf("event %d has number %d", i, e.Seq)
		}
	}
	if strings.Contains(m.Err.String(), "lost") {
		t.Errorf("events were lost:\n%s", &m.Err)
	}
	r := ctl(t, bus.Env(), "monitor", "--json", "--no-follow", "--since", events[each-3].Cursor)
	if got := parseEvents(t, r.stdout); r.code != 0 || len(got) != (restarts-1)*each+3 || got[0].Seq != each-1 {
		t.Errorf("from a cursor of the first run: %d events, status %d, %s", len(got), r.code, r.stderr)
	}
}

// TestHang stops the daemon during a monitor and a live view: both report that, and continue when it
// answers again.
func TestHang(t *testing.T) {
	bus, d := startService(t)
	client := d.Client(t)
	report(t, client, 1, "state", "pool", "tank", "id", "1", "state", "starting")
	m := start(t, bus, "monitor", "--since", "oldest")
	m.line(t, &m.Out, "starting", nil)
	screen := onScreen(t, bus, 100, 10, "containers", "--watch")
	screen.untilText(t, "starting")
	if err := d.Cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	const silent = "osctl-eventd, or the bus system, does not answer; waiting for it to come back"
	m.line(t, &m.Err, silent, nil)
	screen.untilText(t, silent)
	if err := d.Cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	m.line(t, &m.Err, "osctl-eventd is back", nil)
	screen.untilText(t, "q quit")
	report(t, client, 1, "state", "pool", "tank", "id", "1", "state", "running")
	m.line(t, &m.Out, "running", nil)
	screen.untilText(t, "running")
}

// TestWaitRestart restarts the daemon during a wait, which reports that and continues.
func TestWaitRestart(t *testing.T) {
	bus, d := startService(t)
	for delay := 50 * time.Millisecond; ; delay *= 2 { // until the wait starts before the daemon is killed
		w := start(t, bus, "wait", "tank:1", "running")
		ended := make(chan struct{})
		time.AfterFunc(delay, func() {
			defer close(ended)
			d.Kill()
		})
		away := false
		apitest.Eventually(t, "the wait ends or reports the outage", func() bool {
			away = strings.Contains(w.Err.String(), "osctl-eventd went away; waiting for it to come back\n")
			return away || strings.Contains(w.Err.String(), "is not running") || strings.Contains(w.Err.String(), "try again")
		})
		<-ended
		d = startDaemon(t, bus)
		if !away {
			continue
		}
		w.line(t, &w.Err, "osctl-eventd is back", nil)
		report(t, d.Client(t), 1, "state", "pool", "tank", "id", "1", "state", "running")
		if code := w.Wait(t); code != 0 || w.Out.String() != "running\n" {
			t.Errorf("status %d, %s%s", code, &w.Out, &w.Err)
		}
		return
	}
}

// startActivating starts a bus that activates the service. The service that it starts only makes a file, and fails.
func startActivating(t *testing.T) (bus *bustest.Bus, started string) {
	t.Helper()
	dir := t.TempDir()
	started = filepath.Join(dir, "started")
	service := fmt.Sprintf("[D-BUS Service]\nName=org.osctl.Eventd\nExec=/bin/sh -c 'touch %s; exit 1'\nUser=root\n", started)
	if err := os.WriteFile(filepath.Join(dir, "org.osctl.Eventd.service"), []byte(service), 0o600); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("<busconfig><servicedir>%s</servicedir>%s</busconfig>", dir, bustest.PolicyOpen)
	return bustest.Start(t, bustest.Daemon, config), started
}

// TestStarts checks that commands that read events start the service, whether they follow or not.
func TestStarts(t *testing.T) {
	bus, started := startActivating(t)
	for _, args := range []string{
		"monitor", "events", "events -n 1", "events tank:1", "monitor --until +1h", "run -- true", "run --no-follow -- true",
	} {
		r := ctl(t, bus.Env(), strings.Fields(args)...)
		if _, err := os.Stat(started); err != nil {
			t.Errorf("%s did not start the service: %+v", args, r)
		}
		_ = os.Remove(started)
	}
}

// TestNeverStarts checks that commands that follow never start a service that was stopped meanwhile, not even
// at their end.
func TestNeverStarts(t *testing.T) {
	bus, started := startActivating(t)
	d := startDaemon(t, bus)
	report(t, d.Client(t), 1, "state", "pool", "tank", "id", "1", "state", "starting")
	monitor := bus.ClientAs(t, 0)
	become := bustest.MethodCall(bustest.DriverName, bustest.DriverPath, bustest.DriverName+".Monitoring", "BecomeMonitor")
	become.Signature, become.Body = "asu", new(bustest.Body).Array(4, func(*bustest.Body) {}).Uint32(0).Bytes()
	apitest.OK(t, monitor, become)
	all := []*running{start(t, bus, "wait", "tank:1", "running", "--timeout", "20s"), start(t, bus, "monitor", "tank:1", "--until", "+20s")}
	for waiting := map[string]bool{}; len(waiting) < len(all); {
		call, err := monitor.Receive(apitest.Bounded(t))
		if err != nil {
			t.Fatal(err)
		}
		if call.Member == "WaitEvents" && binary.LittleEndian.Uint32(call.Body[len(call.Body)-4:]) > 0 {
			waiting[call.Sender] = true
		}
	}
	if err := d.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	d.Wait(t)
	for _, one := range all {
		one.Wait(t)
		if _, err := os.Stat(started); err == nil {
			t.Errorf("%v had the bus start the service: %s", one.Cmd.Args, &one.Err)
			_ = os.Remove(started)
		}
	}
}
