package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/osctl/eventd/cmd/internal/daemontest"
	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

// note is a command that appends the number of its event to the file in the next argument.
var note = []string{"--", "sh", "-c", `echo "$EVENT_SEQ" >>"$0"`} //nolint:gochecknoglobals // it does not change

// readText returns the content of a file, "" if it is missing.
func readText(path string) string {
	text, _ := os.ReadFile(path)
	return string(text)
}

// cursorOf returns the number in a cursor file, 0 if there is none.
func cursorOf(t testing.TB, path string) uint64 {
	t.Helper()
	kept := strings.TrimSpace(readText(path))
	if kept == "" {
		return 0
	}
	_, seq, err := hub.ParseCursor(kept)
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// TestRunData passes values that a shell, a terminal or printf would act on.
func TestRunData(t *testing.T) {
	bus, d := startService(t)
	out := filepath.Join(t.TempDir(), "out")
	for _, value := range []string{"$(touch /evil)", "`id`", "a b\n;c", `%s\n"'`, "-rf", "*", "é", "()  { :; }; id"} {
		report(t, d.Client(t), 1, "ct_netif", "pool", value, "id", value, "action", "up", "name", value, "veth", value)
		r := ctl(t, bus.Env(), "run", "--no-follow", "--pool", value, "--", "sh", "-c",
			`printf '<%s>' "$EVENT_TYPE" "$EVENT_ACTION" "$EVENT_POOL" "$EVENT_ID" "$EVENT_NAME" "$EVENT_VETH" "$@" >"$0"; cat`,
			out, "$EVENT_NAME", "{}", "%s")
		want := fmt.Sprintf("<ct_netif><up><%s><%[1]s><%[1]s><%[1]s><$EVENT_NAME><{}><%%s>", value)
		if got := readText(out); r.code != 0 || got != want || r.stderr != "" {
			t.Errorf("%q: %s, %+v, want %s", value, got, r, want)
		}
		if shown := ctl(t, bus.Env(), "monitor", "--json", "--no-follow", "-n", "1").stdout; r.stdout != shown {
			t.Errorf("standard input was %s, want %s", r.stdout, shown)
		}
	}
}

// TestRunEnvironment checks that each variable is set, even if the event has no such field.
func TestRunEnvironment(t *testing.T) {
	bus, d := startService(t)
	report(t, d.Client(t), 1, "backup_done")
	show := []string{"--no-follow", "--", "sh", "-c", "env | grep ^EVENT_ | sort"}
	env := append(bus.Env(), "EVENT_NAME=inherited", "EVENT_OTHER=inherited")
	r := ctl(t, env, append([]string{"run"}, show...)...)
	want := regexp.MustCompile(`^EVENT_ACTION=\nEVENT_CURSOR=[0-9a-f]{32}:1\nEVENT_ID=\nEVENT_NAME=\nEVENT_POOL=\n` +
		`EVENT_SEQ=1\nEVENT_SOURCE=uid:0\nEVENT_TIME=20\S+Z\nEVENT_TYPE=backup_done\nEVENT_VETH=\n$`)
	if r.code != 0 || !want.MatchString(r.stdout) {
		t.Errorf("one event: %+v", r)
	}
	r = ctl(t, env, append([]string{"run", "--batch", "2"}, show...)...)
	if want := regexp.MustCompile(`^EVENT_COUNT=1\nEVENT_CURSOR=\S+:1\n$`); r.code != 0 || !want.MatchString(r.stdout) {
		t.Errorf("a batch: %+v", r)
	}
}

// TestRunValues checks that only strings get into the environment. Another value as text could be longer than the
// kernel allows, so that no command could start.
func TestRunValues(t *testing.T) {
	bus, d := startService(t)
	for _, r := range []client.Report{
		{Type: "x", Options: hub.Options{{Name: "name", Value: hub.Strings(strings.Repeat("\x01", 30_000))}, {Name: "id", Value: hub.Uint32(7)}}},
		{Type: hub.TypeManagement, Options: hub.Options{
			{Name: "id", Value: hub.Uint32(8)}, {Name: "cmd", Value: hub.String("ct_start")}, {Name: "state", Value: hub.String("run")},
		}},
		{Type: "x", Options: hub.Options{{Name: "name", Value: hub.String(strings.Repeat("\x01", 60_000))}}},
	} {
		if _, err := d.Client(t).Report(t.Context(), r.Type, r.Options); err != nil {
			t.Fatal(err)
		}
	}
	r := ctl(t, bus.Env(), "run", "--no-follow", "--", "sh", "-c", `echo "<$EVENT_ID> ${#EVENT_NAME}"`)
	if want := "<> 0\n<8> 0\n<> 60000\n"; r.code != 0 || r.stdout != want {
		t.Errorf("%+v, want %q", r, want)
	}
}

// TestRunFailures runs commands that fail.
func TestRunFailures(t *testing.T) {
	bus, d := startService(t)
	report(t, d.Client(t), 3, "x")
	for _, test := range []struct {
		name, flags, script string
		code                int
		handled             string // numbers of the events that the command handled
		cursor              uint64 // what the file keeps
		stderr              string
	}{
		{"fails", "", `[ $EVENT_SEQ != 2 ]`, exitCommandFailed, "1", 1, "osctl-eventctl: the command failed for event 2: exit status 1\n"},
		{"fails, skip", "--on-failure skip", `[ $EVENT_SEQ != 2 ]`, exitCommandFailed, "1 3", 3, "for event 2: exit status 1; skipped\n"},
		{"fails once", "--retry 1", `[ $EVENT_SEQ != 2 ] || ! mkdir "$1.failed" 2>/dev/null`, 0, "1 2 3", 3, "exit status 1; retrying in 1s\n"},
		{"fails twice", "--retry 1", `[ $EVENT_SEQ != 2 ]`, exitCommandFailed, "1", 1, "for event 2: exit status 1\n"},
		{"hangs", "--timeout 5s", `[ $EVENT_SEQ != 2 ] || sleep 1000`, exitCommandFailed, "1", 1, "for event 2: it did not end within 5s\n"},
		{"is killed", "", `[ $EVENT_SEQ != 2 ] || kill -9 $$`, exitCommandFailed, "1", 1, "for event 2: signal: killed\n"},
		{"floods", "", `head -c 20000000 /dev/zero | tr '\0' x >&2`, 0, "1 2 3", 3, "xxx"},
		{"reads nothing, leaves a child", "", `exec 3<&0; sleep 1000 >/dev/null 2>&1 & echo $! >>"$1.children"`, 0, "1 2 3", 3, ""},
		{"batch fails", "--batch 2", `! grep -q '"seq":3'`, exitCommandFailed, "1", 2, "for event 3: exit status 1\n"},
		{"batches", "--batch 2", `true`, 0, "1 1", 3, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			file, out := filepath.Join(dir, "cursor"), filepath.Join(dir, "out")
			args := append([]string{"run", "--no-follow", "--cursor-file", file}, strings.Fields(test.flags)...)
			args = append(args, "--", "sh", "-c", test.script+`|| exit; echo "${EVENT_SEQ-1}" >>"$1"`, "sh", out)
			r := ctl(t, bus.Env(), args...)
			for pid := range strings.FieldsSeq(readText(out + ".children")) {
				_ = exec.Command("kill", pid).Run()
			}
			if len(r.stderr) > 1000 {
				r.stderr = r.stderr[:1000]
			}
			handled := strings.Join(strings.Fields(readText(out)), " ")
			if r.code != test.code || handled != test.handled || !strings.Contains(r.stderr, test.stderr) || cursorOf(t, file) != test.cursor {
				t.Errorf("handled %q, cursor %d, %+v; want %+v", handled, cursorOf(t, file), r, test)
			}
		})
	}
}

// TestRunArguments checks that invalid arguments are refused before any event is handled.
func TestRunArguments(t *testing.T) {
	for args, want := range map[string]string{
		"":                            "run which command? Expected it after --",
		"tank:1 true":                 "run which command? Expected it after --",
		"tank:1 --":                   "run which command? Expected it after --",
		"tank -- true":                "expected a container as POOL:ID",
		"-- /nonexistent/x":           "no such file",
		"-- nonexistent-x":            "executable file not found",
		"--on-failure what -- true":   `--on-failure "what": expected stop, skip`,
		"--type X -- true":            "expected a type that matches",
		"--batch 0 -- true":           "expected 1 to",
		"--retry -1 -- true":          "expected a number from 0 to 65535",
		"--cursor-file /proc -- true": "cursor file /proc: it is not a regular file",
	} {
		if r := ctl(t, nil, append([]string{"run"}, strings.Fields(args)...)...); r.code != 1 || !strings.Contains(r.stderr, want) {
			t.Errorf("run %s: %+v, want %q", args, r, want)
		}
	}
}

// TestRunSelects checks that run skips unselected events and down events of handovers, but no up.
func TestRunSelects(t *testing.T) {
	bus, _ := startService(t)
	for _, args := range []string{
		"state pool=tank id=1 state=running", "ct_netif pool=tank id=1 action=down name=eth0 handover:=true",
		"ct_netif pool=tank id=1 action=up name=eth0 handover:=true", "ct_netif pool=tank id=2 action=up name=eth0",
	} {
		if r := ctl(t, bus.Env(), append([]string{"report"}, strings.Fields(args)...)...); r.code != 0 {
			t.Fatal(r)
		}
	}
	for args, want := range map[string]string{
		"": "1 3 4", "--handover": "1 2 3 4", "tank:1": "1 3", "tank:1/eth0 --handover --action down": "2", "--batch 9": "1", "--type x": "",
	} {
		out := filepath.Join(t.TempDir(), "out")
		run := append(append([]string{"run", "--no-follow"}, strings.Fields(args)...), "--", "sh", "-c", `echo "${EVENT_SEQ-1}" >>"$0"`, out)
		r := ctl(t, bus.Env(), run...)
		if handled := strings.Join(strings.Fields(readText(out)), " "); r.code != 0 || handled != want {
			t.Errorf("run %s: handled %q, %+v; want %q", args, handled, r, want)
		}
	}
}

// TestRunInterrupted checks that run passes SIGTERM on to the command. If the command still succeeds,
// its event is handled; otherwise the next run handles the event again.
func TestRunInterrupted(t *testing.T) {
	for script, want := range map[string]uint64{"trap 'exit 0' TERM": 1, "true": 0} {
		bus, d := startService(t)
		dir := t.TempDir()
		file, out := filepath.Join(dir, "cursor"), filepath.Join(dir, "out")
		r := start(t, bus, "run", "--since", "oldest", "--cursor-file", file, "--", "sh", "-c", script+`; echo $$ >"$0"; while :; do sleep 0.1; done`, out)
		report(t, d.Client(t), 2, "x")
		apitest.Eventually(t, "the command runs", func() bool { return strings.HasSuffix(readText(out), "\n") })
		_ = r.Cmd.Process.Signal(syscall.SIGTERM)
		if code := r.Wait(t); code != 0 || cursorOf(t, file) != want {
			t.Errorf("%s: status %d, cursor %d, want %d; %s", script, code, cursorOf(t, file), want, &r.Err)
		}
		if exec.Command("kill", "-0", strings.TrimSpace(readText(out))).Run() == nil {
			t.Errorf("%s: the command still runs", script)
		}
	}
}

// TestRunKilled kills run at any time: all events are handled in order, at most one of them twice for
// each kill.
func TestRunKilled(t *testing.T) {
	bus, d := startService(t)
	client, dir := d.Client(t), t.TempDir()
	file, out := filepath.Join(dir, "cursor"), filepath.Join(dir, "out")
	args := append(append([]string{"run", "--since", "oldest", "--cursor-file", file}, note...), out)
	total := 0
	kills := daemontest.Kills(t, 30)
	for range kills {
		r := start(t, bus, args...)
		report(t, client, 5, "x")
		total += 5
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
		_ = r.Cmd.Process.Kill()
		r.Wait(t)
	}
	if r := ctl(t, bus.Env(), append([]string{"run", "--no-follow"}, args[1:]...)...); r.code != 0 {
		t.Fatal(r)
	}
	next, twice := 1, 0
	for text := range strings.FieldsSeq(readText(out)) {
		seq, err := strconv.Atoi(text)
		switch {
		case err != nil || seq > next:
			t.Fatalf("event %s after %d", text, next-1)
		case seq < next:
			twice++
		default:
			next++
		}
	}
	t.Logf("%d events, %d kills, %d handled twice", total, kills, twice)
	if next != total+1 || twice > kills {
		t.Errorf("handled up to %d of %d, %d of them twice, with %d kills", next-1, total, twice, kills)
	}
}

// TestRunOrphan kills run while its command runs: the command ends as well.
func TestRunOrphan(t *testing.T) {
	bus, d := startService(t)
	report(t, d.Client(t), 1, "x")
	out := filepath.Join(t.TempDir(), "out")
	r := start(t, bus, "run", "--since", "oldest", "--", "sh", "-c", `echo $$ >"$0"; exec sleep 1000`, out)
	apitest.Eventually(t, "the command runs", func() bool { return strings.HasSuffix(readText(out), "\n") })
	_ = r.Cmd.Process.Kill()
	r.Wait(t)
	apitest.Eventually(t, "the command is gone", func() bool { return exec.Command("kill", "-0", strings.TrimSpace(readText(out))).Run() != nil })
}

// TestRunRestart restarts the daemon and the bus under run, while a command runs.
func TestRunRestart(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	state := t.TempDir()
	d := startDaemon(t, bus, "--state-dir", state)
	dir := t.TempDir()
	file, out := filepath.Join(dir, "cursor"), filepath.Join(dir, "out")
	const script = `echo "$EVENT_SEQ" >>"$0"; while [ -e "$0.wait" ]; do sleep 0.02; done`
	r := start(t, bus, "run", "--since", "oldest", "--cursor-file", file, "--", "sh", "-c", script, out)
	lines := func(n int) func() bool { return func() bool { return strings.Count(readText(out), "\n") >= n } }
	hold := func(held bool) {
		err := os.Remove(out + ".wait")
		if held {
			err = os.WriteFile(out+".wait", nil, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	hold(true)
	report(t, d.Client(t), 2, "x")
	apitest.Eventually(t, "the command runs", lines(1))
	d.Kill()
	d = startDaemon(t, bus, "--state-dir", state)
	report(t, d.Client(t), 2, "x")
	hold(false)
	apitest.Eventually(t, "the events of both daemons are handled", func() bool { return cursorOf(t, file) == 4 })
	hold(true)
	report(t, d.Client(t), 1, "x")
	apitest.Eventually(t, "the command runs", lines(5))
	bus.Restart(t)
	d.WaitForService(t)
	hold(false)
	report(t, d.Client(t), 1, "x")
	apitest.Eventually(t, "the events of both buses are handled", func() bool { return cursorOf(t, file) == 6 })
	if got := strings.Join(strings.Fields(readText(out)), " "); got != "1 2 3 4 5 6" || strings.Contains(r.Err.String(), "lost") {
		t.Errorf("handled %s; %s", got, &r.Err)
	}
}

// TestRunSyncs checks that the new cursor file and its directory are synced, and then the file before the
// next event is handled.
func TestRunSyncs(t *testing.T) {
	bus, d := startService(t)
	report(t, d.Client(t), 3, "x")
	dir := t.TempDir()
	trace := filepath.Join(dir, "trace")
	cmd := exec.Command("strace", "-f", "-y", "-o", trace, "-e", "trace=fsync,pwrite64,execve",
		program(), "run", "--no-follow", "--cursor-file", filepath.Join(dir, "cursor"), "--", "true")
	cmd.Env = bus.Env()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var calls strings.Builder
	for line := range strings.Lines(readText(trace)) {
		for pattern, call := range map[string]string{
			` execve\("\S*/true"`: "command ", ` pwrite64\(\d+<\S+/cursor>`: "write ", ` fsync\(\d+<\S+/cursor>`: "sync ",
			` fsync\(\d+<` + regexp.QuoteMeta(dir) + `>`: "directory ",
		} {
			if regexp.MustCompile(pattern).MatchString(line) {
				calls.WriteString(call)
			}
		}
	}
	if want := "write sync directory " + strings.Repeat("command write sync ", 3); calls.String() != want {
		t.Errorf("calls were %q, want %q", &calls, want)
	}
}
