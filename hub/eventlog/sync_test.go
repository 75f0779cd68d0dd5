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
)

// syncs is what a log synced, and what fails.
type syncs struct {
	mu    sync.Mutex
	names []string
	fails string // this, or what ends in it; "": nothing
}

func (s *syncs) before(_ *os.File, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails != "" && strings.HasSuffix(name, s.fails) {
		return syscall.EIO
	}
	s.names = append(s.names, name)
	return nil
}

func (s *syncs) fail(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = name
}

// want compares what was synced since it was called last.
func (s *syncs) want(t *testing.T, when string, want ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	got := s.names
	for i, name := range got {
		if len(name) == 16 {
			got[i] = strings.TrimLeft(name, "0")
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: synced %q, want %q", when, got, want)
	}
	s.names = nil
}

// Each segment that has what is not on the disk is synced, and none else; the directory when
// files came; the head before anything is announced, and last of all at a clean end.
func TestWhatIsSynced(t *testing.T) {
	c := config(t.TempDir())
	c.MaxEvents = 1024
	s := &syncs{}
	o := openSyncing(t, c, s.before)
	s.want(t, "start", "head")
	must(t, o.log.Sync())
	s.want(t, "the first segment", "1", ".")
	must(t, o.log.Sync())
	s.want(t, "nothing new")
	o.fill(t, 5)
	must(t, o.log.Sync())
	s.want(t, "events", "1")
	o.fill(t, 512)
	must(t, o.log.Sync())
	s.want(t, "two segments more", "1", "2", "3", ".")
	o.addLink(t, 7)
	must(t, o.log.Sync())
	s.want(t, "a change of the view", "3")
	o.fill(t, 300)
	o.kill()

	o = openSyncing(t, c, s.before)
	s.want(t, "start", "head")
	must(t, o.log.Sync())
	s.want(t, "what a killed process left", "3", "4", ".")
	o.fill(t, 256)
	o.Close()
	s.want(t, "clean end", "4", "5", ".", "head")
	openSyncing(t, c, s.before).Close()
	s.want(t, "start and clean end", "head", "5", ".", "head")
}

// What cannot be synced is not durable, whatever the kernel says at the next try: it is
// written anew, in other files, and the former ones are removed only then.
func TestSyncFails(t *testing.T) {
	for _, name := range []string{"1", "2", "3", "."} {
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
	must(t, o.log.Sync())
	o.fill(t, 600)
	epoch := o.Status().Epoch
	before := segments(t, c.Dir)
	s.fail(name)
	o.run()
	problem := "sync the log: input/output error"
	eventually(t, "it is told", func() bool { return o.Status().LogProblem == problem })
	if got := o.Status(); got.Durable || !strings.Contains(o.said.String(), problem) {
		t.Errorf("status is %+v; said %s", got, o.said)
	}
	if name == "." {
		eventually(t, "it was tried again", func() bool { return len(segments(t, c.Dir)) > 0 && !slices.Contains(segments(t, c.Dir), before[2]) })
		if got := segments(t, c.Dir); !slices.Contains(got, before[0]) {
			t.Errorf("there are %q: the one that was synced is removed, and nothing else was", got)
		}
		s.fail("")
	}
	eventually(t, "it is durable again, with the same file failing", func() bool { return o.Status().Durable })
	eventually(t, "the former segments are removed", func() bool { return len(segments(t, c.Dir)) == 1 })
	o.fill(t, 5)
	want, status := o.texts(t), o.Status()
	o.kill()
	o = open(t, c)
	if got := o.texts(t); !slices.Equal(got, want) || o.Status() != status || status.Epoch != epoch || len(got) != 605 {
		t.Errorf("restored %d events, status is %+v, was %+v", len(got), o.Status(), status)
	}
}

// A sync that failed is not made good by one that works, but by all being written anew:
// also by the next process.
func TestFailedSyncIsNotForgotten(t *testing.T) {
	for name, end := range map[string]func(*opened){
		"killed":        func(o *opened) { _ = o.log.Sync(); o.kill() },
		"closed":        func(o *opened) { o.Close() },
		"failed before": func(o *opened) { _ = o.log.Sync(); o.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { failedSyncIsNotForgotten(t, name, end) })
		})
	}
}

func failedSyncIsNotForgotten(t *testing.T, name string, end func(*opened)) {
	t.Helper()
	c := config(t.TempDir())
	s := &syncs{}
	o := openSyncing(t, c, s.before)
	o.fill(t, 5)
	want, epoch := o.texts(t), o.Status().Epoch
	s.fail("1")
	end(o)
	s.fail("")
	if err := o.log.Sync(); name == "killed" && err == nil {
		t.Error("a second try to sync worked")
	}
	o = openSyncing(t, c, s.before)
	if got := o.Status(); got.Durable || !strings.Contains(got.LogProblem, "written anew") || got.Epoch != epoch {
		t.Errorf("status is %+v", got)
	}
	o.run()
	eventually(t, "it is written anew", func() bool {
		return o.Status().Durable && slices.Equal(segments(t, c.Dir), []string{filepath.Join(c.Dir, "0000000000000002.seg")})
	})
	o.stop()
	o.stop = func() {}
	o.Close()
	c.Boot = "another"
	o = open(t, c)
	if got := o.texts(t); !slices.Equal(got, want) || o.Status().Epoch != epoch || !o.Status().Durable {
		t.Errorf("restored %d events, status is %+v", len(got), o.Status())
	}
}

// A head that cannot be synced at the start might say after a loss of power that the end
// before was clean: nothing is announced in that epoch.
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
	_, err := os.Stat(c.Dir)
	must(t, err)
}

// What the head says was synced is no word for segments that came later and have the numbers
// of some that are gone.
func TestSyncedSegmentsAreGone(t *testing.T) {
	c := config(t.TempDir())
	c.MaxEvents = 1024
	o := open(t, c)
	o.fill(t, 1000) // four segments
	o.Close()
	for _, path := range segments(t, c.Dir) {
		must(t, os.Remove(path))
	}
	o = open(t, c)
	o.fill(t, 600)
	o.kill()

	s := &syncs{}
	o = openSyncing(t, c, s.before)
	s.want(t, "start", "head")
	must(t, o.log.Sync())
	s.want(t, "what a killed process left", "1", "2", "3", ".")
}

// Nothing is removed before the head says on the disk what takes its place.
func TestHeadIsSyncedBeforeRemoval(t *testing.T) { synctest.Test(t, headIsSyncedBeforeRemoval) }

func headIsSyncedBeforeRemoval(t *testing.T) {
	t.Helper()
	c := config(t.TempDir())
	c.MaxEvents = 512
	s := &syncs{}
	o := openSyncing(t, c, s.before)
	oldest := segments(t, c.Dir)[0]
	must(t, o.log.Sync())
	o.fill(t, 1000)
	s.want(t, "before", "head", "1", ".")
	s.fail("head")
	if err := o.log.Sync(); err == nil || !slices.Contains(segments(t, c.Dir), oldest) {
		t.Errorf("Sync: %v; there are %q", err, segments(t, c.Dir))
	}
	s.want(t, "with a head that fails", "2", "3", "4", ".")
	s.fail("")
	o.run()
	o.fill(t, 1)
	eventually(t, "all is written anew", func() bool { return o.Status().Durable && len(segments(t, c.Dir)) == 1 })
	s.want(t, "anew", "5", ".", "head")
}

// An end at which something cannot be synced removes nothing that was; after a restart of the
// machine, what can be read is on the disk.
func TestCloseCannotSync(t *testing.T) {
	c := config(t.TempDir())
	c.MaxEvents = 512
	s := &syncs{}
	o := openSyncing(t, c, s.before)
	oldest := segments(t, c.Dir)[0]
	must(t, o.log.Sync())
	o.fill(t, 1000)
	s.fail("4")
	o.Close()
	if !slices.Contains(segments(t, c.Dir), oldest) {
		t.Errorf("there are %q", segments(t, c.Dir))
	}
	c.Boot = "another"
	if got := open(t, c).Status(); !got.Durable || got.Last != 1000 {
		t.Errorf("status is %+v", got)
	}
}
