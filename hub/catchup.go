package hub

import (
	"errors"
	"syscall"
)

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
