package eventlog_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
)

// Unreadable files are set aside, not deleted, and a new epoch begins.
func TestUnreadableIsSetAside(t *testing.T) {
	replace := func(name, content string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(logDir(t, dir), name)
			if name == "*" {
				path = segments(t, dir)[0]
			}
			must(t, os.WriteFile(path, []byte(content), 0o600))
		}
	}
	for name, test := range map[string]struct {
		spoil func(*testing.T, string)
		kept  uint64 // events
		aside string // file that is set aside
	}{
		"an older format":    {replace("*", "osctlev0 an older format"), 0, "0000000000000001.seg"},
		"an empty segment":   {replace("*", ""), 0, "0000000000000001.seg"},
		"garbage":            {replace("*", strings.Repeat("garbage", 1000)), 0, "0000000000000001.seg"},
		"head of old format": {replace("head", "osctlhd0"+strings.Repeat("x", 120)), 5, "head"},
		"head too long":      {replace("head", strings.Repeat("x", 1000)), 5, "head"},
		"head damaged":       {replace("head", "osctlhd1"+strings.Repeat("\x00", 120)), 5, "head"},
		"a segment elsewhere": {func(t *testing.T, dir string) {
			must(t, os.Rename(segments(t, dir)[0], filepath.Join(logDir(t, dir), "00000000000000ff.seg")))
		}, 0, "00000000000000ff.seg"},
		"a link": {func(t *testing.T, dir string) {
			must(t, os.Remove(segments(t, dir)[0]))
			must(t, os.Symlink("/etc/passwd", filepath.Join(logDir(t, dir), "0000000000000001.seg")))
		}, 0, "0000000000000001.seg"},
		"a pipe": {func(t *testing.T, dir string) {
			must(t, os.Remove(segments(t, dir)[0]))
			must(t, syscall.Mkfifo(filepath.Join(logDir(t, dir), "0000000000000001.seg"), 0o600))
		}, 0, "0000000000000001.seg"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			o := open(t, config(dir))
			o.fill(t, 5)
			epoch := o.Status().Epoch
			o.kill()
			test.spoil(t, dir)
			o = open(t, config(dir))
			if got := o.Status(); !got.Durable || got.Last != test.kept || got.Epoch == epoch {
				t.Errorf("status is %+v; logged: %s", got, o.logged)
			}
			if !strings.Contains(o.logged.String(), "new epoch") {
				t.Errorf("logged: %s", o.logged)
			}
			if _, err := os.Lstat(filepath.Join(dir, "aside-1", test.aside)); err != nil {
				t.Error(err)
			}
			o.fill(t, 1)
			want := o.texts(t)
			o.kill()
			o = open(t, config(dir))
			if got := o.texts(t); !slices.Equal(got, want) {
				t.Errorf("restored %q, want %q", got, want)
			}
		})
	}
}

func TestAsideIsBounded(t *testing.T) {
	dir := t.TempDir()
	for range 8 {
		o := open(t, config(dir))
		o.fill(t, 1)
		o.kill()
		must(t, os.WriteFile(segments(t, dir)[0], nil, 0o600))
	}
	must(t, os.Mkdir(filepath.Join(dir, "aside-01"), 0o700)) // an administrator's
	open(t, config(dir)).kill()
	must(t, os.Remove(filepath.Join(dir, "aside-01")))
	asides, err := filepath.Glob(filepath.Join(dir, "aside-*"))
	must(t, err)
	slices.Sort(asides)
	if len(asides) != 4 || filepath.Base(asides[0]) != "aside-5" {
		t.Errorf("found %q", asides)
	}
}

// If an old segment is damaged, the newer ones are kept and the epoch changes.
func TestDamageInTheMiddle(t *testing.T) {
	for name, spoil := range map[string]func(*testing.T, string){
		"a flipped bit": func(t *testing.T, path string) {
			content, err := os.ReadFile(path)
			must(t, err)
			content[len(content)/2] ^= 1
			must(t, os.WriteFile(path, content, 0o600))
		},
		"a file removed": func(t *testing.T, path string) { must(t, os.Remove(path)) },
		"cut":            func(t *testing.T, path string) { must(t, os.Truncate(path, 5000)) },
	} {
		t.Run(name, func(t *testing.T) {
			c := config(t.TempDir())
			c.MaxEvents = 1024
			o := open(t, c)
			o.fill(t, 1000)
			want, epoch := o.texts(t), o.Status().Epoch
			o.kill()
			spoil(t, segments(t, c.Dir)[1])
			o = open(t, c)
			status := o.Status()
			if status.Last != 1000 || status.Oldest < 257 || status.Oldest > 600 || status.Epoch == epoch || !status.Durable {
				t.Fatalf("status is %+v; logged: %s", status, o.logged)
			}
			if got := o.texts(t); !slices.Equal(got, want[status.Oldest-1:]) {
				t.Errorf("restored %d events from %d on", len(got), status.Oldest)
			}
			if containers, _ := o.Containers(); len(containers) != 50 {
				t.Errorf("%d containers", len(containers))
			}
			o.fill(t, 1)
			epoch = o.Status().Epoch
			o.kill()
			o = open(t, c)
			if got := o.Status(); got.Last != 1001 || got.Oldest != status.Oldest || got.Epoch != epoch {
				t.Errorf("after another restart status is %+v", got)
			}
		})
	}
}

// Without its segments the log starts with number 1, in another epoch.
func TestSegmentsRemoved(t *testing.T) {
	dir := t.TempDir()
	o := open(t, config(dir))
	o.fill(t, 5)
	epoch := o.Status().Epoch
	o.kill()
	must(t, os.Remove(segments(t, dir)[0]))
	if got := open(t, config(dir)).Status(); got.Epoch == epoch || got.Last != 0 || !got.Durable {
		t.Errorf("status is %+v", got)
	}
}

// Unfinished logs and segments are removed.
func TestUnfinishedFilesAreRemoved(t *testing.T) {
	dir := t.TempDir()
	open(t, config(dir)).kill()
	must(t, os.MkdirAll(filepath.Join(dir, "log-9.tmp", "full"), 0o700))
	for _, name := range []string{"log-1/0000000000000009.tmp", "log-9.tmp/head"} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600))
	}
	o := open(t, config(dir))
	o.fill(t, 1)
	entries, err := os.ReadDir(dir)
	must(t, err)
	inside, err := os.ReadDir(logDir(t, dir))
	must(t, err)
	if got := fmt.Sprint(entries, inside); strings.Contains(got, ".tmp") {
		t.Errorf("found %s", got)
	}
}

// With an unusable directory the hub works in memory.
func TestUnusableDirectory(t *testing.T) { synctest.Test(t, unusableDirectory) }

func unusableDirectory(t *testing.T) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for _, dir := range []string{file, filepath.Join(file, "below"), "/proc/eventlog"} {
		o := open(t, config(dir))
		o.fill(t, 2)
		if got := o.Status(); got.Durable || got.LogProblem == "" || got.Last != 2 || len(got.Epoch) != 32 {
			t.Errorf("status is %+v", got)
		}
	}
	// It becomes usable later.
	o := open(t, config(file))
	o.fill(t, 2)
	o.run()
	must(t, os.Remove(file))
	eventually(t, "the log is written", func() bool { return o.Status().Durable })
	status := o.Status()
	o.kill()
	if got := open(t, config(file)).Status(); got != status {
		t.Errorf("status is %+v, want %+v", got, status)
	}
}

// A log that cannot be read at the start, but later, is set aside.
func TestLogUnreadableAtStartIsSetAside(t *testing.T) { synctest.Test(t, unreadIsSetAside) }

func unreadIsSetAside(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	state := filepath.Join(dir, "state")
	o := open(t, config(state))
	o.fill(t, 5)
	o.kill()
	must(t, os.Rename(state, filepath.Join(dir, "away")))
	must(t, os.WriteFile(state, nil, 0o600))
	o = open(t, config(state))
	o.fill(t, 1)
	must(t, os.Remove(state))
	must(t, os.Rename(filepath.Join(dir, "away"), state))
	o.run()
	eventually(t, "the log is written", func() bool { return o.Status().Durable })
	if _, err := os.Stat(filepath.Join(state, "aside-1", "0000000000000001.seg")); err != nil {
		t.Error(err)
	}
	want := o.Status()
	o.kill()
	if got := open(t, config(state)).Status(); got != want || got.Last != 1 {
		t.Errorf("status is %+v, want %+v", got, want)
	}
}

// TestNameOfLogIsTaken gives names of logs to files, links and directories that are no logs. It expects the log
// to be found beside them, and a new log to be written.
func TestNameOfLogIsTaken(t *testing.T) {
	for name, take := range map[string]func(path string) error{
		"file":            func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"link to file":    func(path string) error { return os.Symlink("/etc/passwd", path) },
		"empty directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"other directory": func(path string) error {
			return errors.Join(os.Mkdir(path, 0o700), os.WriteFile(filepath.Join(path, "notes.txt"), nil, 0o600))
		},
		"dangling link": func(path string) error { return os.Symlink("/nonexistent", path) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				must(t, take(filepath.Join(dir, "log-1")))
				must(t, take(filepath.Join(dir, "log-3.tmp")))
				o := open(t, config(dir))
				o.run()
				o.fill(t, 5)
				eventually(t, "the log is written", func() bool { return o.Status().Durable })
				epoch := o.Status().Epoch
				o.kill()
				must(t, take(filepath.Join(dir, "log-9")))
				o = open(t, config(dir))
				if got := o.Status(); !got.Durable || got.Last != 5 || got.Epoch != epoch {
					t.Errorf("status is %+v, want epoch %s; logged: %s", got, epoch, o.logged)
				}
				if notes, err := filepath.Glob(filepath.Join(dir, "log-*", "notes.txt")); name == "other directory" && len(notes) != 2 {
					t.Errorf("of two foreign files there are %q, %v", notes, err)
				}
			})
		})
	}
}
