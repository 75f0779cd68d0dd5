package hub

import (
	"bytes"
	"errors"
	"slices"
	"sync"
)

// memoryLog is a Log that survives the hub, and fails when it is told to.
type memoryLog struct {
	mu       sync.Mutex
	segments [][]Record
	pending  []Record
	begun    bool
	fails    error // of what writes
	syncs    error // of Sync
	full     int   // records in a full segment; 0: never
	room     int64
	epoch    string
	last     uint64 // announced
	clean    bool
	closed   bool
	synced   int
	onAppend func(Record) // called first
}

var errNone = errors.New("no segment")

func (l *memoryLog) Load(replay func(Record) error) Stored {
	l.begun, l.pending, l.closed = false, nil, false
	last := uint64(0)
	for _, segment := range l.segments {
		for _, r := range segment {
			if err := replay(r); err != nil {
				return Stored{Epoch: NewEpoch(), Problem: err}
			}
			last = r.First + uint64(r.Count) - 1
		}
	}
	if l.epoch == "" || last < l.last {
		l.epoch = NewEpoch()
	}
	l.last = last
	if len(l.segments) == 0 && l.fails == nil {
		l.segments = [][]Record{nil}
	}
	return Stored{Epoch: l.epoch, Problem: l.fails}
}

func (l *memoryLog) Append(r Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.onAppend != nil {
		l.onAppend(r)
	}
	r.Data = bytes.Clone(r.Data)
	switch {
	case l.fails != nil:
		return l.fails
	case l.begun:
		l.pending = append(l.pending, r)
	case len(l.segments) == 0:
		return errNone
	default:
		at := &l.segments[len(l.segments)-1]
		*at = append(*at, r)
		l.last = max(l.last, r.First+uint64(r.Count)-1)
	}
	return nil
}

func (l *memoryLog) Announce(last uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = last
}

func (l *memoryLog) Full() bool {
	return l.full > 0 && len(l.segments) > 0 && len(l.segments[len(l.segments)-1]) >= l.full
}

func (l *memoryLog) Begin(keep bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending, l.begun = nil, false
	if !keep {
		l.segments = nil
	}
	l.begun = l.fails == nil
	return l.fails
}

func (l *memoryLog) Room() int64 { return l.room }

func (l *memoryLog) Finish() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fails != nil || !l.begun {
		return errors.Join(l.fails, errNone)
	}
	l.segments = append(l.segments, l.pending)
	l.pending, l.begun = nil, false
	return nil
}

func (l *memoryLog) Sync() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.synced++
	return l.syncs
}

func (l *memoryLog) syncCount() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.synced
}

func (l *memoryLog) Close(clean bool) error {
	l.closed, l.clean = true, clean
	return nil
}

// holds returns the numbers of the first event that the log holds and of the next one.
func (l *memoryLog) holds() (first, next uint64) {
	records := slices.Concat(l.segments...)
	if len(records) == 0 {
		return 1, 1
	}
	last := records[len(records)-1]
	return records[0].First, last.First + uint64(last.Count)
}
