package hub

// state is the result of all commits: the newest events in a ring, and the views.
type state struct {
	ring     []*Event // event seq is at seq % len(ring)
	first    uint64   // number of the oldest event kept
	next     uint64   // number of the next event
	bytes    int      // of all events in the ring
	maxBytes int
	views    views
}

func newState(config *Config) state {
	return state{ring: make([]*Event, config.History), first: 1, next: 1, maxBytes: config.HistoryBytes, views: newViews()}
}

// last returns the number of the newest event, 0 if there was none yet.
func (s *state) last() uint64 { return s.next - 1 }

// event returns an event that is kept.
func (s *state) event(seq uint64) *Event { return s.ring[seq%uint64(len(s.ring))] }

// push appends a numbered event to the ring and drops what no longer fits.
func (s *state) push(e *Event) {
	s.bytes += e.size
	for s.next-s.first >= uint64(len(s.ring)) || s.bytes > s.maxBytes && s.first < s.next {
		slot := &s.ring[s.first%uint64(len(s.ring))]
		s.bytes -= (*slot).size
		*slot = nil
		s.first++
	}
	s.ring[s.next%uint64(len(s.ring))] = e
	s.next++
}

// startAt makes first the number of the next event. If events before it are missing, startAt clears
// the ring, because numbers are consecutive.
func (s *state) startAt(first uint64) {
	if first == s.next {
		return
	}
	clear(s.ring)
	s.bytes, s.first, s.next = 0, max(first, 1), max(first, 1)
}

// replay applies a batch that was committed before.
func (s *state) replay(first uint64, batch *Batch) {
	s.startAt(first)
	s.views.apply(batch)
	for _, e := range batch.Events {
		s.push(e)
	}
}

// snapshotRecords returns a snapshot of the views as records.
func (s *state) snapshotRecords() []Record {
	parts := s.views.parts()
	records := make([]Record, len(parts))
	for i := range parts {
		flags := byte(0)
		if i == 0 {
			flags |= firstPart
		}
		if i == len(parts)-1 {
			flags |= lastPart
		}
		records[i] = Record{First: s.next, Data: appendSnapshot(nil, &parts[i], flags)}
	}
	return records
}
