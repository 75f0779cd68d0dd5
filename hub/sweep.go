package hub

import "runtime"

// sweepLooks is how often the sweep compares a waiter with an event before it gives the hub's
// lock to others; and with how many events it compares one waiter at most.
const sweepLooks = 64

// sweep wakes the waiters that commits left to it. It goes through all waiters, and compares
// each with the events from from on. No wake-up is lost, because at any time, for each waiter,
// all events before the later of its position and from were compared with it, and those from
// there on are compared before from moves on:
//
//   - a waiter that the sweep has yet to come to is compared with all events from from on;
//   - one that it has come to is moved behind those, with its position at the next event.
//     Commits compare it with events since, but for those from again on;
//   - when it has come to all, it goes on from again, if that is set, with all of them.
type sweep struct {
	first, last *Subscription // all waiters, by their fields before and after
	waiters     int
	left        int    // how many of the first ones it has yet to come to, at least
	from, again uint64 // numbers of events; 0 for none
	running     bool   // somebody calls turn until there is nothing left
}

// note has all waiters compared with the event seq and those after it.
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

// startSweep has the waiters woken that the commit left, if there are any. The caller holds
// the lock.
func (h *Hub) startSweep() {
	if s := &h.waiters.sweep; s.from != 0 && !s.running {
		s.running = true
		h.sweeps.Go(h.runSweep)
	}
}

func (h *Hub) runSweep() {
	for h.sweepTurn() {
		runtime.Gosched() // to a commit that got the lock meanwhile
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

// firstMatch returns the number of the first event from from on that a subscription waits for,
// h.next if there is none. Where it has too much to look at, or not all is there any more, it
// is from itself: the subscription looks for itself then.
func (h *Hub) firstMatch(sub *Subscription, from uint64) uint64 {
	if from < h.first || h.next-from > sweepLooks {
		return from
	}
	for ; from < h.next; from++ {
		if sub.filter.matchKeys(&h.ring[from%uint64(len(h.ring))].keys) {
			break
		}
	}
	return from
}
