package hub

import (
	"errors"
	"syscall"
	"testing"
)

// Commits that come a little faster than a full ring can be written cost no second attempt,
// and little of the ring.
func TestFullRingIsWrittenInOneGo(t *testing.T) {
	log := &memoryLog{room: 1 << 30}
	const history = 8 * catchUpStep
	h := newHub(t, Config{Log: log, History: history})
	log.fails = syscall.EIO
	fill(t, h, history+1)
	log.fails = nil
	oldest, steps := h.Status().Oldest, 0
	log.onAppend = func(Record) {
		if steps++; steps <= 6 && h.mu.TryLock() { // else these are the last ones
			h.mu.Unlock()
			log.mu.Unlock() // as the hub notes while the log takes what it lacks
			fill(t, h, catchUpStep+catchUpStep/8)
			log.mu.Lock()
		}
	}
	begun := log.begins
	if err := h.tend(); err != nil {
		t.Fatal(err)
	}
	first, next := log.holds()
	if n := log.begins - begun; n != 2 || // to keep what is stored, which cannot be, and anew
		next != h.Status().Last+1 || first < oldest || first > oldest+history/4 {
		t.Errorf("in %d attempts the log holds %d to %d of %d to %d", n, first, next-1, oldest, h.Status().Last)
	}
}

// An epoch that begins while the log takes what it lacks is that of what it holds then, so
// that a restart goes on with it.
func TestEpochChangesWhileCatchingUp(t *testing.T) {
	log := &memoryLog{room: 1 << 30}
	h := newHub(t, Config{Log: log})
	fill(t, h, 1)
	log.fails = syscall.EIO
	fill(t, h, 2*catchUpStep)
	before := h.Status().Epoch
	log.fails = nil
	once := false
	log.onAppend = func(Record) {
		if once {
			return
		}
		once = true
		log.noteFails = syscall.EIO
		log.mu.Unlock()
		fill(t, h, 1)
		log.mu.Lock()
		log.noteFails = nil
	}
	if err := h.tend(); !errors.Is(err, errEpochChanged) {
		t.Errorf("tend: %v", err)
	}
	if err := h.tend(); err != nil {
		t.Fatal(err)
	}
	status := h.Status()
	if got := reopened(t, log).Status(); got != status || status.Epoch == before || !status.Durable {
		t.Errorf("after a restart status is %+v, was %+v; the epoch was %s", got, status, before)
	}
}
