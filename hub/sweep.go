package hub

import "runtime"

// sweepLooks is how often the sweep compares a waiter with an event before it gives the hub's
// lock to others; and with how many events it compares one waiter at most.
const sweepLooks = 64

// sweep wakes the waiters that commits left to it: a pass compares all waiters, in a queue, with
// all events from number from on.
//
// No wake-up is lost. At any time each waiter was compared with all events before its position
// or from, whichever is later:
//
//   - The pass takes waiters from the front of the queue. It compares each with all later events,
//     sets its position to the next event, and puts it at the end.
//   - Commits compare waiters with their own events. If a commit cannot, as there are too many
//     waiters, the pass may be past some of them: so again is the number of the first such event.
//   - After a pass from becomes again, and if that is set, another pass begins.
type sweep struct {
	first, last *Subscription // the queue of all waiters, by their fields before and after
	waiters     int
	left        int    // waiters at the front that the pass has still to compare, at least
	from, again uint64 // numbers of events; 0 for none
	running     bool   // the sweep's goroutine is there
}

// note has the sweep compare all waiters with event seq and those after it.
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

// startSweep starts the sweep's goroutine if there is something to do. The caller holds the lock.
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

// sweepTurn goes on with the sweep, and reports whether there is more to do.
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
// for, h.next if there is none. Where there are too many to look at, or some are gone, it returns
// from: then the subscription looks for itself.
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
