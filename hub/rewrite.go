package hub

import (
	"errors"
	"syscall"
)

const (
	// rewriteStep is how many events one record of a new log has at most. It ends after
	// rewriteBytes bytes of their memory, too.
	rewriteStep  = 256
	rewriteBytes = 4 << 20
	// memoryToStored is how many times smaller an event is in the log than in memory, where it
	// has its encoding, too.
	memoryToStored = 2
	// lapMargin: of a full ring, the oldest eighth is left out of a new log, because commits
	// push it out meanwhile.
	lapMargin = 8
	// smallestShare: if a new log does not fit, less and less of the room is used, down to
	// this part of it.
	smallestShare = 64
)

var (
	errLappedLog   = errors.New("events come faster than the log can be written")
	errNewLogFails = errors.New("the new log had trouble before it was finished")
)

// rewrite is the one way back from any trouble with the log: it writes a new one from the ring
// and the views, which replaces the old one once it is on the disk. The epoch stays, because the new
// log lacks at most the oldest events of the ring, and cursors before those are Gone after a restart.
// If the disk has no room for both logs, the old one goes first. If it has no room for the whole ring, the
// oldest events are left out.
func (h *Hub) rewrite() error {
	if h.underWay.Load() > 0 {
		return errDiskHangs // a new log would hang, too, and each would keep a goroutine
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

// fitting returns the number of the oldest event from which on the ring fits into so many bytes of
// log, and whether that is the whole ring.
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

// writeLog writes a new log with the events from number from on. It appends most of them beside
// the commits, and the committer appends the rest.
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
		err = errors.Join(err, w.Close(false)) // it would keep its room
	}
	return err
}

// attach appends the last events and the views to a new log, which gets all further commits. It
// sends the result to attached.
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
		_ = h.countCall(func() error { return w.Close(false) }) // nobody knows it any more
		return
	}
	if err == nil {
		h.mu.Lock()
		h.writer, h.finished = w, false
		h.mu.Unlock()
	}
	attached <- err
}

// appendRing appends the events of the ring from number from on to w, and returns the number after
// the last one.
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

// copyRing returns the events for one record, from number from on, and whether more follow. It
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
