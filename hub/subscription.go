package hub

import (
	"context"
)

// Subscription is a filter and a position in the ring. It belongs to one
// goroutine at a time; different subscriptions are independent.
type Subscription struct {
	hub     *Hub
	filter  Filter
	entries []entry       // of the index, made once
	woken   chan struct{} // holds a token after a wake-up

	// Guarded by the hub's lock.
	pos           uint64 // number of the next event to read
	waiting       bool   // filed in the index; then no compared event from pos on matches
	closed        bool
	before, after *Subscription // neighbors in the queue of the sweep
}

// Subscribe starts a subscription at a cursor: one from an earlier call, "" for the position after the
// newest event, [CursorOldest], or [CursorNewest] and a number. A subscription that is not read costs
// nothing. The error is [InvalidCursorError], [GoneError] or [ErrClosed].
func (h *Hub) Subscribe(filter Filter, cursor string) (*Subscription, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrClosed
	}
	at, err := h.position(cursor)
	if err != nil {
		return nil, err
	}
	return &Subscription{hub: h, filter: filter, pos: at + 1}, nil
}

// Next reads the next events that pass the filter, at least one, and returns how many. It waits while
// there is none. If events is empty, it returns 0 at once. The error is
//
//   - that of ctx, when it is done and there is nothing to read;
//   - a [LappedError] when events were lost; the next call continues with the oldest event that is
//     kept;
//   - [ErrClosed] when the subscription is closed, or the hub is closed and all events are read.
func (s *Subscription) Next(ctx context.Context, events []*Event) (int, error) {
	for {
		n, err := s.Poll(events)
		if n > 0 || err != nil || len(events) == 0 {
			return n, err
		}
		// While foreign events keep coming, the loop never gets to wait.
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		waiting, err := s.startWaiting()
		if err != nil {
			return 0, err
		}
		if !waiting {
			continue
		}
		select {
		case <-s.woken:
		case <-ctx.Done():
			s.stopWaiting()
			return 0, ctx.Err()
		}
	}
}

// Poll is Next without waiting: it returns 0 if there is no event.
func (s *Subscription) Poll(events []*Event) (int, error) {
	for len(events) > 0 {
		copied, err := s.take(events)
		if copied == 0 || err != nil {
			return 0, err
		}
		n := copied
		if !s.filter.Empty() {
			n = 0
			for _, e := range events[:copied] {
				if s.filter.Match(e) {
					events[n] = e
					n++
				}
			}
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, nil
}

// take copies the events after the position, also those that do not match, and advances it.
func (s *Subscription) take(events []*Event) (int, error) {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.closed {
		return 0, ErrClosed
	}
	if s.pos < h.first {
		lapped := &LappedError{First: s.pos, Last: h.first - 1}
		s.pos = h.first
		h.counters.add(CounterLapped, 1)
		h.signalChange()
		return 0, lapped
	}
	n := int(min(h.next-s.pos, uint64(len(events)))) //nolint:gosec // bounded by a length
	if n == 0 && h.closed {
		return 0, ErrClosed
	}
	if n == 0 {
		return 0, nil
	}
	size := uint64(len(h.ring))
	start := s.pos % size
	done := copy(events[:n], h.ring[start:])
	copy(events[done:n], h.ring)
	s.pos += uint64(n)
	return n, nil
}

// startWaiting files the subscription in the index of waiters. It returns false if there are new
// events.
func (s *Subscription) startWaiting() (bool, error) {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case s.closed:
		return false, ErrClosed
	case s.pos != h.next:
		return false, nil
	case h.closed:
		return false, ErrClosed
	}
	if s.entries == nil {
		s.woken = make(chan struct{}, 1)
		s.entries = makeEntries(s)
	}
	h.waiters.add(s)
	return true, nil
}

// stopWaiting removes the subscription from the index and advances it past the events that it was
// compared with, because none of them matched. It also takes the token of a simultaneous wake-up.
func (s *Subscription) stopWaiting() {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.waiting {
		s.pos = h.waiters.firstUncompared(s, h.next)
		h.waiters.remove(s)
	}
	select {
	case <-s.woken:
	default:
	}
}

// wake moves the position to the event that matched and sends the token. The caller holds the
// hub's lock. The channel has room, because there is one wake-up for each add.
func (s *Subscription) wake(seq uint64) {
	s.pos = seq
	s.woken <- struct{}{}
}

// Cursor returns the cursor from which the subscription continues.
func (s *Subscription) Cursor() string {
	epoch, seq := s.Position()
	return FormatCursor(epoch, seq)
}

// Position returns the epoch and the number of the last event before the position.
func (s *Subscription) Position() (epoch string, seq uint64) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	return s.hub.epoch, s.pos - 1
}

// Rewind moves the subscription back to just after event seq, for a reader that must read events
// again. A seq that is not before the position is ignored.
func (s *Subscription) Rewind(seq uint64) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if seq < s.pos { // seq+1 may overflow
		s.pos = min(s.pos, seq+1)
	}
}

// Skip moves the subscription past the newest event. It returns the skipped events, nil if none.
func (s *Subscription) Skip() *LappedError {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if s.closed || s.pos == s.hub.next {
		return nil
	}
	lapped := &LappedError{First: s.pos, Last: s.hub.next - 1}
	s.pos = s.hub.next
	s.hub.counters.add(CounterLapped, 1)
	s.hub.signalChange()
	return lapped
}

// SkipHalf moves a lapped subscription to the middle of the ring, so that it is not lapped again
// at once. It returns the skipped events, nil if none.
func (s *Subscription) SkipHalf() *LappedError {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	middle := s.hub.first + (s.hub.next-s.hub.first)/2
	if s.closed || s.pos >= middle {
		return nil
	}
	lapped := &LappedError{First: s.pos, Last: middle - 1}
	s.pos = middle
	return lapped
}

// Close ends the subscription. Next returns [ErrClosed], even if it waits already.
func (s *Subscription) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.closed = true
	if s.waiting {
		s.hub.waiters.remove(s)
		s.wake(s.hub.next)
	}
}
