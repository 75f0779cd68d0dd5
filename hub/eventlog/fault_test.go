package eventlog_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/hub/eventlog"
)

// The mark can be written even when no file can be created.
func TestDirectoryIsReadOnlyThenKilled(t *testing.T) {
	c := config(t.TempDir())
	c.MaxEvents = 1024
	o := open(t, c)
	mend := readOnly(t, c.Dir)
	o.fill(t, 300)
	if o.Status().Durable {
		t.Fatal("durable without room for a segment")
	}
	if _, err := eventlog.Open(t.Context(), c); err == nil {
		t.Fatal("another process can open the log")
	}
	status := o.Status()
	cursor := status.Cursor()
	o.kill()
	mend()
	o = open(t, c)
	o.fill(t, 100)
	if _, err := o.Subscribe(hub.Filter{}, cursor); err == nil {
		t.Errorf("cursor %s of lost events is valid, status is %+v", cursor, o.Status())
	}
}

// The newest events are stored even if they exceed the limit of the log.
func TestEventsLargerThanTheLog(t *testing.T) {
	c := config(t.TempDir())
	c.MaxBytes = eventlog.MinMaxBytes
	o := open(t, c)
	o.fill(t, 100)
	for range 3 {
		e, err := hub.NewEvent("large", hub.Options{{Name: "x", Value: hub.Bytes(make([]byte, 70<<10))}}, "uid:0")
		must(t, err)
		_, err = o.Commit(hub.Batch{Events: []*hub.Event{e}})
		must(t, err)
		o.sync(t)
		status := o.Status()
		o.kill()
		o = open(t, c)
		if got := o.Status(); got.Last != status.Last || got.Oldest > got.Last || got.Epoch != status.Epoch {
			t.Fatalf("status is %+v, was %+v", got, status)
		}
	}
}

// If the head cannot be written, the epoch changes.
func TestHeadWriteFails(t *testing.T) { synctest.Test(t, headFails) }

func headFails(t *testing.T) {
	t.Helper()
	c := config(t.TempDir())
	o := open(t, c)
	o.fill(t, 5)
	stored := o.Status()
	o.log.writer().BreakHead()
	o.fill(t, 5)
	lacking := o.Status()
	if lacking.Durable || lacking.Epoch == stored.Epoch {
		t.Fatalf("status is %+v", lacking)
	}
	copied := t.TempDir()
	copyDir(t, c.Dir, copied)
	o.run()
	eventually(t, "the log is written again", func() bool { return o.Status().Durable })
	o.fill(t, 5)
	want, status := o.texts(t), o.Status()
	o.kill()
	o = open(t, c)
	if got := o.texts(t); !slices.Equal(got, want) || o.Status() != status {
		t.Errorf("restored %d events, want %d; status is %+v", len(got), len(want), o.Status())
	}
	c.Dir = copied
	killed := open(t, c)
	if got := killed.Status(); got.Epoch == lacking.Epoch || got.Last > 6 || !slices.Equal(killed.texts(t), want[:got.Last]) {
		t.Errorf("killed with events that the log lacks: status is %+v", got)
	}
}

// After a failed write to a segment, no event is lost.
func TestSegmentWriteFails(t *testing.T) { synctest.Test(t, segmentFails) }

func segmentFails(t *testing.T) {
	t.Helper()
	c := config(t.TempDir())
	c.MaxEvents = 1024
	o := open(t, c)
	o.fill(t, 600)
	o.log.writer().BreakSegment()
	o.fill(t, 10)
	if o.Status().Durable {
		t.Fatal("durable with a broken segment")
	}
	o.run()
	eventually(t, "the log is written again", func() bool { return o.Status().Durable })
	o.fill(t, 10)
	want, status := o.texts(t), o.Status()
	o.kill()
	o = open(t, c)
	if got := o.texts(t); !slices.Equal(got, want) || o.Status() != status {
		t.Errorf("restored %d events, want %d; status is %+v, was %+v; logged: %s", len(got), len(want), o.Status(), status, o.logged)
	}
}

// An unfinished log does not replace the old one.
func TestUnfinishedLogKeepsOldLog(t *testing.T) {
	dir := t.TempDir()
	o := open(t, config(dir))
	o.fill(t, 300)
	want, status := o.texts(t), o.Status()
	w, err := o.log.Create(status.Epoch)
	must(t, err)
	must(t, w.Append(hub.Record{First: 200, Count: 1, Data: []byte("x")}))
	o.kill()
	o = open(t, config(dir))
	if got := o.texts(t); !slices.Equal(got, want) || o.Status() != status {
		t.Errorf("restored %d events, status is %+v", len(got), o.Status())
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("found %v, %v", entries, err)
	}
}

// With two damaged segments, the log ends with the first damage.
func TestTwoDamagedSegments(t *testing.T) {
	c := config(t.TempDir())
	c.MaxEvents = 1024
	o := open(t, c)
	o.fill(t, 512) // two segments, and the beginning of a third
	o.kill()
	paths := segments(t, c.Dir)
	if len(paths) != 3 {
		t.Fatalf("found %q", paths)
	}
	must(t, os.WriteFile(paths[2], nil, 0o600))
	content, err := os.ReadFile(paths[1])
	must(t, err)
	middle := 64 + (len(content)-64)/2
	content[middle] ^= 1
	must(t, os.WriteFile(paths[1], content, 0o600))
	o = open(t, c)
	first := o.Status()
	if first.Last < 257 || first.Last > 511 {
		t.Fatalf("status is %+v", first)
	}
	o.fill(t, 1)
	want := o.texts(t)
	o.kill()
	o = open(t, c)
	if got := o.texts(t); !slices.Equal(got, want) || o.Status().Epoch != first.Epoch {
		t.Errorf("restored %d events, want %d", len(got), len(want))
	}
}

// A damaged snapshot at the end of the log loses the views, so another epoch begins.
func TestSnapshotAtTheEndIsDamaged(t *testing.T) {
	c := config(t.TempDir())
	c.MaxEvents = 1024
	o := open(t, c)
	row := hub.Interface{Ifindex: 3, Veth: "veth3", State: hub.LinkUp}
	_, err := o.Commit(hub.Batch{Interfaces: []hub.InterfaceChange{{Interface: row}}, Place: "here"})
	must(t, err)
	o.fill(t, 256)
	status := o.Status()
	o.kill()
	paths := segments(t, c.Dir)
	content, err := os.ReadFile(paths[len(paths)-1])
	must(t, err)
	content[len(content)-1] ^= 1
	must(t, os.WriteFile(paths[len(paths)-1], content, 0o600))
	o = open(t, c)
	if got := o.Status(); got.Epoch == status.Epoch || got.Last != 256 {
		t.Errorf("status is %+v, was %+v", got, status)
	}
}

// Syncs while commits rotate segments on a small disk find no closed file.
func TestSyncBesideRotation(t *testing.T) {
	o := open(t, config(disk(t)))
	var syncs sync.WaitGroup
	stop := make(chan struct{})
	syncs.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := o.log.writer().Sync(); err != nil {
				t.Error(err)
				return
			}
		}
	})
	o.fill(t, 5000)
	close(stop)
	syncs.Wait()
	if !o.Status().Durable {
		t.Errorf("status is %+v", o.Status())
	}
}

// Dropped segments that could not be removed are not part of the log. The next start deletes them.
func TestDroppedSegmentsAreIgnored(t *testing.T) {
	c := config(t.TempDir())
	c.MaxEvents = 512
	o := open(t, c)
	o.fill(t, 300)
	kept := map[string][]byte{}
	for _, path := range segments(t, c.Dir) {
		content, err := os.ReadFile(path)
		must(t, err)
		kept[path] = content
	}
	o.fill(t, 2000)
	o.sync(t)
	want, status := o.texts(t), o.Status()
	o.kill()
	for path, content := range kept {
		if _, err := os.Stat(path); err == nil {
			t.Fatalf("%s was not removed", path)
		}
		must(t, os.WriteFile(path, content, 0o600))
	}
	o = open(t, c)
	if got := o.texts(t); !slices.Equal(got, want) || o.Status() != status {
		t.Errorf("restored %d events, want %d; status is %+v, was %+v; logged: %s", len(got), len(want), o.Status(), status, o.logged)
	}
	o.sync(t)
	for path := range kept {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s is not removed", path)
		}
	}
	if asides, err := filepath.Glob(filepath.Join(c.Dir, "aside-*")); err != nil || len(asides) != 0 {
		t.Errorf("found %q, %v", asides, err)
	}
}

// Files with similar names are left alone.
func TestForeignFilesStay(t *testing.T) {
	dir := t.TempDir()
	names := []string{"notes.txt", "1.seg", "000000000000000g.seg", "precious.tmp", "00000000000000AB.seg", "00000000000000AB.tmp", "0000000000000000.seg", "ffffffffffffffff.seg", "0000000000000001.seg.bak", "log-0", "log-01", "log-x", "log-1.bak"}
	for _, name := range names {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600))
	}
	o := open(t, config(dir))
	o.fill(t, 1)
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, name := range names {
		if !strings.Contains(fmt.Sprint(entries), name) {
			t.Errorf("%s is gone", name)
		}
	}
	if !o.Status().Durable {
		t.Errorf("status is %+v", o.Status())
	}
}

// The directory may be a link.
func TestLinkedDirectory(t *testing.T) {
	c := config(t.TempDir())
	c.MaxEvents = 1024
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(c.Dir, link))
	c.Dir = link
	o := open(t, c)
	o.fill(t, 1000)
	if !o.Status().Durable {
		t.Errorf("status is %+v", o.Status())
	}
}

// A new log on a disk that was full keeps the events that fit.
func TestNewLogOnFullDisk(t *testing.T) { synctest.Test(t, newLogOnFullDisk) }

func newLogOnFullDisk(t *testing.T) {
	t.Helper()
	c := config(disk(t))
	o := open(t, c)
	o.run()
	o.fill(t, 5000)
	must(t, os.Remove(headPath(t, c.Dir)))
	o.fill(t, 1) // while there is room, so that the sync fails and not the write
	ballast := fillDisk(t, c.Dir)
	eventually(t, "the log is lost", func() bool { return strings.Contains(o.logged.String(), "removed or replaced") })
	must(t, os.Remove(ballast))
	eventually(t, "the log is back", func() bool { return o.Status().Durable })
	o.kill()
	o = open(t, c)
	if got := o.Status(); got.Last != 5001 || got.Last-got.Oldest < 500 {
		t.Errorf("status is %+v", got)
	}
}
