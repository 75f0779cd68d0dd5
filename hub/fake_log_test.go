package hub

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
)

// memoryLog is a Log that survives the hub, and fails on demand.
type memoryLog struct {
	mu          sync.Mutex
	current     *memoryWriter // nil for none
	writeErr    error         // of Load, Create, Append, Rotate and Finish
	markErr     error         // of Abandon
	syncErr     error         // of Sync and Finish
	full        int           // records in a full segment; 0 for no limit
	room        int64
	canMakeRoom bool // the second result of Room
	synced      int  // calls of Sync
	creates     int  // calls of Create
	created     *memoryWriter
	released    bool         // the Log was closed
	beforeWrite func(Record) // called first by Append and Rotate; it may hang
	beforeSync  func()       // called first by Sync and Finish; it may hang
}

// memoryWriter is one log of a memoryLog.
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
	w := l.current
	stored := Stored{Epoch: NewEpoch(), Next: 1, Problem: l.writeErr}
	if w == nil {
		w = &memoryWriter{log: l, epoch: stored.Epoch, segments: [][]Record{nil}}
		if l.writeErr == nil {
			l.current, stored.Writer = w, w
		}
		return stored
	}
	for _, r := range w.records() {
		if err := replay(r); err != nil {
			return Stored{Epoch: NewEpoch(), Problem: err}
		}
		stored.Next = r.First + uint64(r.Count)
	}
	if !w.abandoned && whole() && l.writeErr == nil {
		stored.Epoch = w.epoch
	}
	if l.writeErr == nil {
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
	return l.created, l.writeErr
}

func (l *memoryLog) Room() (int64, bool) { return l.room, l.canMakeRoom }

func (l *memoryLog) MakeRoom() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	had := l.current != nil
	l.current, l.canMakeRoom = nil, false
	return had
}

func (l *memoryLog) Close() error {
	l.set(func() { l.released = true })
	return nil
}

// set changes the log while a hub uses it.
func (l *memoryLog) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

func (l *memoryLog) readCounter(n *int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return *n
}

// holds returns the numbers of the first event in the log and of the one after the last.
func (l *memoryLog) holds() (first, next uint64) {
	if l.current == nil || len(l.current.records()) == 0 {
		return 1, 1
	}
	records := l.current.records()
	last := records[len(records)-1]
	return records[0].First, last.First + uint64(last.Count)
}

func (w *memoryWriter) records() []Record { return slices.Concat(w.segments...) }

// wait calls beforeWrite with the next record.
func (l *memoryLog) wait(r Record) {
	l.mu.Lock()
	before := l.beforeWrite
	l.mu.Unlock()
	if before != nil {
		before(r)
	}
}

func (w *memoryWriter) Append(r Record) error {
	w.log.wait(r)
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	if w.log.writeErr != nil {
		return w.log.writeErr
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
	if w.log.writeErr == nil {
		w.segments = append(w.segments, snapshot)
	}
	return w.log.writeErr
}

func (w *memoryWriter) Finish() error {
	w.waitForSync()
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	err := errors.Join(w.log.writeErr, w.log.syncErr)
	if w.closed {
		err = errors.New("closed before it was finished")
	}
	if err == nil {
		w.log.current, w.finished = w, true
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
	return w.log.syncErr
}

func (w *memoryWriter) Abandon() error {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	if w.log.markErr == nil {
		w.abandoned = true
	}
	return w.log.markErr
}

func (w *memoryWriter) Close(clean bool) error {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	w.closed, w.clean = true, clean
	return nil
}
