package hub

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// If the ring drops events while the log cannot be written, the new log has no hole.
func TestRingDropsEventsDuringFailure(t *testing.T) {
	log := &memoryLog{room: 1 << 30}
	h := newHub(t, Config{Log: log, History: 16})
	fill(t, h, 10)
	log.writeErr = syscall.EIO
	fill(t, h, 30)
	log.writeErr = nil
	mustMaintain(t, h)
	first, next := log.holds()
	if first < 25 || first > 27 || next != 41 {
		t.Errorf("the log holds %d to %d", first, next-1)
	}
}

// wantConsecutive checks that the records of a log follow each other.
func wantConsecutive(t *testing.T, log *memoryLog) {
	t.Helper()
	last := uint64(0)
	for _, r := range log.current.records() {
		if last != 0 && r.First != last+1 {
			t.Errorf("event %d follows %d", r.First, last)
		}
		last = r.First + uint64(r.Count) - 1
	}
}

// If commits lap the ring while a new log is written, the attempt fails and is repeated.
func TestLappedWhileWriting(t *testing.T) {
	log := &memoryLog{room: 1 << 30}
	h := newHub(t, Config{Log: log, History: 2 * rewriteStep})
	log.writeErr = syscall.EIO
	fill(t, h, 3*rewriteStep)
	log.writeErr = nil
	var once sync.Once
	log.beforeWrite = func(Record) { once.Do(func() { fill(t, h, 2*rewriteStep) }) }
	mustMaintain(t, h)
	if got, want := reopen(t, log).Status().Last, h.Status().Last; got != want {
		t.Errorf("the log holds up to %d, want %d", got, want)
	}
	wantConsecutive(t, log)
}

// Commits that are a little faster than the writing of a full ring cost few events and no second
// attempt.
func TestFullRingNeedsOneAttempt(t *testing.T) {
	log := &memoryLog{room: 1 << 30}
	const history = 8 * rewriteStep
	h := newHub(t, Config{Log: log, History: history})
	log.writeErr = syscall.EIO
	fill(t, h, history+1)
	log.writeErr = nil
	oldest, steps := h.Status().Oldest, 0
	log.beforeWrite = func(Record) {
		if steps++; steps <= 6 {
			fill(t, h, rewriteStep+rewriteStep/8)
		}
	}
	created := log.creates
	mustMaintain(t, h)
	first, next := log.holds()
	if n := log.creates - created; n != 1 || next != h.Status().Last+1 || first < oldest || first > oldest+history/4 {
		t.Errorf("in %d attempts the log holds %d to %d of %d to %d", n, first, next-1, oldest, h.Status().Last)
	}
	wantConsecutive(t, log)
}

// Close does not discard a new log that Run left unfinished: it waits if the log is slow, and gives up
// if it hangs.
func TestCloseBesideRewrite(t *testing.T) {
	for name, takes := range map[string]time.Duration{"slow": 2500 * time.Millisecond, "hung": time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var said bytes.Buffer
				log := &memoryLog{room: 1 << 30, writeErr: syscall.EIO}
				h := newHub(t, Config{Log: log, Logger: slog.New(slog.NewTextHandler(&said, nil))})
				stop := runHub(t, h)
				fill(t, h, 2)
				finish := sync.OnceFunc(func() { time.Sleep(takes) })
				log.set(func() { log.writeErr, log.beforeSync = nil, finish })
				time.Sleep(retryAfter + time.Millisecond) // now the new log is being finished
				done := submit(t, h, 2)
				stop()
				start := time.Now()
				h.Close()
				took := time.Since(start) // of the bubble
				if lost := strings.Contains(said.String(), "lost"); took > 4*time.Second || lost != (name == "hung") || len(done()) != 2 {
					t.Errorf("it took %v, logged: %s", took, said.String())
				}
				time.Sleep(takes)
				synctest.Wait()
				if first, next := log.holds(); first != 1 || next != 5 || log.creates != 1 || !log.current.clean {
					t.Errorf("the log holds %d to %d after %d attempts", first, next-1, log.creates)
				}
			})
		})
	}
}

// If the committer hangs in a new log, the hub gives that log up and closes it when the write returns.
func TestNewLogHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{room: 1 << 30, writeErr: syscall.EIO}
		h := newHub(t, Config{Log: log})
		fill(t, h, 2)
		hangs := make(chan struct{})
		log.writeErr, log.beforeWrite = nil, func(r Record) {
			if r.Count == 0 { // the snapshot
				<-hangs
			}
		}
		if err := h.maintain(); !errors.Is(err, errDiskHangs) || h.Status().Durable {
			t.Errorf("maintain: %v, status is %+v", err, h.Status())
		}
		fill(t, h, 1)
		close(hangs)
		synctest.Wait()
		if !log.created.closed {
			t.Error("the hung log is not closed")
		}
		mustMaintain(t, h)
		if got := reopen(t, log).Status(); got != h.Status() {
			t.Errorf("after a restart status is %+v, was %+v", got, h.Status())
		}
	})
}

// Events committed while a new log is finished are in it.
func TestCommitsBesideFinish(t *testing.T) {
	log := &memoryLog{room: 1 << 30}
	h := newHub(t, Config{Log: log})
	log.writeErr = syscall.EIO
	fill(t, h, 2)
	log.writeErr = nil
	log.beforeWrite = func(r Record) {
		if r.Count == 0 { // the snapshot, the last record before the log is attached
			log.beforeWrite = nil
			if err := h.Submit(Batch{Events: []*Event{newEvent(t, "x")}}, func(uint64, error) {}); err != nil {
				t.Error(err)
			}
		}
	}
	mustMaintain(t, h)
	if _, next := log.holds(); next != 4 {
		t.Errorf("the log holds up to %d", next-1)
	}
	if got := reopen(t, log).Status(); got != h.Status() {
		t.Errorf("status is %+v, was %+v", got, h.Status())
	}
}

// On a full disk the hub deletes the old log first, then leaves out the oldest events.
func TestFullDiskDropsOldest(t *testing.T) {
	size := int64(newEvent(t, "fill").size) / memoryToStored
	log := &memoryLog{room: 40 * size}
	h := newHub(t, Config{Log: log})
	fill(t, h, 100)
	log.writeErr = syscall.ENOSPC
	fill(t, h, 50)
	if err := h.maintain(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("maintain: %v", err)
	}
	log.writeErr = nil
	mustMaintain(t, h)
	first, next := log.holds()
	if next != 151 || first < 101 || first > 140 {
		t.Errorf("the log holds %d to %d", first, next-1)
	}
	if got := h.Status(); got.Oldest != 1 {
		t.Errorf("status is %+v", got)
	}
	if got := reopen(t, log).Status(); got.Oldest != first || got.Last != 150 || got.Epoch != h.Status().Epoch {
		t.Errorf("after a restart status is %+v", got)
	}
}

// If all events fit without the old log, the hub deletes that first.
func TestOldLogGoesFirst(t *testing.T) {
	log := &memoryLog{room: 1000}
	h := newHub(t, Config{Log: log})
	fill(t, h, 100)
	log.writeErr = syscall.ENOSPC
	fill(t, h, 1)
	log.writeErr, log.canMakeRoom = nil, true
	gone := false
	log.beforeWrite = func(Record) { gone, log.room = gone || log.current == nil, 1 }
	mustMaintain(t, h)
	if !gone || log.creates != 1 {
		t.Errorf("old log deleted %v, %d attempts", gone, log.creates)
	}
}

// After a change of the epoch the new log is written in the new epoch.
func TestNewLogHasNewEpoch(t *testing.T) {
	log := &memoryLog{room: 1 << 30}
	h := newHub(t, Config{Log: log})
	log.writeErr, log.markErr = syscall.EIO, syscall.EIO
	fill(t, h, 2*rewriteStep)
	log.writeErr, log.markErr = nil, nil
	mustMaintain(t, h)
	status := h.Status()
	if got := reopen(t, log).Status(); got != status {
		t.Errorf("after a restart status is %+v, was %+v", got, status)
	}
}

// The records of a new log are bounded, even with events that take much room in it.
func TestRecordsOfNewLogAreBounded(t *testing.T) {
	log := &memoryLog{room: 1 << 30, writeErr: syscall.EIO}
	h := newHub(t, Config{Log: log})
	elem := "aa(" + strings.Repeat("y", 250) + ")"
	items := make([]Value, 16000) // 64 KiB on the bus
	for i := range items {
		items[i] = Array(elem[1:], nil)
	}
	for range 20 {
		commit(t, h, newEvent(t, "x", Option{"o", Array(elem, items)}))
	}
	log.writeErr = nil
	mustMaintain(t, h)
	for _, r := range log.current.records() {
		if len(r.Data) > 32<<20 {
			t.Errorf("a record of %d events has %d bytes", r.Count, len(r.Data))
		}
	}
	if got := reopen(t, log).Status(); got != h.Status() {
		t.Errorf("after a restart status is %+v, was %+v", got, h.Status())
	}
}
