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

// Killed while a permission is lost: what was announced meanwhile is noted all the same.
func TestPermissionLostThenKilled(t *testing.T) {
	c := config(t.TempDir())
	c.MaxEvents = 1024
	o := open(t, c)
	asNobody(t, func() { o.fill(t, 300) })
	if o.Status().Durable {
		t.Fatal("it is durable")
	}
	if _, err := eventlog.Open(t.Context(), c); err == nil {
		t.Fatal("another process could have it")
	}
	status := o.Status()
	cursor := status.Cursor()
	o.kill()
	o = open(t, c)
	o.fill(t, 100)
	if _, err := o.Subscribe(hub.Filter{}, cursor); err == nil {
		t.Errorf("a cursor is valid whose events are gone: %s, status is %+v", cursor, o.Status())
	}
}

// The newest events are on the disk, however large they are and small the log.
func TestLargerThanTheLog(t *testing.T) {
	c := config(t.TempDir())
	c.MaxBytes = eventlog.MinMaxBytes
	o := open(t, c)
	o.fill(t, 100)
	for range 3 {
		e, err := hub.NewEvent("large", hub.Options{{Name: "x", Value: hub.Bytes(make([]byte, 70<<10))}}, "uid:0")
		must(t, err)
		_, err = o.Commit(hub.Batch{Events: []*hub.Event{e}})
		must(t, err)
		must(t, o.log.Sync())
		status := o.Status()
		o.kill()
		o = open(t, c)
		if got := o.Status(); got.Last != status.Last || got.Oldest > got.Last || got.Epoch != status.Epoch {
			t.Fatalf("status is %+v, was %+v", got, status)
		}
	}
}

// An append whose head cannot be written is not there, also not in part.
func TestHeadFails(t *testing.T) { synctest.Test(t, headFails) }

func headFails(t *testing.T) {
	t.Helper()
	c := config(t.TempDir())
	o := open(t, c)
	o.fill(t, 5)
	noted := o.Status()
	mend := o.log.BreakHead()
	o.fill(t, 5)
	unnoted := o.Status()
	if unnoted.Durable || unnoted.Epoch == noted.Epoch {
		t.Fatalf("status is %+v", unnoted)
	}
	copied := t.TempDir()
	copyDir(t, c.Dir, copied)
	mend()
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
	killed.fill(t, 20)
	if got := killed.Status(); got.Epoch == noted.Epoch || got.Epoch == unnoted.Epoch || got.Last != 25 {
		t.Errorf("killed with events that were noted nowhere: status is %+v", got)
	}
}

// A file that fails does not cost what is on the disk already, nor anything else.
func TestSegmentFails(t *testing.T) { synctest.Test(t, segmentFails) }

func segmentFails(t *testing.T) {
	t.Helper()
	c := config(t.TempDir())
	c.MaxEvents = 1024
	o := open(t, c)
	o.fill(t, 600)
	o.log.BreakSegment()
	o.fill(t, 10)
	if o.Status().Durable {
		t.Fatal("it is durable")
	}
	o.run()
	eventually(t, "the log is written again", func() bool { return o.Status().Durable })
	o.fill(t, 10)
	want, status := o.texts(t), o.Status()
	o.kill()
	o = open(t, c)
	if got := o.texts(t); !slices.Equal(got, want) || o.Status() != status {
		t.Errorf("restored %d events, want %d; status is %+v, was %+v; said %s", len(got), len(want), o.Status(), status, o.said)
	}
}

// To write all anew costs nothing of what is stored until it is written.
func TestNothingIsGivenUpTooEarly(t *testing.T) {
	dir := t.TempDir()
	o := open(t, config(dir))
	o.fill(t, 300)
	want, status := o.texts(t), o.Status()
	must(t, o.log.Begin(status.Epoch, false))
	must(t, o.log.Append(hub.Record{First: 200, Count: 1, Data: []byte("x")}))
	o.kill()
	o = open(t, config(dir))
	if got := o.texts(t); !slices.Equal(got, want) || o.Status() != status {
		t.Errorf("restored %d events, status is %+v", len(got), o.Status())
	}
}

// A head that is older than the segments, as a loss of power may leave it, is no word for
// what they are.
func TestStaleHead(t *testing.T) {
	dir := t.TempDir()
	head := filepath.Join(dir, "head")
	o := open(t, config(dir))
	o.fill(t, 5)
	o.Close()
	clean, err := os.ReadFile(head)
	must(t, err)
	epoch := strings.Repeat("a", 32)
	o = open(t, config(dir))
	before := o.Status().Epoch
	must(t, o.log.Announce(epoch, 5)) // as a hub that could note nothing for a while
	o.kill()
	o = open(t, config(dir))
	o.fill(t, 5)
	o.Close()
	must(t, os.WriteFile(head, clean, 0o600))
	other := config(dir)
	other.Boot = "another"
	o = open(t, other)
	if got := o.Status(); got.Epoch == before || got.Last != 10 {
		t.Errorf("status is %+v, the epoch was %s", got, before)
	}
}

// Of two segments that are damaged the end of the first is not taken for what follows the
// second.
func TestNothingIsInvented(t *testing.T) {
	c := config(t.TempDir())
	c.MaxEvents = 1024
	o := open(t, c)
	o.fill(t, 512) // two segments, and the begin of a third
	o.kill()
	paths := segments(t, c.Dir)
	if len(paths) != 3 {
		t.Fatalf("there are %q", paths)
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

// The views after a snapshot at the end of the log are lost with it: another epoch.
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

// Syncs beside commits that go from segment to segment on a small disk find no file closed.
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
			if err := o.log.Sync(); err != nil {
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

// Segments that were dropped and could not be removed yet are no part of the log.
func TestOrphansDoNotCount(t *testing.T) {
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
	must(t, o.log.Sync())
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
		t.Errorf("restored %d events, want %d; status is %+v, was %+v; said %s", len(got), len(want), o.Status(), status, o.said)
	}
	must(t, o.log.Sync())
	for path := range kept {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s is there", path)
		}
	}
}

// Names that only look like ours are left alone.
func TestNamesOfOthers(t *testing.T) {
	dir := t.TempDir()
	names := []string{"precious.tmp", "00000000000000AB.seg", "00000000000000AB.tmp", "0000000000000000.seg", "ffffffffffffffff.seg", "0000000000000001.seg.bak"}
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

// A directory that is a link is as good as another.
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

// To write all anew on a disk that is nearly full costs no history that has room.
func TestAnewOnFullDisk(t *testing.T) { synctest.Test(t, anewOnFullDisk) }

func anewOnFullDisk(t *testing.T) {
	t.Helper()
	c := config(disk(t))
	o := open(t, c)
	o.run()
	o.fill(t, 5000)
	must(t, os.Remove(filepath.Join(c.Dir, "head")))
	o.fill(t, 1) // while there is room: else that fails, and not the sync
	ballast := fillDisk(t, c.Dir)
	eventually(t, "the log is lost", func() bool { return strings.Contains(o.said.String(), "removed or replaced") })
	must(t, os.Remove(ballast))
	eventually(t, "the log is back", func() bool { return o.Status().Durable })
	o.kill()
	o = open(t, c)
	if got := o.Status(); got.Last != 5001 || got.Last-got.Oldest < 500 {
		t.Errorf("status is %+v", got)
	}
}
