package eventlog_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/osctl/eventd/hub"
)

// disk mounts a file system of 1 MiB.
func disk(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=1m,mode=0700"); err != nil {
		tb.Fatalf("mount a small disk: %v", err)
	}
	tb.Cleanup(func() { must(tb, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	return dir
}

// fillDisk fills a disk with a file.
func fillDisk(tb testing.TB, dir string) (path string) {
	tb.Helper()
	path = filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	must(tb, err)
	defer func() { must(tb, f.Close()) }()
	for _, size := range []int{64 << 10, 4 << 10, 1} {
		for block := make([]byte, size); ; {
			if _, err := f.Write(block); err != nil {
				break
			}
		}
	}
	return path
}

// The log works on a disk of 1 MiB, and takes half of it at most.
func TestSmallDisk(t *testing.T) {
	dir := disk(t)
	o := open(t, config(dir))
	o.run()
	o.fill(t, 30000)
	if got := o.Status(); !got.Durable || got.LogProblem != "" {
		t.Errorf("status is %+v", got)
	}
	want, epoch := o.texts(t), o.Status().Epoch
	o.kill()
	o = open(t, config(dir))
	got := o.texts(t)
	if len(got) < 1000 || !slices.Equal(got, want[len(want)-len(got):]) || o.Status().Epoch != epoch {
		t.Errorf("restored %d events", len(got))
	}
}

// A disk fills up under load and is freed again. Commits go on, a subscriber reads all events, and after
// a kill a cursor gives all events after it, or Gone.
func TestDiskFillsUp(t *testing.T) { synctest.Test(t, diskFillsUp) }

func diskFillsUp(t *testing.T) {
	t.Helper()
	dir := disk(t)
	c := config(dir)
	o := open(t, c)
	o.run()
	s, err := o.Subscribe(hub.Filter{}, hub.CursorOldest)
	must(t, err)
	follow := func() {
		_, at := s.Position()
		buf := make([]*hub.Event, 4096)
		n, err := s.Poll(buf)
		must(t, err)
		for i, e := range buf[:n] {
			if e.Seq != at+uint64(i)+1 {
				t.Fatalf("event %d follows %d", e.Seq, at)
			}
		}
	}
	var cursors []string
	problems := map[string]bool{}
	load := func(n int) {
		for range n / 100 {
			o.fill(t, 100)
			follow()
			problems[o.Status().LogProblem] = true
			time.Sleep(50 * time.Millisecond) // of the bubble's clock; Run works meanwhile
			synctest.Wait()
		}
		status := o.Status()
		cursors = append(cursors, status.Cursor())
	}
	load(2000)
	ballast := fillDisk(t, dir)
	load(12000)
	if full := slices.Sorted(maps.Keys(problems)); len(full) < 2 || !strings.Contains(full[1], "no space left") {
		t.Fatalf("problems were %q", full)
	}
	// The state that a kill leaves now, checked below.
	copied := t.TempDir()
	copyDir(t, dir, copied)
	must(t, os.Remove(ballast))
	eventually(t, "the log is written again", func() bool { return o.Status().Durable })
	load(1000)
	last, epoch := o.Status().Last, o.Status().Epoch
	o.kill()
	c.Dir = dir
	again := open(t, c)
	if status := again.Status(); status.Epoch != epoch || status.Last != last {
		t.Errorf("status is %+v", status)
	}
	wantAllOrGone(t, again, cursors)
	c.Dir = copied
	wantAllOrGone(t, open(t, c), cursors[:2])
}

// wantAllOrGone subscribes at each cursor. Each must be Gone, or give all events up to the last cursor.
func wantAllOrGone(t *testing.T, o *testHub, cursors []string) {
	t.Helper()
	_, last, err := hub.ParseCursor(cursors[len(cursors)-1])
	must(t, err)
	for _, cursor := range cursors {
		s, err := o.Subscribe(hub.Filter{}, cursor)
		if err != nil {
			if !errors.As(err, new(*hub.GoneError)) {
				t.Error(err)
			}
			continue
		}
		_, at := s.Position()
		if n, err := s.Poll(make([]*hub.Event, 1<<15)); err != nil || at+uint64(n) < last {
			t.Errorf("from %s %d events, %v, want up to %d", cursor, n, err, last)
		}
	}
}

// Commits go on while the log recovers.
func TestCommitsBesideRecovery(t *testing.T) {
	dir := disk(t)
	o := open(t, config(dir))
	o.run()
	ballast := fillDisk(t, dir)
	var load sync.WaitGroup
	stop := make(chan struct{})
	for i := range 2 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := o.Commit(hub.Batch{Events: []*hub.Event{event(t, i)}}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	pause := func() { time.Sleep(5 * time.Millisecond) } // of real time, because commits run concurrently
	poll(t, "the disk is full", func() bool { return !o.Status().Durable }, pause)
	must(t, os.Remove(ballast))
	poll(t, "the log is written again", func() bool { return o.Status().Durable }, pause)
	close(stop)
	load.Wait()
	poll(t, "the log has all events", func() bool { return o.Status().Durable }, pause)
	want := o.Status()
	o.kill()
	o = open(t, config(dir))
	if got := o.Status(); got.Last != want.Last || got.Epoch != want.Epoch {
		t.Errorf("status is %+v, was %+v", got, want)
	}
}

// If the disk is read-only at the start, the hub reads the log and goes on in memory, in a new epoch. A
// new log gets all events once the disk can be written.
func TestReadOnlyDisk(t *testing.T) { synctest.Test(t, readOnlyDisk) }

func readOnlyDisk(t *testing.T) {
	t.Helper()
	dir := disk(t)
	o := open(t, config(dir))
	o.fill(t, 5)
	want, epoch := o.texts(t), o.Status().Epoch
	o.kill()
	must(t, syscall.Mount("none", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, "size=1m"))
	o = open(t, config(dir))
	o.fill(t, 1)
	status := o.Status()
	if got := o.texts(t); status.Durable || !strings.Contains(status.LogProblem, "read-only") || status.Epoch == epoch || len(got) != 6 || !slices.Equal(got[:5], want) {
		t.Fatalf("status is %+v", status)
	}
	must(t, syscall.Mount("none", dir, "tmpfs", syscall.MS_REMOUNT, "size=1m"))
	o.run()
	eventually(t, "the log is written again", func() bool { return o.Status().Durable })
	want, status = o.texts(t), o.Status()
	o.kill()
	o = open(t, config(dir))
	if got := o.texts(t); !slices.Equal(got, want) || o.Status() != status {
		t.Errorf("restored %d events, status is %+v", len(got), o.Status())
	}
}

// A directory that becomes read-only matters only at the next segment.
func TestDirectoryIsReadOnly(t *testing.T) { synctest.Test(t, directoryIsReadOnly) }

func directoryIsReadOnly(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	c := config(dir)
	c.MaxEvents = 1024
	o := open(t, c)
	mend := readOnly(t, dir)
	o.fill(t, 255)
	if !o.Status().Durable {
		t.Fatalf("status is %+v", o.Status())
	}
	o.fill(t, 10)
	if got := o.Status(); got.Durable || !strings.Contains(got.LogProblem, "read-only file system") || got.Last != 265 {
		t.Fatalf("status is %+v", got)
	}
	o.run()
	mend()
	eventually(t, "the log is written again", func() bool { return o.Status().Durable })
	status := o.Status()
	o.kill()
	if got := open(t, c).Status(); got != status {
		t.Errorf("status is %+v, was %+v", got, status)
	}
}

// readOnly makes a directory read-only until mend. Open files can still be written.
func readOnly(tb testing.TB, dir string) (mend func()) {
	tb.Helper()
	must(tb, syscall.Mount(dir, dir, "", syscall.MS_BIND, ""))
	mend = sync.OnceFunc(func() { must(tb, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	tb.Cleanup(mend)
	must(tb, syscall.Mount("", dir, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	return mend
}

// asNobody calls do with the file permissions of the user nobody.
func asNobody(t *testing.T, do func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	must(t, syscall.Setfsuid(65534))
	defer func() { must(t, syscall.Setfsuid(0)) }()
	do()
}

// After a kill while a full disk lacks published events, earlier cursors are Gone.
func TestKilledOnFullDisk(t *testing.T) {
	dir := disk(t)
	o := open(t, config(dir))
	o.fill(t, 500)
	stored := o.Status()
	fillDisk(t, dir)
	for o.Status().Durable {
		o.fill(t, 1)
	}
	o.fill(t, 100)
	lacking := o.Status()
	o.kill()
	o = open(t, config(dir))
	for _, cursor := range []string{stored.Cursor(), lacking.Cursor()} {
		if _, err := o.Subscribe(hub.Filter{}, cursor); !errors.As(err, new(*hub.GoneError)) {
			t.Errorf("Subscribe: %v", err)
		}
	}
	o.fill(t, 1)
	if got := o.Status(); got.Epoch == lacking.Epoch || got.Last >= lacking.Last {
		t.Errorf("status is %+v, was %+v", got, lacking)
	}
}
