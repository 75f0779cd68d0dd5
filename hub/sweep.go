package hub

import "runtime"

// sweepLooks is how many comparisons of a waiter with an event the sweep makes before it releases
// the hub's lock, and with how many events it compares one waiter at most.
const sweepLooks = 64

// sweep wakes the waiters that commits left to it: one pass compares all waiters with all events
// from number from on.
//
// No wake-up is lost, because each waiter was compared with all events before its position or
// before from, whichever is later:
//
//   - The pass takes waiters from the front of a queue. It compares each with all events from its
//     position on, sets its position to the next event, and puts it at the end of the queue.
//   - A commit compares the waiters with its own events. If there are too many waiters for that, it
//     leaves an event to the pass. The pass may be past some waiters by then, so the number of the
//     first such event is noted in again.
//   - After a pass, from becomes again. If that is set, another pass begins.
type sweep struct {
	first, last *Subscription // the queue of all waiters, by their fields before and after
	waiters     int
	left        int    // at least so many waiters at the front are still to be compared
	from, again uint64 // numbers of events; 0 for none
	running     bool   // the sweep's goroutine is there
}

// note leaves event seq and those after it to the sweep.
func (s *sweep) note(seq uint64) {
	switch {
	case s.from == 0:
		s.from, s.left = seq, s.waiters
	case s.again == 0:
		s.again = seq
	}
}

// push appends a waiter.
func (s *sweep) push(sub *Subscription) {
	sub.before, sub.after = s.last, nil
	if s.last != nil {
		s.last.after = sub
	} else {
		s.first = sub
	}
	s.last = sub
	s.waiters++
}

// unlink takes a waiter out.
func (s *sweep) unlink(sub *Subscription) {
	if sub.before != nil {
		sub.before.after = sub.after
	} else {
		s.first = sub.after
	}
	if sub.after != nil {
		sub.after.before = sub.before
	} else {
		s.last = sub.before
	}
	sub.before, sub.after = nil, nil
	s.waiters--
}

// startSweep starts the sweep's goroutine if a commit left something to it. The caller holds the
// lock.
func (h *Hub) startSweep() {
	if s := &h.waiters.sweep; s.from != 0 && !s.running {
		s.running = true
		h.sweeps.Go(h.runSweep)
	}
}

func (h *Hub) runSweep() {
	for h.sweepTurn() {
		runtime.Gosched() // or it would mostly take the lock again before a commit gets it
	}
}

// sweepTurn makes up to sweepLooks comparisons, and reports whether the sweep is to continue.
func (h *Hub) sweepTurn() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &h.waiters.sweep
	for looks := 0; looks < sweepLooks; {
		if s.left == 0 || s.first == nil {
			if s.from, s.again, s.left = s.again, 0, s.waiters; s.from == 0 || s.first == nil {
				s.from, s.running = 0, false
				return false
			}
		}
		sub := s.first
		s.left--
		from := h.waiters.compared(sub, h.next)
		looks += 1 + int(min(h.next-from, sweepLooks))
		if seq := h.firstMatch(sub, from); seq < h.next {
			h.waiters.remove(sub)
			sub.wake(seq)
			continue
		}
		sub.pos = h.next
		s.unlink(sub)
		s.push(sub)
	}
	return true
}

// firstMatch returns the number of the first event from number from on that a subscription waits
// for, h.next if there is none. If those are too many to compare, or some are gone, it returns from:
// then the subscription wakes up and compares them itself.
func (h *Hub) firstMatch(sub *Subscription, from uint64) uint64 {
	if from < h.first || h.next-from > sweepLooks {
		return from
	}
	for ; from < h.next; from++ {
		if sub.filter.matchKeys(&h.event(from).keys) {
			break
		}
	}
	return from
}
