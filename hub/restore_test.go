package hub

import (
	"slices"
	"syscall"
	"testing"
)

// withLinks returns a hub whose log lacked so many links for a while that their snapshot
// takes two records, and caught up: the links are in that snapshot and nowhere else.
func withLinks(t *testing.T, log *memoryLog) *Hub {
	t.Helper()
	h := newHub(t, Config{Log: log})
	fill(t, h, 2)
	log.fails = syscall.EIO
	batch := Batch{Events: []*Event{newEvent(t, "x")}}
	for i := range snapshotPart + 1 {
		batch.Interfaces = append(batch.Interfaces, InterfaceChange{Interface: Interface{Ifindex: uint32(i + 1), State: LinkUp}})
	}
	if _, err := h.Commit(batch); err != nil {
		t.Fatal(err)
	}
	log.fails = nil
	if err := h.tend(); err != nil {
		t.Fatal(err)
	}
	return h
}

// The views before a snapshot at the end that is not whole may lack what only that has:
// another epoch.
func TestHalfASnapshotAtTheEnd(t *testing.T) {
	log := &memoryLog{room: 1 << 30}
	h := withLinks(t, log)
	if got := reopened(t, log).Status(); got != h.Status() {
		t.Fatalf("of the whole log status is %+v, want %+v", got, h.Status())
	}
	newest := &log.segments[len(log.segments)-1]
	if n := len(*newest); (*newest)[n-1].Count != 0 || (*newest)[n-2].Count != 0 {
		t.Fatalf("the snapshot is not in two parts: %d records", n)
	}
	*newest = (*newest)[:len(*newest)-1]
	again := reopened(t, log)
	if got := again.Status(); got.Epoch == h.Status().Epoch || got.Last != 3 || !got.Durable {
		t.Errorf("status is %+v, was %+v", got, h.Status())
	}
	status := again.Status()
	if got := reopened(t, log).Status(); got != status {
		t.Errorf("after one more restart status is %+v, want %+v", got, status)
	}
}

// Views to which commits are missing in between are not the current ones: another epoch,
// unless a snapshot comes after the hole.
func TestHoleBeforeTheEnd(t *testing.T) {
	log := &memoryLog{}
	h := newHub(t, Config{Log: log})
	fill(t, h, 9)
	epoch := h.Status().Epoch
	log.segments[0] = slices.Delete(log.segments[0], 4, 6)
	again := reopened(t, log)
	if got := again.Status(); got.Epoch == epoch || got.Oldest != 7 || got.Last != 9 {
		t.Errorf("status is %+v", got)
	}
	status := again.Status()
	if got := reopened(t, log).Status(); got != status {
		t.Errorf("after one more restart status is %+v, want %+v: a snapshot was written", got, status)
	}
}

// noBegin is a log that can be read, and begins no segment.
type noBegin struct{ *memoryLog }

func (noBegin) Begin(string, bool) error { return syscall.EIO }

// An epoch that began with the hub and could not be noted stays when notes fail again: no
// restart takes it for its own as it is.
func TestEpochOfTheStartStaysWhenNotesFail(t *testing.T) {
	log := &memoryLog{}
	h := newHub(t, Config{Log: log})
	fill(t, h, 9)
	log.segments[0] = log.segments[0][4:]
	for name, fails := range map[string]error{"the log fails": syscall.EIO, "only the snapshot fails": nil} {
		log.fails, log.noteFails = fails, syscall.EIO
		again := newHub(t, Config{Log: noBegin{log}})
		status := again.Status()
		fill(t, again, 1)
		if got := again.Status(); status.Epoch == h.Status().Epoch || got.Epoch != status.Epoch || got.Durable {
			t.Errorf("%s: status is %+v, was %+v", name, got, status)
		}
	}
}
