package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

// TestMonitorRestart kills the daemon again and again under a monitor: with a log
// nothing is lost, and a cursor from before leads on.
func TestMonitorRestart(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	state := t.TempDir()
	d := startDaemon(t, bus, "--state-dir", state)
	m := start(t, bus, "monitor", "--json", "--since", "oldest")
	const restarts, each = 4, 10
	for i := range restarts {
		report(t, d.Client(t), each, "x")
		m.line(t, &m.stdout, fmt.Sprintf(`"seq":%d,`, (i+1)*each), nil)
		d.Kill()
		d = startDaemon(t, bus, "--state-dir", state)
	}
	report(t, d.Client(t), 1, "x")
	m.line(t, &m.stdout, fmt.Sprintf(`"seq":%d,`, restarts*each+1), nil)
	events := parseEvents(t, m.stdout.String())
	for i, e := range events {
		if e.Seq != uint64(i+1) {
			t.Fatalf("event %d has number %d", i, e.Seq)
		}
	}
	if strings.Contains(m.stderr.String(), "lost") {
		t.Errorf("events were lost:\n%s", &m.stderr)
	}
	r := ctl(t, bus.Env(), "monitor", "--json", "--no-follow", "--since", events[each-3].Cursor)
	if got := parseEvents(t, r.stdout); r.code != 0 || len(got) != (restarts-1)*each+3 || got[0].Seq != each-1 {
		t.Errorf("from a cursor of the first run: %d events, status %d, %s", len(got), r.code, r.stderr)
	}
}

// TestCursorFileKilled kills a monitor at any time while events pour in: the cursor that
// it leaves is never ahead of what it wrote.
func TestCursorFileKilled(t *testing.T) {
	bus, d := served(t)
	client := d.Client(t)
	file := filepath.Join(t.TempDir(), "cursor")
	last := uint64(0)
	for i := range 10 {
		m := start(t, bus, "monitor", "--json", "--since", "oldest", "--cursor-file", file)
		timer := time.AfterFunc(time.Duration(10+5*i)*time.Millisecond, func() { _ = m.cmd.Process.Kill() })
		for range 20 {
			report(t, client, 50, "x")
		}
		m.wait(t)
		timer.Stop()
		written := m.stdout.String()
		written = written[:strings.LastIndex(written, "\n")+1]
		for _, e := range parseEvents(t, written) {
			if e.Seq > last+1 {
				t.Fatalf("run %d: event %d after %d", i, e.Seq, last)
			}
			last = max(last, e.Seq)
		}
		kept, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			continue // it was killed before
		}
		_, seq, bad := hub.ParseCursor(strings.TrimSpace(string(kept)))
		if err != nil || bad != nil || seq > last {
			t.Fatalf("run %d: kept %q, written up to %d", i, kept, last)
		}
	}
	if last == 0 {
		t.Error("no run wrote anything")
	}
}
