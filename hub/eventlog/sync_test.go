package eventlog_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/hub/eventlog"
)

// syncs records the syncs of a log, and makes some fail.
type syncs struct {
	mu    sync.Mutex
	paths []string
	fails string // end of the paths that fail; "" for none
}

func (s *syncs) before(_ *os.File, path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails != "" && strings.HasSuffix(strings.TrimSuffix(path, ".tmp"), s.fails) {
		return syscall.EIO
	}
	s.paths = append(s.paths, path)
	return nil
}

func (s *syncs) fail(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = name
}

// want checks the syncs since its last call.
func (s *syncs) want(t *testing.T, when, dir string, want ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var got []string
	for _, path := range s.paths {
		name, err := filepath.Rel(dir, path)
		must(t, err)
		if digits, ok := strings.CutPrefix(filepath.Base(name), "000000000000000"); ok {
			name, _, _ = strings.Cut(digits, ".")
		}
		got = append(got, name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: synced %q, want %q", when, got, want)
	}
	s.paths = nil
}

// A new log is synced completely before it becomes current. Later, Sync syncs exactly the changed
// segments, and the directory if there are new files. The head is synced at the start, and last at a
// clean end.
func TestSync(t *testing.T) {
	c := config(t.TempDir())
	c.MaxEvents = 1024
	s := &syncs{}
	o := openSyncing(t, c, s.before)
	s.want(t, "start", c.Dir, "1", "log-1.tmp", "log-1.tmp/head", ".")
	o.sync(t)
	s.want(t, "nothing new", c.Dir)
	o.fill(t, 5)
	o.sync(t)
	s.want(t, "events", c.Dir, "1")
	o.fill(t, 512)
	o.sync(t)
	s.want(t, "two segments more", c.Dir, "1", "2", "3", "log-1")
	o.addLink(t, 7)
	o.sync(t)
	s.want(t, "a change of the view", c.Dir, "3")
	o.fill(t, 300)
	o.kill()

	o = openSyncing(t, c, s.before)
	s.want(t, "start", c.Dir, "log-1/head")
	o.sync(t)
	s.want(t, "segments of a killed process", c.Dir, "1", "2", "3", "4", "log-1")
	o.fill(t, 256)
	o.Close()
	s.want(t, "clean end", c.Dir, "4", "5", "log-1", "log-1/head")
}

// After a failed sync a new log is written, even if the next sync would succeed. The old log is removed
// only then.
func TestSyncFails(t *testing.T) {
	for _, name := range []string{"0001", "0002", "0003", "log-1"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { syncFails(t, name) })
		})
	}
}

func syncFails(t *testing.T, name string) {
	t.Helper()
	c := config(t.TempDir())
	c.MaxEvents = 1024
	s := &syncs{}
	o := openSyncing(t, c, s.before)
	o.sync(t)
	o.fill(t, 600)
	epoch := o.Status().Epoch
	old := segments(t, c.Dir)[0]
	s.fail(name)
	o.run()
	eventually(t, "the failure is reported", func() bool { return o.Status().LogProblem == "sync the log: input/output error" })
	if got := o.Status(); got.Durable {
		t.Errorf("status is %+v", got)
	}
	if _, err := os.Stat(old); err != nil {
		t.Errorf("the old log is removed before there is a new one: %v", err)
	}
	s.fail("")
	eventually(t, "the log is written again", func() bool { return o.Status().Durable })
	if _, err := os.Stat(old); err == nil {
		t.Error("the old log is not removed")
	}
	o.fill(t, 5)
	want, status := o.texts(t), o.Status()
	o.kill()
	o = open(t, c)
	if got := o.texts(t); !slices.Equal(got, want) || o.Status() != status || status.Epoch != epoch || len(got) != 605 {
		t.Errorf("restored %d events, status is %+v, was %+v", len(got), o.Status(), status)
	}
}

// After a kill following a failed sync, the appended events are there, in another epoch.
func TestKilledAfterFailedSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config(t.TempDir())
		s := &syncs{}
		o := openSyncing(t, c, s.before)
		o.fill(t, 5)
		s.fail("1")
		o.run()
		eventually(t, "the failure is reported", func() bool { return o.Status().LogProblem != "" })
		o.fill(t, 1)
		lacking := o.Status()
		o.kill()
		if got := open(t, c).Status(); got.Epoch == lacking.Epoch || got.Last != 5 {
			t.Errorf("status is %+v, was %+v", got, lacking)
		}
	})
}

// If the head cannot be synced at the start, another epoch begins, because after a loss of power the head
// might still say that the log was closed.
func TestHeadCannotBeSynced(t *testing.T) {
	c := config(t.TempDir())
	o := open(t, c)
	o.fill(t, 5)
	epoch := o.Status().Epoch
	o.Close()
	s := &syncs{fails: "head"}
	o = openSyncing(t, c, s.before)
	if got := o.Status(); got.Durable || got.Epoch == epoch || got.Last != 5 {
		t.Errorf("status is %+v", got)
	}
}

// If Close cannot sync a segment, the log is not marked as clean.
func TestCloseCannotSync(t *testing.T) {
	c := config(t.TempDir())
	c.MaxEvents = 1024
	s := &syncs{}
	o := openSyncing(t, c, s.before)
	o.fill(t, 300)
	epoch := o.Status().Epoch
	s.fail("0001")
	o.Close()
	c.Boot = "another"
	if got := open(t, c).Status(); !got.Durable || got.Last != 300 || got.Epoch == epoch {
		t.Errorf("status is %+v", got)
	}
}

// A log in the layout of earlier versions is used in place, until a new one replaces it.
func TestEarlierLayout(t *testing.T) { synctest.Test(t, earlierLayout) }

func earlierLayout(t *testing.T) {
	t.Helper()
	c := config(t.TempDir())
	c.MaxEvents = 1024
	o := open(t, c)
	o.fill(t, 300)
	want, status := o.texts(t), o.Status()
	o.kill()
	earlier := filepath.Join(t.TempDir(), "state")
	must(t, os.Rename(logDir(t, c.Dir), earlier))
	must(t, os.Truncate(filepath.Join(earlier, "head"), 128))
	must(t, os.WriteFile(filepath.Join(earlier, "notes.txt"), nil, 0o600))
	c.Dir = earlier
	for range 2 {
		o = open(t, c)
		if got := o.texts(t); !slices.Equal(got, want) || o.Status() != status {
			t.Fatalf("restored %d events, status is %+v, was %+v; logged: %s", len(got), o.Status(), status, o.logged)
		}
		o.fill(t, 10)
		want, status = o.texts(t), o.Status()
		o.kill()
	}
	o = open(t, c)
	o.log.writer().BreakSegment()
	o.fill(t, 1)
	lacking := o.Status()
	copied := filepath.Join(t.TempDir(), "killed")
	copyDir(t, earlier, copied)
	o.run()
	eventually(t, "a new log is written", func() bool { return o.Status().Durable })
	want, status = o.texts(t), o.Status()
	o.kill()
	entries, err := os.ReadDir(earlier)
	must(t, err)
	if len(entries) != 2 || entries[0].Name() != "log-1" || entries[1].Name() != "notes.txt" {
		t.Errorf("found %v", entries)
	}
	if o = open(t, c); !slices.Equal(o.texts(t), want) || o.Status() != status {
		t.Errorf("status is %+v, was %+v", o.Status(), status)
	}
	c.Dir = copied
	if got := open(t, c).Status(); got.Epoch == lacking.Epoch || got.Last != 320 {
		t.Errorf("killed: status is %+v, was %+v", got, lacking)
	}
}

// A segment may be rotated and dropped while it is synced.
func TestSyncOfDroppedSegment(t *testing.T) {
	c := config(t.TempDir())
	c.MaxBytes, c.MaxEvents = eventlog.MinMaxBytes, 1
	l, stored := openBare(t, c)
	w := stored.Writer
	must(t, w.Append(oneEvent(1, 9000)))
	synced := 0
	l.OnSync(func(*os.File, string) error {
		if synced++; synced > 1 {
			return nil
		}
		for n := uint64(2); n < 20; n++ {
			must(t, w.Rotate([]hub.Record{{First: n, Data: []byte("snapshot")}}))
			must(t, w.Append(oneEvent(n, 9000)))
		}
		return nil
	})
	must(t, w.Sync())
	must(t, w.Close(true))
	if again := reload(t, l, c); again.Epoch != stored.Epoch || again.Next != 20 {
		t.Errorf("same epoch %v, next is %d", again.Epoch == stored.Epoch, again.Next)
	}
}
