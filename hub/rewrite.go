package hub

import (
	"errors"
	"syscall"
)

const (
	// A record of a new log has at most rewriteStep events, and ends once they take
	// rewriteBytes of memory.
	rewriteStep  = 256
	rewriteBytes = 4 << 20
	// memoryToStored is how many times smaller an event is in the log than in memory, where its
	// encoding is kept, too.
	memoryToStored = 2
	// lapMargin is the part of a full ring, the oldest eighth, that a new log leaves out,
	// because commits push it out meanwhile.
	lapMargin = 8
	// smallestShare is the smallest part of the room, one 64th, that a rewrite tries to fit
	// into.
	smallestShare = 64
)

var (
	errLappedLog   = errors.New("events come faster than the log can be written")
	errNewLogFails = errors.New("the new log failed before it was finished")
)

// rewrite recovers from any failure of the log. It writes a new log from the ring and the views, which
// replaces the old one once it is on the disk. The epoch stays, because the new log lacks at most the
// oldest events of the ring, and cursors before those are Gone after a restart. If the disk has no
// room for both logs, rewrite deletes the old one first. If it has no room for the whole ring,
// rewrite leaves out the oldest events.
func (h *Hub) rewrite() error {
	if h.callsInFlight.Load() > 0 {
		return errDiskHangs // each new log would hang, too, and leave a goroutine behind
	}
	for share := int64(1); ; {
		room, more := h.log.Room()
		from, all := h.oldestFitting(room / share)
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

// noRoom reports whether a write failed for lack of room.
func noRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// oldestFitting returns the oldest event from which the ring fits into room bytes of log, and
// whether the whole ring fits.
func (h *Hub) oldestFitting(room int64) (from uint64, all bool) {
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

// writeLog writes a new log that starts with event number from. It appends most events while commits
// go on, and the committer appends the rest.
func (h *Hub) writeLog(from uint64) error {
	w, err := h.log.Create(h.Status().Epoch) // which changes only when a log is abandoned
	if err != nil {
		return err
	}
	if from, err = h.appendRing(w, from); err != nil {
		return errors.Join(err, w.Close(false))
	}
	attached := make(chan error, 1)
	if !h.enqueueWork(func(c *committer) { c.attach(w, from, attached) }) {
		return errors.Join(ErrClosed, w.Close(false))
	}
	if err := <-attached; err != nil {
		if !errors.Is(err, errDiskHangs) {
			err = errors.Join(err, w.Close(false))
		}
		return err
	}
	err = w.Finish()
	h.runOnCommitter(func() {
		switch {
		case h.writer != w: // a commit abandoned it
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
		err = errors.Join(err, w.Close(false)) // to free its room
	}
	return err
}

// attach appends the last events and the views to a new log, and makes it the log of all further
// commits. It sends the result to attached.
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
		_ = h.countCall(func() error { return w.Close(false) })
		return
	}
	if err == nil {
		h.mu.Lock()
		h.writer, h.finished = w, false
		h.mu.Unlock()
	}
	attached <- err
}

// appendRing appends the events of the ring to w, starting with number from. It returns the number
// after the last one.
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

// copyRing returns the events of one record, starting with number from, and whether more follow. It
// returns nil if the ring has dropped some of them.
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
