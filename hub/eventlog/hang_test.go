package eventlog_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/hub/eventlog"
)

// oneEvent returns a record of one event with size bytes.
func oneEvent(number uint64, size int) hub.Record {
	return hub.Record{First: number, Count: 1, Data: make([]byte, size)}
}

// openBare opens and loads a log without a hub.
func openBare(t *testing.T, c eventlog.Config) (*eventlog.Log, hub.Stored) {
	t.Helper()
	l, err := eventlog.Open(t.Context(), c)
	must(t, err)
	stored := l.Load(t.Context(), func(hub.Record) error { return nil }, func() bool { return true })
	must(t, stored.Problem)
	return l, stored
}

// Full returns while a Sync hangs in writing the head, because the committer calls it where it cannot be
// replaced.
func TestFullBesideHungSync(t *testing.T) {
	l, stored := openBare(t, config(t.TempDir()))
	w := stored.Writer
	must(t, w.Append(oneEvent(1, 10)))
	must(t, w.Rotate([]hub.Record{{First: 2, Data: []byte("snapshot")}})) // so that Sync writes the head
	hangs, letGo := make(chan struct{}), make(chan struct{})
	l.OnWrite(func(int64) error {
		close(hangs)
		<-letGo
		return nil
	})
	synced := make(chan error, 1)
	go func() { synced <- w.Sync() }()
	<-hangs
	full := make(chan bool, 1)
	go func() { full <- w.Full() }()
	select {
	case <-full:
	case <-time.After(2 * time.Minute):
		t.Error("Full waits for Sync")
	}
	close(letGo)
	must(t, <-synced)
	l.OnWrite(func(int64) error { return nil })
	must(t, w.Close(true))
	must(t, l.Close())
}

// If a log is abandoned while a write hangs, its files are closed when the write returns.
func TestFilesOfHungWriteAreClosed(t *testing.T) {
	c := config(t.TempDir())
	l, stored := openBare(t, c)
	w := stored.Writer
	hangs, letGo := make(chan struct{}), make(chan struct{})
	var hung atomic.Bool
	l.OnWrite(func(int64) error {
		if hung.CompareAndSwap(false, true) { // only the first write; the mark is written meanwhile
			close(hangs)
			<-letGo
		}
		return nil
	})
	appended := make(chan error, 1)
	go func() { appended <- w.Append(oneEvent(1, 10)) }()
	<-hangs
	must(t, w.Abandon())
	close(letGo)
	<-appended
	files, err := filepath.Glob("/proc/self/fd/*")
	must(t, err)
	for _, file := range files {
		if to, err := os.Readlink(file); err == nil && strings.HasPrefix(to, c.Dir+"/") {
			t.Errorf("%s is open", to)
		}
	}
	must(t, l.Close())
}

// reload closes a log and loads it again.
func reload(t *testing.T, l *eventlog.Log, c eventlog.Config) hub.Stored {
	t.Helper()
	must(t, l.Close())
	l, stored := openBare(t, c)
	must(t, stored.Writer.Close(true))
	must(t, l.Close())
	return stored
}

// If Finish returns late, it does not remove a newer log.
func TestFinishKeepsNewerLog(t *testing.T) {
	c := config(t.TempDir())
	l, stored := openBare(t, c)
	must(t, stored.Writer.Abandon())
	older, err := l.Create(stored.Epoch)
	must(t, err)
	must(t, older.Append(oneEvent(1, 10)))
	var newer hub.Writer
	l.OnSync(func(_ *os.File, path string) error {
		if path != c.Dir || newer != nil {
			return nil
		}
		newer, err = l.Create(stored.Epoch)
		must(t, err)
		must(t, newer.Append(oneEvent(1, 10)))
		must(t, newer.Append(oneEvent(2, 10)))
		must(t, newer.Finish())
		return nil
	})
	must(t, older.Finish())
	_ = older.Close(false)
	must(t, newer.Close(true))
	if again := reload(t, l, c); again.Epoch != stored.Epoch || again.Next != 3 {
		t.Errorf("same epoch %v, next is %d", again.Epoch == stored.Epoch, again.Next)
	}
}

// An unfinished log that a newer one removed cannot replace that one, so the next start reads the mark
// of the newer one.
func TestFinishOfRemovedLogFails(t *testing.T) {
	c := config(t.TempDir())
	l, stored := openBare(t, c)
	must(t, stored.Writer.Abandon())
	older, err := l.Create(stored.Epoch)
	must(t, err)
	must(t, older.Append(oneEvent(1, 10)))
	newer, err := l.Create(stored.Epoch)
	must(t, err)
	must(t, newer.Append(oneEvent(1, 10)))
	must(t, newer.Append(oneEvent(2, 10)))
	if older.Finish() == nil {
		t.Error("Finish of a removed log succeeded")
	}
	_ = older.Close(false)
	must(t, newer.Finish())
	must(t, newer.Abandon())
	if again := reload(t, l, c); again.Epoch == stored.Epoch || again.Next != 3 {
		t.Errorf("same epoch %v, next is %d", again.Epoch == stored.Epoch, again.Next)
	}
}

// Close neither discards a new log that Run left unfinished, nor writes another one. A restart has all
// events.
func TestCloseBesideFinish(t *testing.T) {
	for name, at := range map[string]string{"before the rename": "head", "after": "."} {
		t.Run(name, func(t *testing.T) { closeBesideFinish(t, at) })
	}
}

func closeBesideFinish(t *testing.T, at string) {
	t.Helper()
	c := config(t.TempDir())
	l, err := eventlog.Open(t.Context(), c)
	must(t, err)
	h, err := hub.New(t.Context(), hub.Config{Log: l})
	must(t, err)
	if at == "." {
		at = filepath.Base(c.Dir)
	}
	finishes, letGo := make(chan struct{}), make(chan struct{})
	var failed, hung bool // only Run syncs before Close
	l.OnSync(func(_ *os.File, path string) error {
		switch {
		case !failed:
			failed = true
			return syscall.EIO
		case filepath.Base(path) == at && !hung:
			hung = true
			close(finishes)
			<-letGo
		}
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan struct{})
	go func() { defer close(ran); _ = h.Run(ctx) }()
	_, err = h.Commit(hub.Batch{Events: []*hub.Event{event(t, 1)}})
	must(t, err)
	<-finishes
	status := h.Status()
	cancel()
	<-ran
	h.Close()
	entries, err := filepath.Glob(filepath.Join(c.Dir, "log-*"))
	must(t, err)
	if len(entries) != 2 {
		t.Errorf("found %q, want the old log and one new one", entries)
	}
	close(letGo)
	o := open(t, c) // waits until the hung Close is done
	if got := o.Status(); got.Last != 1 || !got.Durable || got.Epoch != status.Epoch {
		t.Errorf("after a restart status is %+v, was %+v", got, status)
	}
}

// New logs that cannot be finished do not accumulate, whichever step fails.
func TestUnfinishedLogsAreRemoved(t *testing.T) {
	for _, fails := range []string{"0001", "head", "."} {
		t.Run(fails, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := config(t.TempDir())
				if fails == "." {
					fails = filepath.Base(c.Dir)
				}
				s := &syncs{}
				o := openSyncing(t, c, s.before)
				o.log.writer().BreakSegment()
				s.fail(fails)
				o.fill(t, 1)
				o.run()
				eventually(t, "several logs were tried", func() bool {
					o.log.mu.Lock()
					defer o.log.mu.Unlock()
					return len(o.log.writers) > 4
				})
				o.stop()
				logs, err := filepath.Glob(filepath.Join(c.Dir, "log-*"))
				must(t, err)
				if want := []string{filepath.Join(c.Dir, "log-1")}; !slices.Equal(logs, want) {
					t.Errorf("found %q, want %q", logs, want)
				}
			})
		})
	}
}

// MakeRoom says that it freed a log also if somebody put another file beside it.
func TestMakeRoomLeavesOtherFiles(t *testing.T) {
	c := config(t.TempDir())
	open(t, c).kill()
	notes := filepath.Join(logDir(t, c.Dir), "notes.txt")
	must(t, os.WriteFile(notes, nil, 0o600))
	l, err := eventlog.Open(t.Context(), c)
	must(t, err)
	defer l.Close()
	if first, again := l.MakeRoom(), l.MakeRoom(); !first || again {
		t.Errorf("it freed something: %t, and then %t", first, again)
	}
	if _, err := os.Stat(notes); err != nil {
		t.Error(err)
	}
}

// MakeRoom removes unfinished logs, too.
func TestMakeRoomRemovesUnfinishedLogs(t *testing.T) {
	c := config(t.TempDir())
	l, stored := openBare(t, c)
	must(t, stored.Writer.Abandon())
	for range 3 {
		w, err := l.Create(stored.Epoch)
		must(t, err)
		must(t, w.Abandon())
	}
	for l.MakeRoom() {
		continue
	}
	logs, err := filepath.Glob(filepath.Join(c.Dir, "log-*"))
	must(t, err)
	if len(logs) != 0 {
		t.Errorf("found %q", logs)
	}
	must(t, l.Close())
}

// An unfinished log is bounded, except for its snapshot.
func TestUnfinishedLogIsBounded(t *testing.T) {
	for name, count := range map[string]uint32{"events": 1, "interfaces only": 0} {
		t.Run(name, func(t *testing.T) {
			c := config(t.TempDir())
			c.MaxBytes = eventlog.MinMaxBytes
			l, stored := openBare(t, c)
			w, err := l.Create(stored.Epoch)
			must(t, err)
			must(t, w.Append(oneEvent(1, 10)))
			next := uint64(2)
			must(t, w.Rotate([]hub.Record{{First: next, Data: make([]byte, 4*eventlog.MinMaxBytes)}}))
			taken := int64(0)
			for err == nil && taken < 100*c.MaxBytes {
				if err = w.Append(hub.Record{First: next, Count: count, Data: make([]byte, 9000)}); err == nil {
					next, taken = next+uint64(count), taken+9000
				}
			}
			if err == nil || taken < c.MaxBytes || taken > 8*c.MaxBytes {
				t.Errorf("it took %d bytes with a limit of %d, then %v", taken, c.MaxBytes, err)
			}
			must(t, w.Close(false))
			must(t, stored.Writer.Close(true))
			must(t, l.Close())
		})
	}
}

// A new log drops no segment before it replaces the old one.
func TestUnfinishedLogDropsNothing(t *testing.T) {
	c := config(t.TempDir())
	c.MaxBytes, c.MaxEvents = eventlog.MinMaxBytes, 1
	l, stored := openBare(t, c)
	w, err := l.Create(stored.Epoch)
	must(t, err)
	for n := range uint64(10) {
		must(t, w.Append(oneEvent(n+1, 9000)))
	}
	must(t, w.Rotate([]hub.Record{{First: 11, Data: []byte("snapshot")}}))
	must(t, w.Finish())
	must(t, w.Close(true))
	must(t, l.Close())
	l, err = eventlog.Open(t.Context(), c)
	must(t, err)
	first := uint64(0)
	again := l.Load(t.Context(), func(r hub.Record) error {
		if first == 0 {
			first = r.First
		}
		return nil
	}, func() bool { return true })
	if first != 1 || again.Next != 11 || again.Epoch != stored.Epoch {
		t.Errorf("the log has %d to %d", first, again.Next-1)
	}
	must(t, again.Writer.Close(true))
	must(t, l.Close())
}

// Open does not wait for a disk that hangs. Load does, and changes nothing if its context is done by then.
func TestOpenHangs(t *testing.T) { synctest.Test(t, openHangs) }

func openHangs(t *testing.T) {
	t.Helper()
	c := config(t.TempDir())
	o := open(t, c)
	o.fill(t, 5)
	want, status := o.texts(t), o.Status()
	o.kill()
	l, letGo := openHung(t, c)
	ctx, giveUp := context.WithCancel(t.Context())
	giveUp()
	letGo()
	stored := l.Load(ctx, func(hub.Record) error { return nil }, func() bool { return true })
	if !errors.Is(stored.Problem, context.Canceled) || stored.Epoch == status.Epoch {
		t.Errorf("Load returned %+v", stored)
	}
	must(t, l.Close())
	o = open(t, c)
	if got := o.texts(t); !slices.Equal(got, want) || o.Status() != status {
		t.Errorf("restored %d events, status is %+v, was %+v", len(got), o.Status(), status)
	}
}

// openHung opens a log on a disk that hangs until letGo is called.
func openHung(t *testing.T, c eventlog.Config) (l *eventlog.Log, letGo func()) {
	t.Helper()
	hangs := make(chan struct{})
	l, err := eventlog.OpenSlowly(t.Context(), c, func() { <-hangs })
	must(t, err)
	return l, func() { close(hangs) }
}

// If another process uses the directory, Open says so although a later attempt to lock it does not return.
func TestInUseAndHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config(t.TempDir())
		open(t, c)
		hangs, attempts := make(chan struct{}), 0
		defer close(hangs)
		_, err := eventlog.OpenSlowly(t.Context(), c, func() {
			if attempts++; attempts > 1 {
				<-hangs
			}
		})
		if !errors.Is(err, eventlog.ErrInUse) {
			t.Errorf("Open: %v", err)
		}
	})
}

// If the disk hangs during Open and another process turns out to use the directory, Load reads and
// changes nothing.
func TestOpenHangsAndInUse(t *testing.T) { synctest.Test(t, openHangsAndInUse) }

func openHangsAndInUse(t *testing.T) {
	t.Helper()
	c := config(t.TempDir())
	o := open(t, c)
	o.fill(t, 5)
	pending := filepath.Join(logDir(t, c.Dir), "0000000000000002.tmp") // a file of the other process
	must(t, os.WriteFile(pending, nil, 0o600))
	l, letGo := openHung(t, c)
	letGo()
	stored := l.Load(t.Context(), func(hub.Record) error { return errors.New("read") }, func() bool { return true })
	if !errors.Is(stored.Problem, eventlog.ErrInUse) || stored.Writer != nil || stored.Next != 1 {
		t.Errorf("Load returned %+v", stored)
	}
	if _, err := os.Stat(pending); err != nil {
		t.Error(err)
	}
	must(t, l.Close())
}

// A hub that starts without its log marks that log as soon as it can. If the hub is killed before it wrote
// a new log, earlier cursors are invalid.
func TestStartWithoutLogIsMarked(t *testing.T) {
	hangs := make(chan struct{})
	for name, start := range map[string]struct {
		sync func(*os.File, string) error
		load func(load func())
	}{
		"the disk hangs": {nil, func(load func()) { <-hangs; load() }},
		"the head cannot be synced": {
			func(_ *os.File, path string) error {
				if filepath.Base(path) == "head" {
					return syscall.EIO
				}
				return nil
			}, func(load func()) { load() },
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hangs = make(chan struct{})
				c := config(t.TempDir())
				o := open(t, c)
				o.fill(t, 5)
				status := o.Status()
				cursor := status.Cursor()
				o.kill()
				o = openLoading(t, c, start.sync, start.load)
				o.fill(t, 1)
				close(hangs)
				synctest.Wait()
				o.kill()
				o = open(t, c)
				if _, err := o.Subscribe(hub.Filter{}, cursor); err == nil {
					t.Errorf("a cursor before a lost event is valid: status is %+v", o.Status())
				}
			})
		})
	}
}

// A log is bounded until Finish has returned, even if its last step hangs.
func TestLogIsBoundedBesideFinish(t *testing.T) {
	c := config(t.TempDir())
	c.MaxBytes = eventlog.MinMaxBytes
	l, stored := openBare(t, c)
	must(t, stored.Writer.Abandon())
	w, err := l.Create(stored.Epoch)
	must(t, err)
	taken := int64(0)
	l.OnSync(func(_ *os.File, path string) error {
		if path != c.Dir {
			return nil
		}
		for n := uint64(1); taken < 100*c.MaxBytes; n++ {
			if err := w.Append(oneEvent(n, 9000)); err != nil {
				return nil //nolint:nilerr // it is bounded
			}
			taken += 9000
		}
		return nil
	})
	must(t, w.Finish())
	if taken > 8*c.MaxBytes {
		t.Errorf("it took %d bytes with a limit of %d", taken, c.MaxBytes)
	}
	must(t, w.Close(false))
	must(t, l.Close())
}
