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
	begins   int
	onAppend func(Record) // called first

	noteFails  error // of Announce
	begunEpoch string
	// newestEpoch is that of the newest segment, as epoch is what was noted.
	newestEpoch string
	replaces    bool
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
	stored := Stored{Epoch: l.epoch, Next: last + 1, Problem: l.fails}
	if l.epoch == "" || last < l.last || l.fails != nil || l.newestEpoch != l.epoch {
		stored.Epoch = NewEpoch()
	}
	if l.fails == nil {
		l.epoch, l.newestEpoch, l.last = stored.Epoch, stored.Epoch, last
	}
	if len(l.segments) == 0 && l.fails == nil {
		l.segments = [][]Record{nil}
	}
	return stored
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
		if l.noteFails != nil {
			return l.noteFails
		}
		at := &l.segments[len(l.segments)-1]
		*at = append(*at, r)
		l.last = max(l.last, r.First+uint64(r.Count)-1)
	}
	return nil
}

func (l *memoryLog) Announce(epoch string, last uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.noteFails == nil {
		l.epoch, l.last = epoch, last
	}
	return l.noteFails
}

func (l *memoryLog) Full() bool {
	return l.full > 0 && len(l.segments) > 0 && len(l.segments[len(l.segments)-1]) >= l.full
}

func (l *memoryLog) Begin(epoch string, keep bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begins++
	l.pending, l.begunEpoch, l.replaces = nil, epoch, !keep
	l.begun = l.fails == nil
	return l.fails
}

func (l *memoryLog) MakeRoom() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.segments) == 0 {
		return false
	}
	l.segments = l.segments[1:]
	return true
}

func (l *memoryLog) Room() int64 { return l.room }

func (l *memoryLog) Finish() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fails != nil || !l.begun {
		return errors.Join(l.fails, errNone)
	}
	if l.replaces {
		l.segments = nil
	}
	l.segments = append(l.segments, l.pending)
	l.newestEpoch = l.begunEpoch
	if l.noteFails == nil {
		l.epoch = l.begunEpoch
	}
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

func (l *memoryLog) beginCount() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.begins
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
