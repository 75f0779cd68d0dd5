package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/osctl/eventd/hub"
)

// shownEvent is an event as --json prints it.
type shownEvent struct {
	Type   string
	Opts   map[string]any
	Seq    uint64
	Source string
	Cursor string
	Time   time.Time
}

func parseEvents(t testing.TB, text string) []shownEvent {
	t.Helper()
	var events []shownEvent
	for line := range strings.Lines(text) {
		var e shownEvent
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		events = append(events, e)
	}
	return events
}

func numbers(events []shownEvent) string {
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, " %d", e.Seq)
	}
	return strings.TrimSpace(b.String())
}

// TestMonitor follows events with filters over a restart of the daemon and of the bus.
func TestMonitor(t *testing.T) {
	bus, d := startService(t)
	m := start(t, bus, "monitor", "--json", "--type", "state", "--type", "db", "--id", "101")
	// The test cannot see when the monitor starts, so it reports until an event is shown.
	client := d.Client(t)
	running := func() { report(t, client, 1, "state", "pool", "tank", "id", "101", "state", "running") }
	event := parseEvents(t, m.line(t, &m.Out, "101", running))[0]
	if event.Type != "state" || event.Opts["state"] != "running" || event.Opts["pool"] != "tank" || event.Seq == 0 ||
		event.Source != "uid:0" || !strings.HasSuffix(event.Cursor, fmt.Sprintf(":%d", event.Seq)) || event.Time.IsZero() {
		t.Errorf("%+v", event)
	}
	report(t, client, 1, "state", "pool", "tank", "id", "102", "state", "running")
	report(t, client, 1, "other", "id", "101")
	report(t, client, 1, "db", "object", "container", "pool", "tank", "id", "101", "action", "remove")
	m.line(t, &m.Out, `"db"`, nil)
	for _, e := range parseEvents(t, m.Out.String()) {
		if e.Opts["id"] != "101" || e.Type == "other" {
			t.Errorf("an event outside the filter was shown: %+v", e)
		}
	}
	bus.Kill()
	m.line(t, &m.Err, "the bus system went away", nil)
	bus.Restart(t)
	m.line(t, &m.Err, "osctl-eventd is back", nil)
	d.WaitForService(t)
	report(t, d.Client(t), 1, "state", "pool", "tank", "id", "101", "state", "stopped")
	m.line(t, &m.Out, "stopped", nil)
	if strings.Contains(m.Err.String(), "lost") {
		t.Errorf("a restart of the bus lost events:\n%s", &m.Err)
	}

	d.Kill()
	m.line(t, &m.Err, "osctl-eventd went away", nil)
	d = startDaemon(t, bus)
	m.line(t, &m.Err, "lost an unknown number of events", nil)
	report(t, d.Client(t), 1, "state", "pool", "tank", "id", "101", "state", "frozen")
	m.line(t, &m.Out, "frozen", nil)
	m.Signal(t, syscall.SIGINT)
	if code := m.Wait(t); code != exitLost {
		t.Errorf("interrupted after a loss: exit status %d", code)
	}
}

// TestMonitorRange shows parts of the history.
func TestMonitorRange(t *testing.T) {
	bus, d := startService(t)
	client := d.Client(t)
	report(t, client, 1, "ct_netif", "pool", "tank", "id", "1", "action", "rename", "name", "eth0", "new_name", "lan0") // 1
	report(t, client, 2, "state", "pool", "tank", "id", "1", "state", "running")                                        // 2, 3
	report(t, client, 1, "state", "pool", "dozer", "id", "2", "state", "stopped")                                       // 4
	report(t, client, 1, "state", "pool", "dozer", "id", "1", "state", "running")                                       // 5
	all := parseEvents(t, ctl(t, bus.Env(), "monitor", "--json", "--no-follow").stdout)
	if numbers(all) != "1 2 3 4 5" {
		t.Fatalf("the history is %s", numbers(all))
	}
	cursor := func(seq int) string { return all[seq-1].Cursor }
	at := func(seq int) string { return all[seq-1].Time.Format(time.RFC3339Nano) }
	for _, test := range []struct {
		args string
		want string
	}{
		{"--no-follow --type state", "2 3 4 5"},
		{"--no-follow --action running --action rename", "1 2 3 5"},
		{"--no-follow --pool dozer --id 1", "5"},
		{"--no-follow tank:1 dozer:2", "1 2 3 4"},
		{"--no-follow --type state tank:1 dozer:2", "2 3 4"},
		{"--no-follow tank:1/eth0", "1"},
		{"--no-follow tank:1/lan0 dozer:1", "1 5"},
		{"--no-follow tank:1/eth1", ""},
		{"--no-follow -n 2", "4 5"},
		{"--no-follow -n 9", "1 2 3 4 5"},
		{"--no-follow -n 2 --type state tank:1", "2 3"},
		{"--since oldest -n 2", "1 2"},
		{"--since " + cursor(2) + " -n 2", "3 4"},
		{"--since " + cursor(2) + " --no-follow", "3 4 5"},
		{"--since " + cursor(5) + " --no-follow", ""},
		{"--since oldest --until " + cursor(3), "1 2 3"},
		{"--since " + cursor(3) + " --until " + cursor(3), ""},
		{"--no-follow --since 1h", "1 2 3 4 5"},
		{"--no-follow --since " + at(4), "4 5"},
		{"--until " + at(1), "1"},
		{"--since 1d --until 1h", ""},
		{"--until +20ms", ""},
		{"--since oldest --until +20ms", "1 2 3 4 5"},
	} {
		r := ctl(t, bus.Env(), append([]string{"monitor", "--json"}, strings.Fields(test.args)...)...)
		if got := numbers(parseEvents(t, r.stdout)); got != test.want || r.code != 0 || r.stderr != "" {
			t.Errorf("%s: %q, status %d, %s; want %q", test.args, got, r.code, r.stderr, test.want)
		}
	}
	r := ctl(t, bus.Env(), "monitor", "--since", "other:1", "--no-follow", "--json")
	if numbers(parseEvents(t, r.stdout)) != "1 2 3 4 5" || r.code != exitLost || !strings.Contains(r.stderr, "lost an unknown number of events") {
		t.Errorf("from another epoch: %+v", r)
	}
	for args, want := range map[string]string{
		"tank":                       "expected a container as POOL:ID",
		"tank:1/":                    "expected a container as POOL:ID",
		"--since soon":               "expected a cursor, oldest, a duration before now",
		"--until oldest":             "nothing comes before that",
		"--no-follow --since +1h":    "--since +1h is in the future: no event is that new",
		"--until other:1":            "from another epoch",
		"--cursor-file /nowhere/x/y": "no such file or directory",
	} {
		if r := ctl(t, bus.Env(), append([]string{"monitor"}, strings.Fields(args)...)...); r.code != 1 || !strings.Contains(r.stderr, want) {
			t.Errorf("%s: %+v, want %q", args, r, want)
		}
	}
}

// TestMonitorPipe checks that SIGPIPE ends a monitor whose reader is gone, even if no event comes.
func TestMonitorPipe(t *testing.T) {
	bus, d := startService(t)
	report(t, d.Client(t), 2, "x")
	for _, consumer := range []string{"true", "head -n 1 >/dev/null"} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, "sh", "-c", `{ "$0" monitor --since oldest; echo "status $?" >&2; } | `+consumer, program())
		cmd.Env = bus.Env()
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != "status 141\n" {
			t.Errorf("%s: %v: %s", consumer, err, out)
		}
	}
}

// TestInterrupted checks that SIGINT ends a monitor whose output is blocked.
func TestInterrupted(t *testing.T) {
	bus, d := startService(t)
	report(t, d.Client(t), 5000, "x", "text", strings.Repeat("x", 100))
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = read.Close() }()
	cmd := exec.Command(program(), "monitor", "--since", "oldest")
	cmd.Env, cmd.Stdout = bus.Env(), write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	if _, err := read.Read(make([]byte, 1)); err != nil { // it writes, and the pipe fills up
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	if err := cmd.Wait(); err != nil {
		t.Errorf("interrupted: %v", err)
	}
}

// TestInterruptedBatch checks that a batch interrupted while it waits for input does not end with 0.
func TestInterruptedBatch(t *testing.T) {
	bus, _ := startService(t)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = errors.Join(read.Close(), write.Close()) }()
	cmd := exec.Command(program(), "report", "--batch", "-")
	cmd.Stdin = read
	r := startCommand(t, bus, cmd)
	if _, err := write.WriteString(`{"type":"x"}` + "\n"); err != nil {
		t.Fatal(err)
	}
	r.line(t, &r.Out, "1", nil)
	r.Signal(t, syscall.SIGINT)
	if code := r.Wait(t); code != exitInterrupted {
		t.Errorf("interrupted: status %d, %s", code, &r.Err)
	}
}

// TestMonitorAll pipes 100,000 events.
func TestMonitorAll(t *testing.T) {
	const events = 100_000
	bus, d := startService(t, "--history", "100000")
	report(t, d.Client(t), events, "ct_netif", "pool", "tank", "id", "101", "action", "up", "name", "eth0", "veth", "veth1a2b")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", `"$0" monitor --json --no-follow | wc -l`, program())
	cmd.Env = bus.Env()
	if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != fmt.Sprint(events) {
		t.Errorf("%v: %s", err, out)
	}
}

// TestMonitorConsumer feeds a consumer written for `osctl -j monitor`, which reads only type and opts.
func TestMonitorConsumer(t *testing.T) {
	bus, _ := startService(t)
	reports := [][]string{
		{"management", "id:=7", "cmd=ct_start", `opts:={"id": "101"}`, "state=run"},
		{"state", "pool=tank", "id=101", "state=running", "init_pid:=42"},
		{"db", "object=container", "pool=tank", "id=101", "action=add"},
		{"ct_netif", "pool=tank", "id=101", "action=rename", "name=eth0", "new_name=eth1"},
		{"ct_init_pid", "pool=tank", "id=101", "init_pid:=42"},
		{"ct_scheduled", "pool=tank", "id=101", "cpu_package_inuse:=1"},
		{"ct_exit", "pool=tank", "id=101", "exit_type=halt"},
		{"osctl_oomd", "pool=tank", "id=101", "action=restart", "time:=1700000000"},
		{"osctld_shutdown"},
	}
	for _, args := range reports {
		if r := ctl(t, bus.Env(), append([]string{"report"}, args...)...); r.code != 0 {
			t.Fatalf("%v: %+v", args, r)
		}
	}
	out, err := consume(ctl(t, bus.Env(), "monitor", "--json", "--no-follow").stdout)
	const want = `management 7 ct_start {"id":"101"} run
tank:101 is running, init 42
container tank:101 add
tank:101 rename eth0 eth1
tank:101 init 42
tank:101 on package 1
tank:101 ended: halt
tank:101 oomd restart at 1700000000
osctld is going down
`
	if err != nil || out != want {
		t.Errorf("%v:\n%s\nwant\n%s", err, out, want)
	}
}

// consume is a consumer of `osctl -j monitor`. It reads the keys type and opts.
func consume(text string) (string, error) {
	var b strings.Builder
	for line := range strings.Lines(text) {
		var e struct {
			Type string          `json:"type"`
			Opts json.RawMessage `json:"opts"`
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			return "", err
		}
		var o struct {
			Object, Pool, Action, Name, State, Cmd string
			NewName                                string          `json:"new_name"`
			ID                                     any             // a string, or the number of a command
			Opts                                   json.RawMessage // of a command
			InitPID                                int             `json:"init_pid"`
			Package                                int             `json:"cpu_package_inuse"`
			ExitType                               string          `json:"exit_type"`
			Time                                   int64
		}
		if err := json.Unmarshal(e.Opts, &o); err != nil {
			return "", err
		}
		ct := fmt.Sprintf("%s:%v", o.Pool, o.ID)
		switch e.Type {
		case "management":
			fmt.Fprintln(&b, e.Type, o.ID, o.Cmd, string(o.Opts), o.State)
		case "state":
			fmt.Fprintf(&b, "%s is %s, init %d\n", ct, o.State, o.InitPID)
		case "db":
			fmt.Fprintln(&b, o.Object, ct, o.Action)
		case "ct_netif":
			fmt.Fprintln(&b, ct, o.Action, o.Name, o.NewName)
		case "ct_init_pid":
			fmt.Fprintln(&b, ct, "init", o.InitPID)
		case "ct_scheduled":
			fmt.Fprintln(&b, ct, "on package", o.Package)
		case "ct_exit":
			fmt.Fprintln(&b, ct, "ended:", o.ExitType)
		case "osctl_oomd":
			fmt.Fprintln(&b, ct, "oomd", o.Action, "at", o.Time)
		case "osctld_shutdown":
			fmt.Fprintln(&b, "osctld is going down")
		default:
			return "", fmt.Errorf("unknown type %s", e.Type)
		}
	}
	return b.String(), nil
}

// BenchmarkMonitor compares `monitor --json | wc -l` with the Go client, for 100,000 events. ratio is the
// time of the command divided by that of the client.
func BenchmarkMonitor(b *testing.B) {
	const events = 100_000
	bus, d := startService(b, "--history", "100000")
	client := d.Client(b)
	report(b, client, events, "ct_netif", "pool", "tank", "id", "101", "action", "up", "name", "eth0", "veth", "veth1a2b")
	var command, library time.Duration
	for b.Loop() {
		begun := time.Now()
		cmd := exec.Command("sh", "-c", `"$0" monitor --json --no-follow | wc -l`, program())
		cmd.Env = bus.Env()
		if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != fmt.Sprint(events) {
			b.Fatalf("%v: %s", err, out)
		}
		command += time.Since(begun)
		begun = time.Now()
		cursor, n := hub.CursorOldest, 0
		for n < events {
			next, got, err := client.WaitEvents(b.Context(), cursor, hub.Filter{}, 0, 0)
			if err != nil {
				b.Fatal(err)
			}
			cursor, n = next, n+len(got)
		}
		library += time.Since(begun)
	}
	b.ReportMetric(float64(b.N)*events/command.Seconds(), "events/s")
	b.ReportMetric(command.Seconds()/library.Seconds(), "ratio")
}

// BenchmarkInterrupt measures the time from SIGINT to the end of a monitor.
func BenchmarkInterrupt(b *testing.B) {
	bus, d := startService(b)
	report(b, d.Client(b), 1, "x")
	var took time.Duration
	for b.Loop() {
		m := start(b, bus, "monitor", "--since", "oldest")
		m.line(b, &m.Out, "x", nil)
		begun := time.Now()
		m.Signal(b, syscall.SIGINT)
		m.Wait(b)
		took += time.Since(begun)
	}
	b.ReportMetric(float64(took.Microseconds())/1000/float64(b.N), "ms/interrupt")
}
