package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"syscall"
	"time"
)

const (
	// syncAfter is how long the oldest commit waits at most before it is brought to
	// the disk; so a loss of power costs less than a second.
	syncAfter = 500 * time.Millisecond
	// retryAfter is how long a log that cannot be written is left alone.
	retryAfter = time.Second
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
	unnoted bool   // the log could not note what was announced, nor the epoch
	problem error  // why it is behind
	written bool   // since the last Sync
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
	return s.problem.Error()
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

// load takes over what the log holds.
func (h *Hub) load() {
	s := &h.store
	if s.log == nil {
		return
	}
	r := replayer{hub: h}
	stored := s.log.Load(r.record)
	h.epoch = stored.Epoch
	h.startAt(stored.Next)
	if stored.Problem != nil {
		s.fail(h.first, stored.Problem)
		s.anew, s.unnoted = true, true
		return
	}
	if r.whole() {
		return
	}
	// Events are there, but not the views that belong to them.
	s.logger.Warn("cursors of before are no longer valid: a new epoch begins", slog.String("because", "a snapshot of the state is damaged"))
	h.epoch = NewEpoch()
	err := s.log.Begin(h.epoch, true)
	if err == nil {
		err = h.finishSegment()
	}
	if err != nil {
		s.fail(h.next, err)
		s.unnoted = true
	}
}

// replayer takes stored records.
type replayer struct {
	hub    *Hub
	batch  Batch
	parts  []*snapshot // of a snapshot that is not whole yet
	began  bool        // there was a record
	viewed bool        // the views are those of the last record
}

// whole reports whether the views are those after the last record.
func (r *replayer) whole() bool { return !r.began || r.viewed && r.parts == nil }

func (r *replayer) record(record Record) error {
	if !r.began {
		r.began, r.viewed = true, record.First == 1
	}
	stored := storedReader{rest: string(record.Data)}
	switch kind := stored.byte(); kind {
	case recordBatch:
		stored.batch(&r.batch, record.First)
		if err := stored.end(record); err != nil {
			return err
		}
		if len(r.batch.Events) != int(record.Count) {
			return fmt.Errorf("%w: %d events, %d were expected", errStored, len(r.batch.Events), record.Count)
		}
		r.viewed = r.viewed && record.First == r.hub.next
		r.hub.replay(record.First, &r.batch)
	case recordSnapshot:
		part, which := stored.snapshot()
		if err := stored.end(record); err != nil {
			return err
		}
		if which&firstPart != 0 {
			r.parts = nil
		}
		if r.parts = append(r.parts, part); which&lastPart != 0 {
			r.hub.views.restore(r.parts)
			r.hub.startAt(record.First)
			r.parts, r.viewed = nil, true
		}
	default:
		return fmt.Errorf("%w: of kind %q", errStored, kind)
	}
	return nil
}

// startAt has the ring go on with the event that has the given number: those before
// are dropped where others are missing in between.
func (h *Hub) startAt(first uint64) {
	if first == h.next {
		return
	}
	clear(h.ring)
	h.bytes, h.first, h.next = 0, max(first, 1), max(first, 1)
}

// replay is Commit for what was committed before.
func (h *Hub) replay(first uint64, batch *Batch) {
	h.startAt(first)
	h.views.apply(batch)
	for _, e := range batch.Events {
		h.push(e)
	}
}

// Run looks after the log until ctx is done: it brings it to the disk within a
// second, and while it cannot be written tries again each second. Without a log
// it only waits.
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
			wait = retryAfter
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
			h.mu.Lock()
			defer h.mu.Unlock()
			s.fail(h.first, err)
			return err
		}
	}
	if err := s.log.Sync(); err != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		s.anew = true
		s.fail(h.first, err)
		return err
	}
	return nil
}

// catchUp writes to the log what it lacks, from the ring. If there is no room it gives up
// the oldest events that the log has, and then as many of the missing ones as it must:
// the ring has them, and what is lost by another restart will be told as Gone.
func (h *Hub) catchUp() error {
	s := &h.store
	h.mu.Lock()
	keep := !s.anew
	h.mu.Unlock()
	for share := int64(1); ; {
		err := h.rewrite(keep, share)
		switch {
		case errors.Is(err, errLappedLog):
			if !keep && share >= smallestShare {
				return err
			}
			keep, share = false, share*2
		case !noRoom(err):
			return err
		case s.log.MakeRoom():
		case keep:
			keep = false
		case share < smallestShare:
			share *= 4
		default:
			return err
		}
	}
}

// noRoom reports whether a write failed for a lack of room.
func noRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// rewrite begins a segment with the events that the log lacks, in steps beside which
// commits go on. Unless the stored ones are kept, it is as many as fit into a share of
// the room.
func (h *Hub) rewrite(keep bool, share int64) error {
	s := &h.store
	h.mu.Lock()
	epoch := h.epoch
	h.mu.Unlock()
	if err := s.log.Begin(epoch, keep); err != nil {
		return err
	}
	from, err := h.rewriteFrom(keep, s.log.Room()/share)
	events := make([]*Event, 0, catchUpStep)
	for err == nil {
		h.mu.Lock()
		if from < h.first {
			h.mu.Unlock()
			return errLappedLog
		}
		events = h.copyRing(events[:0], from)
		if from+uint64(len(events)) == h.next {
			defer h.mu.Unlock()
			return h.caughtUp(epoch, from, events)
		}
		h.mu.Unlock()
		err = h.appendEvents(from, events)
		from += uint64(len(events))
	}
	return err
}

// rewriteFrom returns the number of the first event to write. A full ring loses its
// oldest all the time, so without keep some of these are left out.
func (h *Hub) rewriteFrom(keep bool, room int64) (uint64, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if keep {
		if h.store.behind < h.first {
			return 0, errLappedLog
		}
		return h.store.behind, nil
	}
	from := h.newest(room)
	if h.first > 1 {
		from = max(from, h.first+(h.next-h.first)/lapMargin)
	}
	return from, nil
}

// appendEvents appends events that were committed before to the segment that was begun.
func (h *Hub) appendEvents(from uint64, events []*Event) error {
	if len(events) == 0 {
		return nil
	}
	record := Record{First: from, Count: uint32(len(events)), Data: appendBatch(nil, &Batch{Events: events})} //nolint:gosec // a few
	return h.store.log.Append(record)
}

var errLappedLog = errors.New("hub: events come faster than the log can be written")

// caughtUp appends the last missing events and has the log go on with commits. The
// caller holds the lock.
func (h *Hub) caughtUp(epoch string, from uint64, events []*Event) error {
	s := &h.store
	if epoch != h.epoch {
		return errEpochChanged // the next attempt has the right one
	}
	if err := h.appendEvents(from, events); err != nil {
		return err
	}
	if err := h.finishSegment(); err != nil {
		return err
	}
	if h.note(h.last()); s.unnoted {
		s.behind = h.next // so that no commit is announced before it can be noted
		return errUnnoted
	}
	s.behind, s.anew, s.problem = 0, false, nil
	return nil
}

var errUnnoted = errors.New("hub: the log cannot note what is announced")

var errEpochChanged = errors.New("hub: the log can note nothing")

// copyRing appends events from number from on to events, as far as they have room.
// The caller holds the lock.
func (h *Hub) copyRing(events []*Event, from uint64) []*Event {
	for ; from < h.next && len(events) < cap(events); from++ {
		events = append(events, h.ring[from%uint64(len(h.ring))])
	}
	return events
}

// newest returns the number from which on the events in the ring fit into so many
// bytes. The caller holds the lock.
func (h *Hub) newest(room int64) uint64 {
	from := h.next
	for from > h.first {
		room -= int64(h.ring[(from-1)%uint64(len(h.ring))].size) / memoryToStored
		if room < 0 {
			break
		}
		from--
	}
	return from
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
	if err := s.log.Close(s.behind == 0 && !s.unnoted); err != nil {
		s.logger.Error("the log cannot be closed", slog.Any("error", err))
	}
}
