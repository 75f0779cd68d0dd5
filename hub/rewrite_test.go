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

// A ring that laps while the log cannot be written leaves no hole in the new one.
func TestLappedInTrouble(t *testing.T) {
	log := &memoryLog{room: 1 << 30}
	h := newHub(t, Config{Log: log, History: 16})
	fill(t, h, 10)
	log.fails = syscall.EIO
	fill(t, h, 30)
	log.fails = nil
	tendWell(t, h)
	first, next := log.holds()
	if first < 25 || first > 27 || next != 41 {
		t.Errorf("the log holds %d to %d", first, next-1)
	}
}

// wantFollowing wants the records of a log to follow each other.
func wantFollowing(t *testing.T, log *memoryLog) {
	t.Helper()
	last := uint64(0)
	for _, r := range log.counts.records() {
		if last != 0 && r.First != last+1 {
			t.Errorf("event %d follows %d", r.First, last)
		}
		last = r.First + uint64(r.Count) - 1
	}
}

// Commits that lap the ring while a new log is written make the attempt fail, not the log.
func TestLappedWhileWriting(t *testing.T) {
	log := &memoryLog{room: 1 << 30}
	h := newHub(t, Config{Log: log, History: 2 * rewriteStep})
	log.fails = syscall.EIO
	fill(t, h, 3*rewriteStep)
	log.fails = nil
	var once sync.Once
	log.before = func(Record) { once.Do(func() { fill(t, h, 2*rewriteStep) }) }
	tendWell(t, h)
	if got, want := reopened(t, log).Status().Last, h.Status().Last; got != want {
		t.Errorf("the log holds up to %d, want %d", got, want)
	}
	wantFollowing(t, log)
}

// Commits that come a little faster than a full ring can be written cost no second attempt,
// and little of the ring.
func TestFullRingIsWrittenInOneGo(t *testing.T) {
	log := &memoryLog{room: 1 << 30}
	const history = 8 * rewriteStep
	h := newHub(t, Config{Log: log, History: history})
	log.fails = syscall.EIO
	fill(t, h, history+1)
	log.fails = nil
	oldest, steps := h.Status().Oldest, 0
	log.before = func(Record) {
		if steps++; steps <= 6 {
			fill(t, h, rewriteStep+rewriteStep/8)
		}
	}
	created := log.creates
	tendWell(t, h)
	first, next := log.holds()
	if n := log.creates - created; n != 1 || next != h.Status().Last+1 || first < oldest || first > oldest+history/4 {
		t.Errorf("in %d attempts the log holds %d to %d of %d to %d", n, first, next-1, oldest, h.Status().Last)
	}
	wantFollowing(t, log)
}

// Close does not discard a new log that Run left unfinished: it waits for one that takes long, and
// leaves one alone that hangs.
func TestCloseBesideRewrite(t *testing.T) {
	for name, takes := range map[string]time.Duration{"slow": 2500 * time.Millisecond, "hung": time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var said bytes.Buffer
				log := &memoryLog{room: 1 << 30, fails: syscall.EIO}
				h := newHub(t, Config{Log: log, Logger: slog.New(slog.NewTextHandler(&said, nil))})
				stop := runHub(t, h)
				fill(t, h, 2)
				finish := sync.OnceFunc(func() { time.Sleep(takes) })
				log.set(func() { log.fails, log.beforeSync = nil, finish })
				time.Sleep(retryAfter + time.Millisecond) // now the new log is being finished
				done := submit(t, h, 2)
				stop()
				start := time.Now()
				h.Close()
				took := time.Since(start) // of the bubble
				if lost := strings.Contains(said.String(), "lost"); took > 4*time.Second || lost != (name == "hung") || len(done()) != 2 {
					t.Errorf("it took %v, the hub said: %s", took, said.String())
				}
				time.Sleep(takes)
				synctest.Wait()
				if first, next := log.holds(); first != 1 || next != 5 || log.creates != 1 || !log.counts.clean {
					t.Errorf("the log holds %d to %d after %d attempts", first, next-1, log.creates)
				}
			})
		})
	}
}

// A new log is given up if the committer hangs in it, and is closed once that returns.
func TestNewLogHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{room: 1 << 30, fails: syscall.EIO}
		h := newHub(t, Config{Log: log})
		fill(t, h, 2)
		hangs := make(chan struct{})
		log.fails, log.before = nil, func(r Record) {
			if r.Count == 0 { // the snapshot
				<-hangs
			}
		}
		if err := h.tend(); !errors.Is(err, errDiskHangs) || h.Status().Durable {
			t.Errorf("tend: %v, status is %+v", err, h.Status())
		}
		fill(t, h, 1)
		close(hangs)
		synctest.Wait()
		if !log.created.closed {
			t.Error("the log that was given up is not closed")
		}
		tendWell(t, h)
		if got := reopened(t, log).Status(); got != h.Status() {
			t.Errorf("after a restart status is %+v, was %+v", got, h.Status())
		}
	})
}

// What is committed while a new log is finished is in it; and if it fails then, it is let go.
func TestCommitsBesideFinish(t *testing.T) {
	log := &memoryLog{room: 1 << 30}
	h := newHub(t, Config{Log: log})
	log.fails = syscall.EIO
	fill(t, h, 2)
	log.fails = nil
	attached := 0
	log.before = func(r Record) {
		if attached += int(r.Count); r.Count == 0 { // the snapshot: it is attached next
			log.before = nil
			if err := h.Submit(Batch{Events: []*Event{newEvent(t, "x")}}, func(uint64, error) {}); err != nil {
				t.Error(err)
			}
		}
	}
	tendWell(t, h)
	if _, next := log.holds(); next != 4 {
		t.Errorf("the log holds up to %d", next-1)
	}
	if got := reopened(t, log).Status(); got != h.Status() {
		t.Errorf("status is %+v, was %+v", got, h.Status())
	}
}

// A full disk costs the old log before it costs events, and old events before new ones.
func TestNoRoom(t *testing.T) {
	size := int64(newEvent(t, "fill").size) / memoryToStored
	log := &memoryLog{room: 40 * size}
	h := newHub(t, Config{Log: log})
	fill(t, h, 100)
	log.fails = syscall.ENOSPC
	fill(t, h, 50)
	if err := h.tend(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("tend: %v", err)
	}
	log.fails = nil
	tendWell(t, h)
	first, next := log.holds()
	if next != 151 || first < 101 || first > 140 {
		t.Errorf("the log holds %d to %d", first, next-1)
	}
	if got := h.Status(); got.Oldest != 1 {
		t.Errorf("status is %+v", got)
	}
	if got := reopened(t, log).Status(); got.Oldest != first || got.Last != 150 || got.Epoch != h.Status().Epoch {
		t.Errorf("after a restart status is %+v", got)
	}
}

// Where there would be room for all without the old log, that goes first.
func TestOldLogGoesFirst(t *testing.T) {
	log := &memoryLog{room: 1000}
	h := newHub(t, Config{Log: log})
	fill(t, h, 100)
	log.fails = syscall.ENOSPC
	fill(t, h, 1)
	log.fails, log.crowded = nil, true
	gone := false
	log.before = func(Record) { gone, log.room = gone || log.counts == nil, 1 }
	tendWell(t, h)
	if !gone || log.creates != 1 {
		t.Errorf("the old log was there while the new one was written, in %d attempts", log.creates)
	}
}

// A log that failed in an epoch that ended is written in the one that counts.
func TestEpochChangesInTrouble(t *testing.T) {
	log := &memoryLog{room: 1 << 30}
	h := newHub(t, Config{Log: log})
	log.fails, log.marks = syscall.EIO, syscall.EIO
	fill(t, h, 2*rewriteStep)
	log.fails, log.marks = nil, nil
	tendWell(t, h)
	status := h.Status()
	if got := reopened(t, log).Status(); got != status {
		t.Errorf("after a restart status is %+v, was %+v", got, status)
	}
}

// The records of a new log are small, however much room the events take in it.
func TestRecordsOfNewLogAreBounded(t *testing.T) {
	log := &memoryLog{room: 1 << 30, fails: syscall.EIO}
	h := newHub(t, Config{Log: log})
	elem := "aa(" + strings.Repeat("y", 250) + ")"
	items := make([]Value, 16000) // 64 KiB on the bus
	for i := range items {
		items[i] = Array(elem[1:], nil)
	}
	for range 20 {
		commit(t, h, newEvent(t, "x", Option{"o", Array(elem, items)}))
	}
	log.fails = nil
	tendWell(t, h)
	for _, r := range log.counts.records() {
		if len(r.Data) > 32<<20 {
			t.Errorf("a record of %d events has %d bytes", r.Count, len(r.Data))
		}
	}
	if got := reopened(t, log).Status(); got != h.Status() {
		t.Errorf("after a restart status is %+v, was %+v", got, h.Status())
	}
}
