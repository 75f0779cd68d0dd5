package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
)

// batchLines returns n lines of a batch.
func batchLines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "{\"type\":\"x\",\"opts\":{\"n\":%d}}\n", i)
	}
	return b.String()
}

func TestReportBatch(t *testing.T) {
	bus, _ := startService(t)
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "batch")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	r := ctl(t, bus.Env(), "report", "--batch", write(batchLines(2500)+"\n"))
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	if r.code != 0 || len(lines) != 2500 || lines[0] != "1" || lines[2499] != "2500" {
		t.Errorf("a file: status %d, %d numbers, %s", r.code, len(lines), r.stderr)
	}
	// report accepts what monitor prints.
	shown := ctl(t, bus.Env(), "monitor", "--json", "--no-follow", "-n", "3").stdout
	if r := ctlWith(t, bus.Env(), strings.NewReader(shown), "report", "--batch", "-"); r != (result{"2501\n2502\n2503\n", "", 0}) {
		t.Errorf("what monitor prints: %+v", r)
	}
	again := parseEvents(t, ctl(t, bus.Env(), "monitor", "--json", "--no-follow", "-n", "3").stdout)
	if again[0].Type != "x" || again[0].Opts["n"] != 2497.0 {
		t.Errorf("it came back as %+v", again[0])
	}
	for name, test := range map[string]struct{ in, want string }{
		"not JSON":          {batchLines(2) + "nonsense\n", `line 3: not JSON: invalid character 'o' in literal null (expecting 'u'), expected {"type": "TYPE", "opts": {...}}`},
		"no type":           {`{"opts":{}}`, "line 1: type is missing"},
		"two on a line":     {`{"type":"x"} {"type":"x"}`, `line 1: not JSON: text follows the end of the value: " {\"type\":\"x\"}", expected`},
		"a brace too many":  {`{"type":"x"}}`, `line 1: not JSON: text follows the end of the value: "}", expected`},
		"a list":            {`[1]`, `line 1: got a JSON array, expected {"type"`},
		"a list of options": {`{"type":"x","opts":[1]}`, `line 1: opts is a JSON array, expected {"type"`},
		"type is a number":  {`{"type":1}`, `line 1: type is a JSON number, expected {"type"`},
		"too deep":          {`{"type":"x","opts":{"a":[[[[1]]]]}}` + "\n" + `{"type":"x","opts":{"a":[[[[[]]]]]}}`, `line 2: event of type "x", option "a": got deeper nesting`},
		"null in a list":    {`{"type":"x","opts":{"a":[null]}}`, `line 1: option "a": D-Bus has no null`},
		"type is null":      {`{"type":null}`, `line 1: type is a JSON null, expected {"type"`},
		"Type":              {`{"Type":"x"}`, "line 1: type is missing"},
		"a type twice":      {batchLines(1) + `{"type":"x","type":"x"}`, `line 2: key "type" comes twice in one object, expected {"type"`},
		"an option twice":   {`{"type":"x","opts":{"a":"b","c":["a","a"],"a":"b"}}`, `line 1: key "a" comes twice in one object`},
		"a key below twice": {`{"type":"x","opts":{"a":[{"a":{"b":1}},{"a":1,"b":[],"\u0061":2}]}}`, `line 1: key "a" comes twice in one object`},
		"not UTF-8":         {"{\"type\":\"x\",\"opts\":{\"a\":\"\xff\"}}", "line 1: not JSON: it is not UTF-8"},
		"half a pair":       {`{"type":"x","opts":{"a":"\\\ud83d\ude00","b":"\ud83d\u0041"}}`, `line 1: not text: \ud83d is half of a surrogate pair, expected`},
		"the other half":    {`{"type":"x","opts":{"a":"\ude00"}}`, `line 1: not text: \ude00 is half of a surrogate pair`},
		"bad event":         {batchLines(3) + "\n" + `{"type":"state","opts":{"pool":"tank"}}` + "\n", `line 5: event of type "state", option "id": missing`},
		"bad name":          {`{"type":"x","opts":{"A":"b"}}`, `line 1: event of type "x", option "A"`},
		"too long":          {`{"type":"x","opts":{"a":"` + strings.Repeat("x", maxLine) + `"}}`, "line 1: longer than"},
		"too large":         {`{"type":"x","opts":{"a":"` + strings.Repeat("x", 70_000) + `"}}`, "line 1: too large"},
		"nothing, and done": {batchLines(1) + "{}", "nothing was reported"},
	} {
		r := ctl(t, bus.Env(), "report", "--batch", write(test.in))
		if r.code != 1 || !strings.Contains(r.stderr, test.want) || !strings.Contains(r.stderr, "nothing was reported") || r.stdout != "" {
			t.Errorf("%s: %+v, want %q", name, r, test.want)
		}
	}
	r = ctl(t, bus.Env(), "report", "--batch", write(batchLines(1500)+`{"type":"X"}`))
	if r.code != 1 || !strings.Contains(r.stderr, `line 1501: event type "X"`) || !strings.HasSuffix(r.stderr, "; 1024 events reported, the last one from line 1024\n") ||
		strings.Count(r.stdout, "\n") != 1024 {
		t.Errorf("a bad event in the second batch: %s, %d numbers", r.stderr, strings.Count(r.stdout, "\n"))
	}
	for args, want := range map[string]string{
		"report --batch /nonexistent": "no such file", "report --batch - state": "reads all events from the file",
	} {
		if r := ctl(t, bus.Env(), strings.Fields(args)...); r.code != 1 || !strings.Contains(r.stderr, want) {
			t.Errorf("%s: %+v", args, r)
		}
	}
}

// TestReportBatchSkipInvalid skips invalid lines, and nothing else, at any place in the input.
func TestReportBatchSkipInvalid(t *testing.T) {
	bus, _ := startService(t)
	event := func(n int) string { return fmt.Sprintf(`{"type":"x","opts":{"n":%d}}`, n) }
	refused := func(n int) string { return fmt.Sprintf(`{"type":"state","opts":{"pool":"tank","n":%d}}`, n) } // by the service
	long := `{"type":"x","opts":{"a":"` + strings.Repeat("x", 3*maxLine) + `"}}`
	lines := []string{refused(1), "nonsense", event(1), event(2), refused(2), refused(3), event(3), long, "", event(4), `{"type":"X"}`}
	r := ctlWith(t, bus.Env(), strings.NewReader(strings.Join(lines, "\n")), "report", "--batch", "-", "--skip-invalid")
	if r.code != 4 || r.stdout != "1\n2\n3\n4\n" ||
		!strings.HasSuffix(r.stderr, "4 events reported, the last one from line 10; 6 invalid lines skipped\n") {
		t.Errorf("%+v", r)
	}
	one := ctlWith(t, bus.Env(), strings.NewReader("nonsense"), "report", "--batch", "-", "--skip-invalid")
	if one.code != 4 || !strings.HasSuffix(one.stderr, ": nothing was reported; 1 invalid line skipped\n") {
		t.Errorf("%+v", one)
	}
	for _, line := range []string{"1", "2", "5", "6", "8", "11"} {
		if strings.Count(r.stderr, "line "+line+" skipped: ") != 1 {
			t.Errorf("line %s is not reported once as skipped: %s", line, r.stderr)
		}
	}
	shown := parseEvents(t, ctl(t, bus.Env(), "monitor", "--json", "--no-follow", "-n", "9").stdout)
	var numbers []any
	for _, e := range shown {
		numbers = append(numbers, e.Opts["n"])
	}
	if !slices.Equal(numbers, []any{1.0, 2.0, 3.0, 4.0}) {
		t.Errorf("reported were %v", numbers)
	}
	for _, c := range []struct {
		in   string
		want result
	}{ // in this order: each takes the next number
		{event(5), result{"5\n", "", 0}},
		{strings.Repeat("x\n", 2), result{"", "", 4}},
		{refused(1) + "\n" + event(6), result{"6\n", "", 4}},
	} {
		got := ctlWith(t, bus.Env(), strings.NewReader(c.in), "report", "--batch", "-", "--skip-invalid")
		if got.code != c.want.code || got.stdout != c.want.stdout || c.want.code == 0 && got != c.want {
			t.Errorf("%q: %+v, want %+v", c.in, got, c.want)
		}
	}
	if r := ctl(t, bus.Env(), "report", "x", "--skip-invalid"); r.code != 1 || !strings.Contains(r.stderr, "needs --batch") {
		t.Errorf("without --batch: %+v", r)
	}
}

// TestReportBatchDoubt checks the message if the service goes away before it answers.
func TestReportBatchDoubt(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	asked := silentService(t, bus, (*bustest.Client).Close)
	r := ctlWith(t, bus.Env(), strings.NewReader(batchLines(2)), "report", "--batch", "-")
	const want = "osctl-eventctl: osctl-eventd went away before it answered; lines 1 to 2 may have been reported\n"
	if err := <-asked; err != nil || r != (result{"", want, 1}) {
		t.Errorf("%v: %+v, want %s", err, r, want)
	}
	r = ctlWith(t, bus.Env(), strings.NewReader(batchLines(1)), "report", "--batch", "-")
	if !strings.HasPrefix(r.stderr, "osctl-eventctl: line 1: osctl-eventd is not running") || !strings.HasSuffix(r.stderr, "; nothing was reported\n") {
		t.Errorf("without a service: %+v", r)
	}
}

// TestReportBatchInterrupted interrupts a batch that waits for an answer.
func TestReportBatchInterrupted(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	asked := silentService(t, bus, func(*bustest.Client) error { return nil })
	cmd := exec.Command(program(), "report", "--batch", "-")
	cmd.Stdin = strings.NewReader(batchLines(2))
	r := startCommand(t, bus, cmd)
	if err := <-asked; err != nil {
		t.Error(err)
	}
	r.Signal(t, syscall.SIGINT)
	if code := r.Wait(t); code != exitInterrupted {
		t.Errorf("status %d, %s", code, &r.Err)
	}
}

// silentService owns the name of the service and answers no call. When it gets a batch, it calls do, and
// sends the result to the channel.
func silentService(t *testing.T, bus *bustest.Bus, do func(*bustest.Client) error) <-chan error {
	t.Helper()
	service := bus.ClientAs(t, 0)
	if _, err := service.CallDriver(t.Context(), "RequestName", "su", new(bustest.Body).String(wire.Name).Uint32(0)); err != nil {
		t.Fatal(err)
	}
	asked := make(chan error, 1)
	go func() {
		for {
			call, err := service.Receive(t.Context())
			if err != nil || call.Member == "ReportBatch" {
				asked <- errors.Join(err, do(service))
				return
			}
		}
	}()
	return asked
}

// TestReportFull checks the message if report cannot print the numbers.
func TestReportFull(t *testing.T) {
	bus, d := startService(t)
	report(t, d.Client(t), 10_000, "x")
	for script, want := range map[string]string{
		`"$0" report x`:         `^osctl-eventctl: the event was reported as number \d{5}: write /dev/stdout: no space left on device\n$`,
		`"$0" report --batch -`: `^osctl-eventctl: write /dev/stdout: no space left on device; 1024 events reported, the last one from line 1024\n$`,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		cmd := exec.CommandContext(ctx, "sh", "-c", script+" >/dev/full", program())
		cmd.Env, cmd.Stdin = bus.Env(), strings.NewReader(batchLines(1024))
		if out, err := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 1 || !regexp.MustCompile(want).Match(out) {
			t.Errorf("%s: %v: %s", script, err, out)
		}
		cancel()
	}
}

// TestReportBatchStream checks that each event is reported at once while the input stays open.
func TestReportBatchStream(t *testing.T) {
	bus, _ := startService(t)
	cmd := exec.Command(program(), "report", "--batch", "-")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r := startCommand(t, bus, cmd)
	for i := range 3 {
		if _, err := fmt.Fprint(in, batchLines(1)); err != nil {
			t.Fatal(err)
		}
		r.line(t, &r.Out, fmt.Sprint(i+1), nil)
	}
	_ = in.Close()
	if code := r.Wait(t); code != 0 {
		t.Errorf("status %d, %s", code, &r.Err)
	}
}
