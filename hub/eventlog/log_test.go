package eventlog_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/osctl/eventd/hub/eventlog"
)

func TestKillLosesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "state")
	o := open(t, config(dir))
	if o.logged.String() != "" || !o.Status().Durable {
		t.Fatalf("status is %+v", o.Status())
	}
	for range 5 {
		o.fill(t, 10)
		want, status := o.texts(t), o.Status()
		o.kill()
		o = open(t, config(dir))
		if got := o.texts(t); !slices.Equal(got, want) {
			t.Fatalf("restored %q, want %q", got, want)
		}
		if got := o.Status(); got != status {
			t.Fatalf("status is %+v, want %+v", got, status)
		}
	}
	info, err := os.Stat(dir)
	must(t, err)
	if info.Mode().Perm() != 0o700 {
		t.Errorf("the directory has mode %v", info.Mode())
	}
	for _, path := range append(segments(t, dir), headPath(t, dir)) {
		info, err := os.Stat(path)
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
	}
}

// The epoch survives a reboot only after a clean end.
func TestReboot(t *testing.T) {
	dir := t.TempDir()
	o := open(t, config(dir))
	o.fill(t, 3)
	epoch := o.Status().Epoch
	o.Close()

	other := config(dir)
	other.Boot = "another"
	o = open(t, other)
	if got := o.Status(); got.Epoch != epoch || got.Last != 3 {
		t.Errorf("after a clean end status is %+v", got)
	}
	o.fill(t, 1)
	o.kill()

	o = open(t, config(dir))
	if got := o.Status(); got.Epoch == epoch || got.Last != 4 || !got.Durable {
		t.Errorf("after a loss of power status is %+v", got)
	}
	if !strings.Contains(o.logged.String(), "the machine was restarted while the service ran") {
		t.Errorf("logged: %s", o.logged)
	}
}

func TestInUse(t *testing.T) {
	dir := t.TempDir()
	o := open(t, config(dir))
	if _, err := eventlog.Open(t.Context(), config(dir)); !errors.Is(err, eventlog.ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("Open: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := eventlog.Open(ctx, config(dir)); !errors.Is(err, context.Canceled) {
		t.Errorf("Open with a canceled context: %v", err)
	}
	o.fill(t, 1)
	o.Close()
	if got := open(t, config(dir)).Status(); got.Last != 1 {
		t.Errorf("status is %+v", got)
	}
}

func TestConfigRefused(t *testing.T) {
	for _, c := range []eventlog.Config{{}, {Dir: "x", MaxBytes: 1}, {Dir: "x", MaxBytes: 1 << 60}, {Dir: "x", MaxEvents: -1}} {
		if _, err := eventlog.Open(t.Context(), c); err == nil {
			t.Errorf("Open(%+v) worked", c)
		}
	}
}

// The log is bounded by size and by count, and keeps the newest events.
func TestBounds(t *testing.T) {
	for name, c := range map[string]eventlog.Config{
		"size":  {MaxBytes: eventlog.MinMaxBytes, MaxEvents: 1 << 20},
		"count": {MaxEvents: 1000},
	} {
		t.Run(name, func(t *testing.T) {
			c.Dir, c.Boot = t.TempDir(), thisBoot
			o := open(t, c)
			for range 10 {
				o.fill(t, 500)
				o.sync(t)
				total := int64(0)
				for _, path := range segments(t, c.Dir) {
					info, err := os.Stat(path)
					must(t, err)
					total += info.Size()
				}
				if limit := int64(eventlog.MinMaxBytes) * 5 / 4; name == "size" && total > limit {
					t.Fatalf("%d bytes, the limit is %d", total, limit)
				}
			}
			o.kill()
			o = open(t, c)
			kept := o.Status().Last + 1 - o.Status().Oldest
			if o.Status().Last != 5000 || kept < 100 || name == "count" && kept != 1000 {
				t.Errorf("kept %d events of %+v", kept, o.Status())
			}
			if n := len(segments(t, c.Dir)); name == "count" && n > 6 {
				t.Errorf("%d segments", n)
			}
			containers, _ := o.Containers()
			if len(containers) != 50 {
				t.Errorf("%d containers, want 50", len(containers))
			}
		})
	}
}

// The next sync notices removed or replaced files, and a new log is written.
func TestVanishedFiles(t *testing.T) {
	for _, gone := range []string{"*", "head", "*.seg"} {
		t.Run(gone, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { filesVanish(t, gone) })
		})
	}
}

func filesVanish(t *testing.T, gone string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	o := open(t, config(dir))
	o.fill(t, 5)
	want := o.texts(t)
	o.run()
	paths, err := filepath.Glob(filepath.Join(logDir(t, dir), gone))
	must(t, err)
	for _, path := range paths {
		must(t, os.Remove(path))
	}
	if gone == "*" {
		must(t, os.RemoveAll(dir))
	}
	o.fill(t, 1)
	eventually(t, "the log is lost", func() bool { return !o.Status().Durable })
	eventually(t, "the log is back", func() bool { return o.Status().Durable })
	if !strings.Contains(o.logged.String(), "removed or replaced") {
		t.Errorf("logged: %s", o.logged)
	}
	epoch := o.Status().Epoch
	o.kill()
	o = open(t, config(dir))
	if got := o.texts(t); !slices.Equal(got[:5], want) || len(got) != 6 || o.Status().Epoch != epoch {
		t.Errorf("restored %d events, epoch %s, want %s", len(got), o.Status().Epoch, epoch)
	}
}

// The next commit notices a truncated segment, and a new log is written.
func TestTruncatedSegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config(t.TempDir())
		o := open(t, c)
		o.run()
		o.fill(t, 5)
		must(t, os.Truncate(segments(t, c.Dir)[0], 100))
		o.fill(t, 1)
		if o.Status().Durable {
			t.Error("nobody noticed")
		}
		eventually(t, "the log is back", func() bool { return o.Status().Durable })
		want, epoch := o.texts(t), o.Status().Epoch
		o.kill()
		o = open(t, c)
		if got := o.texts(t); !slices.Equal(got, want) || len(got) != 6 || o.Status().Epoch != epoch {
			t.Errorf("restored %d events, epoch %s, want %s", len(got), o.Status().Epoch, epoch)
		}
	})
}

// eventually polls until holds returns true, in a bubble. There no time passes while Run works, so holds
// never sees an intermediate state.
func eventually(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	poll(tb, what, holds, func() {
		time.Sleep(5 * time.Millisecond)
		synctest.Wait()
	})
}

// poll polls until holds returns true, with a pause between calls.
func poll(tb testing.TB, what string, holds func() bool, pause func()) {
	tb.Helper()
	for end := time.Now().Add(2 * time.Minute); !holds(); pause() {
		if time.Now().After(end) {
			tb.Fatalf("timeout: %s", what)
		}
	}
}
