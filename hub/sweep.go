package hub

import "runtime"

// sweepBudget is how often the sweep compares a waiter with an event before it releases the hub's
// lock. It also limits the number of events that one waiter is compared with.
const sweepBudget = 64

// sweep wakes the waiters that commits left to it. One pass compares all waiters with all events
// from number from on.
//
// No wake-up is lost, because each waiter was compared with all events before its position or
// before from, whichever is later:
//
//   - The pass takes waiters from the front of a queue. It compares each with all events from its
//     position on, sets its position to the next event, and puts it at the end of the queue.
//   - A commit compares the waiters with its own events. If there are too many waiters for that, it
//     leaves the event to the sweep. A running pass may be past some waiters, so nextFrom records
//     the first such event.
//   - After a pass, from becomes nextFrom. If that is set, another pass begins.
type sweep struct {
	first, last    *Subscription // the queue of all waiters, linked by their fields before and after
	waiters        int
	remaining      int    // at least so many waiters at the front are still to be compared
	from, nextFrom uint64 // numbers of events; 0 for none
	running        bool   // whether the sweep's goroutine runs
}

// deferFrom leaves event seq and those after it to the sweep.
func (s *sweep) deferFrom(seq uint64) {
	switch {
	case s.from == 0:
		s.from, s.remaining = seq, s.waiters
	case s.nextFrom == 0:
		s.nextFrom = seq
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

// unlink removes a waiter from the queue.
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

// startSweep starts the sweep's goroutine if a commit left an event to it. The caller holds the lock.
func (h *Hub) startSweep() {
	if s := &h.waiters.sweep; s.from != 0 && !s.running {
		s.running = true
		h.sweeps.Go(h.runSweep)
	}
}

func (h *Hub) runSweep() {
	for h.sweepTurn() {
		runtime.Gosched() // otherwise it mostly takes the lock again before a commit gets it
	}
}

// sweepTurn makes up to sweepBudget comparisons, and reports whether the sweep must continue.
func (h *Hub) sweepTurn() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &h.waiters.sweep
	for compared := 0; compared < sweepBudget; {
		if s.remaining == 0 || s.first == nil {
			if s.from, s.nextFrom, s.remaining = s.nextFrom, 0, s.waiters; s.from == 0 || s.first == nil {
				s.from, s.running = 0, false
				return false
			}
		}
		sub := s.first
		s.remaining--
		from := h.waiters.firstUncompared(sub, h.next)
		compared += 1 + int(min(h.next-from, sweepBudget))
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

// firstMatch returns the number of the first event, starting with number from, that a subscription
// waits for; h.next if there is none. If there are too many events, or some are no longer kept, it
// returns from: then the subscription wakes up and compares them itself.
func (h *Hub) firstMatch(sub *Subscription, from uint64) uint64 {
	if from < h.first || h.next-from > sweepBudget {
		return from
	}
	for ; from < h.next; from++ {
		if sub.filter.matchKeys(&h.event(from).keys) {
			break
		}
	}
	return from
}
