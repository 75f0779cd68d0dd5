package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

// TestCursorFileCount shows the events after the cursor, two at a time.
func TestCursorFileCount(t *testing.T) {
	bus, d := startService(t)
	report(t, d.Client(t), 5, "x")
	file := filepath.Join(t.TempDir(), "cursor")
	for _, want := range []string{"1 2", "3 4", "5", ""} {
		r := ctl(t, bus.Env(), "monitor", "--json", "--no-follow", "-n", "2", "--cursor-file", file)
		if got := numbers(parseEvents(t, r.stdout)); r.code != 0 || got != want {
			t.Errorf("got %q, %+v, want %q", got, r, want)
		}
	}
}

// TestMonitorCursorFile checks that a run continues where the last run stopped, however it stopped.
func TestMonitorCursorFile(t *testing.T) {
	bus, d := startService(t, "--history", "64")
	client := d.Client(t)
	file := filepath.Join(t.TempDir(), "cursor")
	report(t, client, 10, "x")
	next := func(wantCode int, want uint64, args ...string) {
		t.Helper()
		r := ctl(t, bus.Env(), append([]string{"monitor", "--json", "--no-follow", "--cursor-file", file}, args...)...)
		events := parseEvents(t, r.stdout)
		kept, err := os.ReadFile(file)
		if err != nil || r.code != wantCode || uint64(len(events)) != want {
			t.Fatalf("%d events, status %d, %s, %v; want %d and status %d", len(events), r.code, r.stderr, err, want, wantCode)
		}
		if want > 0 && string(kept) != events[want-1].Cursor+"\n" {
			t.Errorf("kept %s after %s", kept, events[want-1].Cursor)
		}
	}
	next(0, 10)
	next(0, 0)
	report(t, client, 5, "x")
	next(0, 5)
	next(0, 0, "--since", "oldest") // the file takes precedence
	// A run killed at any time skips no event.
	m := start(t, bus, "monitor", "--json", "--cursor-file", file)
	report(t, client, 20, "x")
	m.line(t, &m.Out, `"seq":35,`, nil)
	_ = m.Cmd.Process.Kill()
	m.Wait(t)
	kept, err := os.ReadFile(file)
	_, seq, bad := hub.ParseCursor(strings.TrimSpace(string(kept)))
	if err != nil || bad != nil || seq < 15 || seq > 35 {
		t.Errorf("kept %q", kept)
	}
	next(0, 35-seq)
	// The history keeps 64 of 100 more events.
	report(t, client, 100, "x")
	r := ctl(t, bus.Env(), "monitor", "--json", "--no-follow", "--cursor-file", file)
	if len(parseEvents(t, r.stdout)) != 64 || r.code != exitLost || !strings.Contains(r.stderr, "lost 36 events: ") {
		t.Errorf("%d events, status %d, %s", len(parseEvents(t, r.stdout)), r.code, r.stderr)
	}
	next(0, 0)
	if names, err := filepath.Glob(file + "*"); err != nil || !slices.Equal(names, []string{file}) {
		t.Errorf("beside the file are left %v, %v", names, err)
	}
	if err := os.WriteFile(file, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := ctl(t, bus.Env(), "monitor", "--cursor-file", file); r.code != 1 || !strings.Contains(r.stderr, "it holds no cursor; remove it") {
		t.Errorf("a file with something else: %+v", r)
	}
}

// TestCursorFileEmptyHistory checks that a run that ends with the newest event ends at once, if the cursor
// is from another epoch and no event is kept.
func TestCursorFileEmptyHistory(t *testing.T) {
	bus, _ := startService(t)
	file := filepath.Join(t.TempDir(), "cursor")
	for _, args := range []string{
		"monitor --no-follow --cursor-file " + file, "monitor --no-follow -n 1 --cursor-file " + file, "run --no-follow --cursor-file " + file + " -- true",
	} {
		if err := os.WriteFile(file, []byte("other:5"), 0o600); err != nil {
			t.Fatal(err)
		}
		r := ctl(t, bus.Env(), strings.Fields(args)...)
		if r.code != exitLost || r.stdout != "" || !strings.Contains(r.stderr, "lost an unknown number of events") || cursorOf(t, file) != 0 {
			t.Errorf("%s: %+v, cursor %d", args, r, cursorOf(t, file))
		}
	}
}

// TestCursorFileKilled kills a monitor at any time while events come: its cursor is never ahead of the
// events that it wrote.
func TestCursorFileKilled(t *testing.T) {
	bus, d := startService(t)
	client := d.Client(t)
	file := filepath.Join(t.TempDir(), "cursor")
	last := uint64(0)
	for i := range 10 {
		m := start(t, bus, "monitor", "--json", "--since", "oldest", "--cursor-file", file)
		kill := func() { _ = m.Cmd.Process.Kill() }
		delay := time.Duration(10+5*i) * time.Millisecond
		if i == 5 { // this run writes something, however slowly it starts
			kill = func() {}
		}
		timer := time.AfterFunc(delay, kill)
		for range 20 {
			report(t, client, 50, "x")
		}
		if i == 5 {
			m.line(t, &m.Out, `"seq":`, nil)
			_ = m.Cmd.Process.Kill()
		}
		m.Wait(t)
		timer.Stop()
		written := m.Out.String()
		written = written[:strings.LastIndex(written, "\n")+1]
		for _, e := range parseEvents(t, written) {
			if e.Seq > last+1 {
				t.Fatalf("run %d: event %d after %d", i, e.Seq, last)
			}
			last = max(last, e.Seq)
		}
		kept, err := os.ReadFile(file)
		if os.IsNotExist(err) || err == nil && strings.TrimSpace(string(kept)) == "" {
			continue // killed too early
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

// TestCursorFileOwner checks that a cursor file keeps its owner, group and mode.
func TestCursorFileOwner(t *testing.T) {
	bus, d := startService(t)
	client := d.Client(t)
	dir := t.TempDir()
	for at := dir; at != os.TempDir(); at = filepath.Dir(at) {
		if err := os.Chmod(at, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "cursor")
	run := func(cmd *exec.Cmd) (string, error) {
		report(t, client, 1, "x")
		cmd.Env = bus.Env()
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	args := []string{"monitor", "--no-follow", "--cursor-file", file}
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Chown(file, bustest.NobodyUID, bustest.NobodyUID), os.Chown(dir, bustest.NobodyUID, 0)); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []*exec.Cmd{bustest.AsNobody(program(), args...), exec.Command(program(), args...), bustest.AsNobody(program(), args...)} {
		if out, err := run(cmd); err != nil || strings.Count(out, "\n") != 1 {
			t.Fatalf("%v: %v, %s", cmd.SysProcAttr, err, out)
		}
		info, err := os.Stat(file)
		stat, _ := info.Sys().(*syscall.Stat_t)
		if err != nil || stat.Uid != bustest.NobodyUID || stat.Gid != bustest.NobodyUID || info.Mode() != 0o600 {
			t.Errorf("the file has owner %d, group %d, mode %v, %v", stat.Uid, stat.Gid, info.Mode(), err)
		}
	}
	// The user nobody may write this file of root.
	if err := errors.Join(os.Chown(file, 0, 0), os.Chmod(file, 0o666)); err != nil {
		t.Fatal(err)
	}
	out, err := run(bustest.AsNobody(program(), args...))
	if info, bad := os.Stat(file); err != nil || bad != nil || strings.Count(out, "\n") != 1 || info.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("a file of root that nobody may write: %v, %v, %s", err, bad, out)
	}
	if names, err := filepath.Glob(file + "*"); err != nil || !slices.Equal(names, []string{file}) {
		t.Errorf("beside the file are left %v, %v", names, err)
	}
}

// TestCursorFileOutputClosed checks that the cursor stays if the output is closed or fails.
func TestCursorFileOutputClosed(t *testing.T) {
	bus, d := startService(t)
	report(t, d.Client(t), 1, "x")
	file := filepath.Join(t.TempDir(), "cursor")
	for redirect, want := range map[string]string{
		">&-": "standard output is closed", ">/dev/full": "no space left", "1</dev/null": "bad file descriptor", ">/dev/null": "",
	} {
		cmd := exec.Command("sh", "-c", `"$0" monitor --no-follow --cursor-file "$1" `+redirect, program(), file)
		cmd.Env = bus.Env()
		out, err := cmd.CombinedOutput()
		kept, _ := os.ReadFile(file)
		if (err == nil) != (want == "") || !strings.Contains(string(out), want) || (len(kept) > 1) != (want == "") {
			t.Errorf("%s: %v, %s; the file holds %q", redirect, err, out, kept)
		}
		_ = os.Remove(file)
	}
}

// TestCursorFileFull checks that run does not start the command if the disk has no room for the cursor. If
// it did, each start would handle the same event.
func TestCursorFileFull(t *testing.T) {
	bus, d := startService(t)
	report(t, d.Client(t), 1, "x")
	dir := t.TempDir()
	script := `mount -t tmpfs -o size=16k none "$2" && cd "$2" && : >cursor && { head -c 64k /dev/zero >rest || true; } &&
		"$1" run --no-follow --since oldest --cursor-file cursor -- echo handled; ls`
	cmd := exec.CommandContext(t.Context(), "unshare", "-m", "sh", "-c", script, "sh", program(), dir)
	cmd.Env = bus.Env()
	out, err := cmd.CombinedOutput()
	if text := string(out); err != nil || strings.Contains(text, "handled") || !strings.Contains(text, "cursor file cursor: write") || !strings.HasSuffix(text, "\ncursor\nrest\n") {
		t.Errorf("%v: %s", err, text)
	}
}
