package hub

import (
	"context"
	"log/slog"
	"time"
)

const (
	// syncAfter is how long after a commit the log begins to be brought to the disk, or
	// once the last time is done. A loss of power costs what came since then.
	syncAfter = 500 * time.Millisecond
	// retryAfter is how long a log that cannot be written is left alone.
	retryAfter = time.Second
	// maxDoublings is how often that is doubled while all that is written anew cannot be
	// synced: to write a whole history each second would wear a disk out.
	maxDoublings = 6
	// catchUpStep is how many events are appended to the log at once while commits go
	// on; the last ones hold them up.
	catchUpStep = 256
	// maxKeptBuffer is how large a buffer is kept for the next commit, in bytes.
	maxKeptBuffer = 256 << 10
	// memoryToStored is how much smaller an event is in the log, at least: its texts and
	// values count twice in memory.
	memoryToStored = 2
	// lapMargin is which part of a full ring is left out for commits that go on.
	lapMargin = 8
	// smallestShare is the smallest part of the room that is tried.
	smallestShare = 64
)

// store is the hub's side of the log. While the log cannot be written the hub is behind:
// events go on in memory, and [Hub.Run] tries to write what is missing from the ring.
// So nothing is missed unless the ring laps, and then old numbers are gone from the
// log as they are from the ring.
type store struct {
	log    Log // nil for none
	logger *slog.Logger
	dirty  chan struct{} // holds a token when there is something to do for Run

	// Guarded by the hub's lock.
	buffer  []byte
	behind  uint64 // number of the first event that the log does not have; 0: it has all
	anew    bool   // nothing that the log has can be relied on
	unnoted bool   // the log could not note what was announced, nor the epoch; then it is behind
	problem error  // why it is behind
	written bool   // since the last Sync

	// wasted is how often in a row all was written anew and could not be synced. It is
	// tend's alone.
	wasted int
}

func newStore(log Log, logger *slog.Logger) store {
	return store{log: log, logger: logger, dirty: make(chan struct{}, 1)}
}

// durable and problemText are called with the hub's lock held.
func (s *store) durable() bool { return s.log != nil && s.behind == 0 }

func (s *store) problemText() string {
	if s.problem == nil {
		return ""
	}
	return validText(s.problem.Error()) // it may name a path
}

// nudge tells Run that there is something to do.
func (s *store) nudge() {
	select {
	case s.dirty <- struct{}{}:
	default: // it knows already
	}
}

// fail notes that the log lacks what is from first on. The caller holds the lock.
func (s *store) fail(first uint64, problem error) {
	if s.behind == 0 {
		s.behind = first
	}
	s.problem = problem
	s.nudge()
}

// append gives a numbered batch to the log. The caller holds the lock, and announces
// the batch thereafter.
func (h *Hub) append(batch *Batch) {
	s := &h.store
	if s.log == nil || len(batch.Events) == 0 && len(batch.Interfaces) == 0 && batch.Place == "" {
		return
	}
	last := h.last() + uint64(len(batch.Events))
	if s.behind != 0 {
		h.note(last)
		return
	}
	s.buffer = appendBatch(s.buffer[:0], batch)
	err := s.log.Append(Record{First: h.next, Count: uint32(len(batch.Events)), Data: s.buffer}) //nolint:gosec // at most MaxBatch
	if err != nil {
		s.fail(h.next, err)
		h.note(last)
		return
	}
	if cap(s.buffer) > maxKeptBuffer {
		s.buffer = nil
	}
	if !s.written {
		s.written = true
		s.nudge()
	}
}

// note has the log note what is about to be announced without being in it. If it cannot
// even do that, a restart could not tell that something is missing: then what is announced
// from now on is of another epoch, which no restart takes for its own. The caller
// holds the lock.
func (h *Hub) note(last uint64) {
	s := &h.store
	err := s.log.Announce(h.epoch, last)
	if err != nil && !s.unnoted {
		h.epoch = NewEpoch()
	}
	s.unnoted = err != nil
}

// rotate begins another segment if the log's is full. The caller holds the lock.
func (h *Hub) rotate() {
	s := &h.store
	if s.log == nil || s.behind != 0 || !s.log.Full() {
		return
	}
	err := s.log.Begin(h.epoch, true)
	if err == nil {
		err = h.finishSegment()
	}
	if err != nil {
		s.fail(h.next, err)
	}
}

// finishSegment ends what a segment must begin with: a snapshot. The caller holds
// the lock.
func (h *Hub) finishSegment() error {
	parts := h.views.parts()
	for i := range parts {
		which := byte(0)
		if i == 0 {
			which |= firstPart
		}
		if i == len(parts)-1 {
			which |= lastPart
		}
		h.store.buffer = appendSnapshot(h.store.buffer[:0], &parts[i], which)
		if err := h.store.log.Append(Record{First: h.next, Data: h.store.buffer}); err != nil {
			return err
		}
	}
	return h.store.log.Finish()
}

// Run looks after the log until ctx is done: it begins to bring it to the disk half a
// second after a commit, and while it cannot be written tries again each second, or more
// and more seldom where it can be written and not synced. Without a log it only waits.
func (h *Hub) Run(ctx context.Context) error {
	s := &h.store
	said := false // that the log cannot be written
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.dirty:
		}
		wait := syncAfter
		if problem := h.logProblem(); problem != nil {
			if !said {
				s.logger.Error("the log cannot be written: events are kept in memory only", slog.Any("error", problem))
			}
			said = true
			wait = retryAfter << min(s.wasted, maxDoublings)
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if problem := h.tend(); problem == nil && said {
			s.logger.Info("the log is written again")
			said = false
		}
	}
}

func (h *Hub) logProblem() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.store.problem
}

// tend syncs the log, or catches up with what it lacks.
func (h *Hub) tend() error {
	s := &h.store
	h.mu.Lock()
	behind := s.behind != 0
	s.written = false
	h.mu.Unlock()
	if behind {
		if err := h.catchUp(); err != nil {
			s.wasted = 0
			h.mu.Lock()
			defer h.mu.Unlock()
			s.fail(h.first, err)
			return err
		}
	}
	if err := s.log.Sync(); err != nil {
		if behind {
			s.wasted++
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		s.anew = true
		s.fail(h.first, err)
		return err
	}
	s.wasted = 0
	return nil
}

// closeLog ends the log after the last commit. What it lacks gets a last chance.
func (h *Hub) closeLog() {
	s := &h.store
	if s.log == nil {
		return
	}
	if s.behind != 0 {
		if err := h.catchUp(); err != nil {
			s.logger.Error("events are lost with the end of the service: the log cannot be written", slog.Any("error", err))
		}
	}
	if err := s.log.Close(s.behind == 0); err != nil {
		s.logger.Error("the log cannot be closed", slog.Any("error", err))
	}
}
