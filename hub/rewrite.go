package hub

import (
	"errors"
	"syscall"
)

const (
	// rewriteStep is how many events of the ring one record of a new log has at most, and
	// rewriteBytes how many bytes of memory they take, but for the last of them.
	rewriteStep  = 256
	rewriteBytes = 4 << 20
	// memoryToStored is how much smaller an event is in the log, at least: its texts and
	// values count twice in memory.
	memoryToStored = 2
	// lapMargin is which part of a full ring is left out for commits that go on.
	lapMargin = 8
	// smallestShare is the smallest part of the room that is tried.
	smallestShare = 64
)

var (
	errLappedLog   = errors.New("events come faster than the log can be written")
	errNewLogFails = errors.New("the new log had trouble before it was finished")
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
		lapped := errors.Is(err, errLappedLog)
		switch {
		case !lapped && !noRoom(err):
			return err
		case !lapped && h.log.MakeRoom():
		case share == smallestShare:
			return err
		default:
			share *= 2
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

// writeLog writes a new log with the events from from on: most of them beside the commits, the
// last ones between two of them.
func (h *Hub) writeLog(from uint64) error {
	w, err := h.log.Create(h.Status().Epoch) // which changes only when a log is abandoned
	if err != nil {
		return err
	}
	if from, err = h.appendRing(w, from); err != nil {
		return errors.Join(err, w.Close(false))
	}
	attached := make(chan error, 1)
	if !h.between(func(c *committer) { c.attach(w, from, attached) }) {
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
			err = errors.Join(errNewLogFails, err)
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
func (c *committer) attach(w Writer, from uint64, attached chan<- error) {
	h := c.hub
	snapshot := h.snapshotRecords()
	ok, err := c.write(func() error {
		if _, err := h.appendRing(w, from); err != nil {
			return err
		}
		return w.Rotate(snapshot)
	}, func() { attached <- errDiskHangs })
	if !ok {
		_ = w.Close(false) // nobody knows it any more
		return
	}
	if err == nil {
		h.mu.Lock()
		h.writer, h.finished = w, false
		h.mu.Unlock()
	}
	attached <- err
}

// appendRing appends the events of the ring from number from on, and returns the number after the
// last one.
func (h *Hub) appendRing(w Writer, from uint64) (next uint64, err error) {
	for more := true; more; {
		var events []*Event
		if events, more = h.copyRing(from); events == nil {
			return from, errLappedLog
		}
		if len(events) == 0 {
			break
		}
		data := appendBatch(nil, &Batch{Events: events})
		if err := w.Append(Record{First: from, Count: uint32(len(events)), Data: data}); err != nil { //nolint:gosec // a few
			return from, err
		}
		from += uint64(len(events))
	}
	return from, nil
}

// copyRing returns events of the ring from number from on, as many as go into one record, and
// whether there are more. The result is nil if some of them are gone.
func (h *Hub) copyRing(from uint64) (events []*Event, more bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if from < h.first {
		return nil, false
	}
	events = make([]*Event, 0, min(h.next-from, rewriteStep))
	for size := 0; from < h.next && len(events) < rewriteStep && size < rewriteBytes; from++ {
		e := h.event(from)
		events, size = append(events, e), size+e.size
	}
	return events, from < h.next
}
