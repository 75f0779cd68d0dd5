package hub

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	// syncAfter is the delay from a commit to the sync. A loss of power costs the events since
	// the last sync began.
	syncAfter = 500 * time.Millisecond
	// retryAfter is the first delay before a new log is written after a failure. It doubles each
	// time, up to maxRetryAfter.
	retryAfter    = time.Second
	maxRetryAfter = time.Minute
	// diskPatience is how long the hub waits for the disk if there is an alternative, as for
	// the mark of an abandoned log.
	diskPatience = time.Second
	// closePatience is how long Close waits for the queue of commits, and then for the log to
	// be closed.
	closePatience = 2 * time.Second
	// diskLimit is how long a write or a sync may take before the hub abandons the log.
	diskLimit = 5 * time.Second
	// loadPatience is how long New waits for the next record of the log.
	loadPatience = 10 * time.Second
	// slowAfter is how long a write or a sync may take before Status says that the disk is slow.
	slowAfter = time.Second
	// maxKeptBuffer is the size of the largest reused buffer, in bytes.
	maxKeptBuffer = 256 << 10
)

var (
	errDiskHangs = errors.New("the disk hangs: a write or a sync did not return")
	errUnread    = errors.New("the disk hangs: the log was not read in time")
	errSlow      = errors.New("the disk is slow: a write or a sync takes more than a second")
)

// durability is the hub's side of the log. After a failure the hub drops its writer and continues in
// memory; then [Hub.Run] writes a new log, see rewrite.go.
type durability struct {
	log           Log // nil for none
	logger        *slog.Logger
	runWake       chan struct{} // holds a token when Run has something to do
	unsynced      atomic.Bool   // since the last Sync
	disk          diskWatch
	buffer        []byte       // the committer's
	callsInFlight atomic.Int32 // calls of writers, also of writers that were abandoned
	logLock       semaphore    // held while the log is loaded, synced, rewritten or closed

	// Only the committer changes these, with the hub's lock held.
	writer   Writer // nil: commits stay in memory
	finished bool   // the writer's log is the current one, which the next start reads
	problem  error  // why the current log lacks events; Run changes it, too
}

// durable reports whether the current log has all events. The caller holds the hub's lock, as for
// problemText.
func (d *durability) durable() bool { return d.writer != nil && d.finished }

func (d *durability) problemText() string {
	switch {
	case d.problem != nil:
		return validText(d.problem.Error()) // it may name a path
	case d.disk.slow():
		return errSlow.Error()
	}
	return ""
}

// wakeRun wakes Run.
func (d *durability) wakeRun() {
	select {
	case d.runWake <- struct{}{}:
	default: // a token is there
	}
}

// store appends a numbered batch to the log. It returns false if the committer was replaced
// meanwhile; then the successor calls onReplaced.
func (c *committer) store(batch *Batch, onReplaced func()) bool {
	h := c.hub
	w := h.writer
	if w == nil || len(batch.Events) == 0 && len(batch.Interfaces) == 0 && batch.Place == "" {
		return true
	}
	h.buffer = appendBatch(h.buffer[:0], batch)
	record := Record{First: h.next, Count: uint32(len(batch.Events)), Data: h.buffer} //nolint:gosec // at most MaxBatch
	ok, err := c.write(func() error { return w.Append(record) }, onReplaced)
	switch {
	case !ok:
		return false
	case err != nil:
		h.abandonLog(err)
	case !h.unsynced.Swap(true):
		h.wakeRun()
	}
	if cap(h.buffer) > maxKeptBuffer {
		h.buffer = nil
	}
	return true
}

// rotate adds a snapshot to a log that is full, so that old records can be dropped.
func (c *committer) rotate() {
	h := c.hub
	w := h.writer
	if w == nil || !h.finished || !w.Full() {
		return
	}
	snapshot := h.snapshotRecords()
	ok, err := c.write(func() error { return w.Rotate(snapshot) }, func() {})
	if ok && err != nil {
		h.abandonLog(err)
	}
}

// abandonLog drops the writer. It is called before an event is published that the log lacks. It marks
// the log, so that the next start begins another epoch and does not reuse the numbers of these
// events. If the mark cannot be written, another epoch begins at once. Only the committer and New
// call it.
func (h *Hub) abandonLog(problem error) {
	w := h.writer
	if w == nil {
		return
	}
	err := tryDisk(diskPatience, func() error { return h.countCall(w.Abandon) })
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writer, h.finished, h.problem = nil, false, problem
	if err != nil {
		h.epoch = NewEpoch()
	}
	h.signalChange()
	h.wakeRun()
}

func (h *Hub) logProblem() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.problem
}

func (h *Hub) currentWriter() Writer {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.writer
}
