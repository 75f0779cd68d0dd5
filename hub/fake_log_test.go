package hub

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
)

// memoryLog is a Log that survives the hub, and fails when it is told to.
type memoryLog struct {
	mu      sync.Mutex
	counts  *memoryWriter // nil: there is none
	fails   error         // of what writes
	marks   error         // of Abandon
	syncs   error         // of Sync and Finish
	full    int           // records in a full segment; 0: never
	room    int64
	crowded bool // there would be more room without what is stored
	synced  int
	creates int
	created *memoryWriter // the last one
	// released says that the Log was closed.
	released bool
	// before is called first by what writes; it may hang.
	before     func(Record)
	beforeSync func() // the same of Sync and Finish
}

// memoryWriter is one of its logs.
type memoryWriter struct {
	log       *memoryLog
	epoch     string
	segments  [][]Record
	abandoned bool
	clean     bool
	closed    bool
	finished  bool
}

func (l *memoryLog) Load(_ context.Context, replay func(Record) error, whole func() bool) Stored {
	w := l.counts
	stored := Stored{Epoch: NewEpoch(), Next: 1, Problem: l.fails}
	if w == nil {
		w = &memoryWriter{log: l, epoch: stored.Epoch, segments: [][]Record{nil}}
		if l.fails == nil {
			l.counts, stored.Writer = w, w
		}
		return stored
	}
	for _, r := range w.records() {
		if err := replay(r); err != nil {
			return Stored{Epoch: NewEpoch(), Problem: err}
		}
		stored.Next = r.First + uint64(r.Count)
	}
	if !w.abandoned && whole() && l.fails == nil {
		stored.Epoch = w.epoch
	}
	if l.fails == nil {
		w.epoch, w.abandoned, w.clean, w.closed = stored.Epoch, false, false, false
		stored.Writer = w
	}
	return stored
}

func (l *memoryLog) Create(epoch string) (Writer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.creates++
	l.created = &memoryWriter{log: l, epoch: epoch, segments: [][]Record{nil}}
	return l.created, l.fails
}

func (l *memoryLog) Room() (int64, bool) { return l.room, l.crowded }

func (l *memoryLog) MakeRoom() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	had := l.counts != nil
	l.counts, l.crowded = nil, false
	return had
}

func (l *memoryLog) Close() error {
	l.set(func() { l.released = true })
	return nil
}

// set changes what fails beside a hub that runs.
func (l *memoryLog) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

func (l *memoryLog) count(n *int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return *n
}

// holds returns the numbers of the first event that the log holds and of the next one.
func (l *memoryLog) holds() (first, next uint64) {
	if l.counts == nil || len(l.counts.records()) == 0 {
		return 1, 1
	}
	records := l.counts.records()
	last := records[len(records)-1]
	return records[0].First, last.First + uint64(last.Count)
}

func (w *memoryWriter) records() []Record { return slices.Concat(w.segments...) }

// wait calls before with the record that is about to be written.
func (l *memoryLog) wait(r Record) {
	l.mu.Lock()
	before := l.before
	l.mu.Unlock()
	if before != nil {
		before(r)
	}
}

func (w *memoryWriter) Append(r Record) error {
	w.log.wait(r)
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	if w.log.fails != nil {
		return w.log.fails
	}
	r.Data = bytes.Clone(r.Data)
	at := &w.segments[len(w.segments)-1]
	*at = append(*at, r)
	return nil
}

func (w *memoryWriter) Full() bool {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	return w.log.full > 0 && len(w.segments[len(w.segments)-1]) >= w.log.full
}

func (w *memoryWriter) Rotate(snapshot []Record) error {
	w.log.wait(snapshot[0])
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	if w.log.fails == nil {
		w.segments = append(w.segments, snapshot)
	}
	return w.log.fails
}

func (w *memoryWriter) Finish() error {
	w.waitForSync()
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	err := errors.Join(w.log.fails, w.log.syncs)
	if w.closed {
		err = errors.New("closed before it was finished")
	}
	if err == nil {
		w.log.counts, w.finished = w, true
	}
	return err
}

func (w *memoryWriter) waitForSync() {
	w.log.mu.Lock()
	before := w.log.beforeSync
	w.log.mu.Unlock()
	if before != nil {
		before()
	}
}

func (w *memoryWriter) Sync() error {
	w.waitForSync()
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	w.log.synced++
	return w.log.syncs
}

func (w *memoryWriter) Abandon() error {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	if w.log.marks == nil {
		w.abandoned = true
	}
	return w.log.marks
}

func (w *memoryWriter) Close(clean bool) error {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	w.closed, w.clean = true, clean
	return nil
}
