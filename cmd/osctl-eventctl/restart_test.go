package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/osctl/eventd/dbusapi/bustest"
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
