package hub

import (
	"errors"
	"math"
	"syscall"
)

const (
	// rewriteStep is how many events are appended to a new log at once while commits go
	// on; the last ones are appended between two commits.
	rewriteStep = 256
	// memoryToStored is how much smaller an event is in the log, at least: its texts and
	// values count twice in memory.
	memoryToStored = 2
	// lapMargin is which part of a full ring is left out for commits that go on.
	lapMargin = 8
	// smallestShare is the smallest part of the room that is tried.
	smallestShare = 64
)

var (
	errLappedLog    = errors.New("events come faster than the log can be written")
	errEpochChanged = errors.New("the epoch changed while a new log was written")
	errTwoLogs      = errors.New("another new log is written already")
	errLetGo        = errors.New("the new log had trouble before it was finished")
)

// rewrite is the one way back from any trouble with the log: it writes a new one from the ring
// and the views, which replaces the old one once it is on the disk. The epoch stays: only events
// that the ring no longer has are missing, and these are Gone by their numbers. Where there is no
// room for both logs, the old one goes first, as the ring has the same events. Where there is no
// room for the whole ring, the oldest events are left out.
func (h *Hub) rewrite() error {
	if h.underWay.Load() > 0 {
		return errDiskHangs // a new log would only hang, too: they would add up
	}
	for share := int64(1); ; {
		room, more := h.log.Room()
		from, all := h.fitting(room / share)
		if !all && more && h.log.MakeRoom() {
			continue
		}
		err := h.writeLog(from)
		switch {
		case errors.Is(err, errLappedLog) && share < smallestShare:
			share *= 2
		case !noRoom(err):
			return err
		case h.log.MakeRoom():
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

// fitting returns the number from which on the events in the ring fit into so many bytes of
// log, and whether that is all of them. A full ring loses its oldest all the time, so of that
// some are left out.
func (h *Hub) fitting(room int64) (from uint64, all bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	from = h.next
	for from > h.first {
		room -= int64(h.event(from-1).size) / memoryToStored
		if room < 0 {
			break
		}
		from--
	}
	if all = from == h.first; all && h.first > 1 {
		from += (h.next - h.first) / lapMargin
	}
	return from, all
}

// writeLog writes a new log with the events from from on, beside the commits.
func (h *Hub) writeLog(from uint64) error {
	epoch := h.Status().Epoch
	w, err := h.log.Create(epoch)
	if err != nil {
		return err
	}
	for {
		events := h.copyRing(from, rewriteStep)
		if len(events) < rewriteStep {
			break // the committer sees whether there are none left, or none any more
		}
		if err := appendEvents(w, from, events); err != nil {
			return errors.Join(err, w.Close(false))
		}
		from += rewriteStep
	}
	attached := make(chan error, 1)
	if !h.between(func(c *committer) { c.attach(w, epoch, from, attached) }) {
		return errors.Join(ErrClosed, w.Close(false))
	}
	if err := <-attached; err != nil {
		if !errors.Is(err, errDiskHangs) {
			err = errors.Join(err, w.Close(false))
		}
		return err
	}
	err = w.Finish()
	h.waitBetween(func() {
		switch {
		case h.writer != w:
			err = errors.Join(errLetGo, err)
		case err != nil:
			h.abandonLog(err)
		default:
			h.mu.Lock()
			defer h.mu.Unlock()
			h.finished, h.problem = true, nil
		}
	})
	if err != nil {
		err = errors.Join(err, w.Close(false)) // it would keep its room
	}
	return err
}

// attach appends the last events to a new log, and has it get all further commits. It tells
// attached whether it worked.
func (c *committer) attach(w Writer, epoch string, from uint64, attached chan<- error) {
	h := c.hub
	if epoch != h.epoch {
		attached <- errEpochChanged // the next attempt has the right one
		return
	}
	if h.writer != nil {
		attached <- errTwoLogs
		return
	}
	events, snapshot := h.copyRing(from, math.MaxInt), h.snapshotRecords()
	if events == nil {
		attached <- errLappedLog
		return
	}
	ok, err := c.write(func() error {
		for ; len(events) > 0; events = events[min(len(events), rewriteStep):] {
			if err := appendEvents(w, events[0].Seq, events[:min(len(events), rewriteStep)]); err != nil {
				return err
			}
		}
		return w.Rotate(snapshot)
	}, func() { attached <- errDiskHangs })
	if !ok {
		return
	}
	if err == nil {
		h.mu.Lock()
		h.writer, h.finished = w, false
		h.mu.Unlock()
	}
	attached <- err
}

// appendEvents appends events that were committed before to a new log.
func appendEvents(w Writer, first uint64, events []*Event) error {
	return w.Append(Record{First: first, Count: uint32(len(events)), Data: appendBatch(nil, &Batch{Events: events})}) //nolint:gosec // a few
}

// copyRing returns at most so many events in the ring from number from on, nil if some of them
// are gone.
func (h *Hub) copyRing(from uint64, most int) []*Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	if from < h.first {
		return nil
	}
	events := make([]*Event, 0, min(h.next-from, uint64(most))) //nolint:gosec // positive
	for ; from < h.next && len(events) < cap(events); from++ {
		events = append(events, h.event(from))
	}
	return events
}
