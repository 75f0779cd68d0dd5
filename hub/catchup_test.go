package hub

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
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

// A disk that takes all and can sync nothing is not written anew each second for ever; one
// that works again is written soon, and one that cannot be written is tried each second.
func TestSyncThatAlwaysFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		log := &memoryLog{room: 1 << 20, syncs: syscall.EIO}
		h := newHub(t, Config{Log: log, Logger: slog.New(slog.NewTextHandler(&said, nil))})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- h.Run(ctx) }()
		begins := func(d time.Duration) int {
			before := log.beginCount()
			<-time.After(d)
			synctest.Wait()
			return log.beginCount() - before
		}
		set := func(fails, syncs error) {
			log.mu.Lock()
			defer log.mu.Unlock()
			log.fails, log.syncs = fails, syncs
		}
		fill(t, h, 3)
		if n := begins(10 * time.Second); n < 3 {
			t.Errorf("%d attempts at first", n)
		}
		if n := begins(time.Hour); n < 50 || n > 70 {
			t.Errorf("%d attempts in an hour", n)
		}
		set(syscall.EROFS, syscall.EIO)
		begins(retryAfter << maxDoublings)
		if n := begins(time.Minute); n != 60 {
			t.Errorf("%d attempts to write in a minute", n)
		}
		set(nil, syscall.EIO)
		begins(time.Hour)
		set(nil, nil)
		begins(retryAfter << maxDoublings)
		if got := h.Status(); !got.Durable || got.Last != 3 {
			t.Errorf("status is %+v", got)
		}
		set(nil, syscall.EIO)
		fill(t, h, 1)
		if n := begins(10 * time.Second); n < 3 {
			t.Errorf("%d attempts after it worked again", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := strings.Count(said.String(), "level=ERROR"); n != 2 || strings.Count(said.String(), "\n") != 3 {
			t.Errorf("the hub said: %s", said.String())
		}
	})
}
