package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	// syncAfter is how long after a commit a sync begins. A loss of power costs the events
	// since the last sync began.
	syncAfter = 500 * time.Millisecond
	// retryAfter is the first delay before a new log is tried after trouble. It doubles each
	// time, up to maxRetryAfter.
	retryAfter    = time.Second
	maxRetryAfter = time.Minute
	// diskPatience is how long the hub waits for the disk where it has an alternative, as for
	// the mark of an abandoned log.
	diskPatience = time.Second
	// closePatience is how long Close waits for the queue of commits, and then for the log to
	// be closed.
	closePatience = 2 * time.Second
	// diskLimit is how long a write or a sync may take. After that the log is abandoned.
	diskLimit = 5 * time.Second
	// loadPatience is how long New waits for the next record of the log.
	loadPatience = 10 * time.Second
	// slowAfter is how long a write or a sync takes before Status says that the disk is slow.
	slowAfter = time.Second
	// maxKeptBuffer is the size of the largest buffer that is reused, in bytes.
	maxKeptBuffer = 256 << 10
)

var (
	errDiskHangs = errors.New("the disk hangs: a write or a sync did not return")
	errUnread    = errors.New("the disk hangs: the log was not read in time")
	errSlow      = errors.New("the disk is slow: a write or a sync takes more than a second")
)

// durability is the hub's side of the log. In trouble the hub drops its writer and continues in
// memory; then [Hub.Run] writes a new log, see rewrite.go.
type durability struct {
	log       Log // nil for none
	logger    *slog.Logger
	attention chan struct{} // holds a token when Run has something to do
	written   atomic.Bool   // since the last Sync
	disk      diskWatch
	buffer    []byte       // the committer's
	underWay  atomic.Int32 // calls of writers, also of writers that were abandoned
	tending   semaphore    // held while the log is loaded, synced, rewritten or closed

	// Only the committer changes these, with the hub's lock held.
	writer   Writer // nil: commits stay in memory
	finished bool   // the writer's log is the current one, which the next start reads
	problem  error  // why the current log lacks events
}

// semaphore is a lock that one goroutine may take and another one release.
type semaphore chan struct{}

func (s semaphore) acquire() { s <- struct{}{} }

func (s semaphore) release() { <-s }

// diskWatch knows since when a write and a sync are under way; nil if none is.
type diskWatch [2]atomic.Pointer[time.Time]

const (
	diskWrite = iota
	diskSync
)

func (d *diskWatch) begin(what int) {
	now := time.Now()
	d[what].Store(&now)
}

func (d *diskWatch) end(what int) { d[what].Store(nil) }

func (d *diskWatch) slow() bool {
	for i := range d {
		if began := d[i].Load(); began != nil && time.Since(*began) > slowAfter {
			return true
		}
	}
	return false
}

// tellWhenSlow announces by Changed that the disk is slow, unless the timer is stopped before.
func (h *Hub) tellWhenSlow() *time.Timer {
	return time.AfterFunc(slowAfter+time.Millisecond, h.noteChange) // when slow reports true
}

// durable reports whether the current log has all events. The caller holds the hub's lock, as of
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

// nudge wakes Run.
func (d *durability) nudge() {
	select {
	case d.attention <- struct{}{}:
	default: // a token is there
	}
}

// tryDisk calls do in a goroutine and waits for it, but no longer than limit.
func tryDisk(limit time.Duration, do func() error) error {
	done := make(chan error, 1)
	go func() { done <- do() }()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return errDiskHangs
	}
}

// countCall counts a call of a writer as under way until it returns, even if nobody waits for it.
func (d *durability) countCall(call func() error) error {
	d.underWay.Add(1)
	defer d.underWay.Add(-1)
	return call()
}

// store appends a numbered batch to the log. It returns false if the committer was replaced
// meanwhile; then the successor calls instead.
func (c *committer) store(batch *Batch, instead func()) bool {
	h := c.hub
	w := h.writer
	if w == nil || len(batch.Events) == 0 && len(batch.Interfaces) == 0 && batch.Place == "" {
		return true
	}
	h.buffer = appendBatch(h.buffer[:0], batch)
	record := Record{First: h.next, Count: uint32(len(batch.Events)), Data: h.buffer} //nolint:gosec // at most MaxBatch
	ok, err := c.write(func() error { return w.Append(record) }, instead)
	switch {
	case !ok:
		return false
	case err != nil:
		h.abandonLog(err)
	case !h.written.Swap(true):
		h.nudge()
	}
	if cap(h.buffer) > maxKeptBuffer {
		h.buffer = nil
	}
	return true
}

// rotate adds a snapshot to the log when it is due, so that old records can be dropped.
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

// abandonLog drops the writer before the first event is published that the log lacks. It marks the
// log, so that the next start begins another epoch: else that would give the numbers of these events
// again. If the mark cannot be written, another epoch begins at once. Only the committer calls it.
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
	h.noteChange()
	h.nudge()
}

// Run maintains the log until ctx is done: it syncs the log half a second after a commit, and
// after trouble it tries to write a new one, with a delay that doubles from a second to a minute.
// Without a log it only waits. It does not wait for a disk that hangs.
func (h *Hub) Run(ctx context.Context) error {
	var back backOff
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.attention:
		}
		wait, problem := syncAfter, h.logProblem()
		if problem != nil {
			if !back.trouble {
				h.logger.Error("the log cannot be written: events are kept in memory only", slog.Any("error", problem))
			}
			wait = back.next()
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if problem == nil && h.logProblem() != nil {
			continue // trouble began meanwhile, which has a delay of its own
		}
		err, ended := h.tendUntil(ctx)
		h.noteChange()
		switch {
		case ended:
			return nil
		case err == nil && back.trouble:
			h.logger.Info("the log is written again")
			back.over()
		}
	}
}

// backOff is the delay before a new log is tried. A new log does not reset it at once, because the
// next write may fail: a new log each second would wear a disk out.
type backOff struct {
	trouble bool
	tries   int
	since   time.Time // the end of the last trouble
}

// next returns the delay before the next try. It is short again after maxRetryAfter without trouble.
func (b *backOff) next() time.Duration {
	if !b.trouble && time.Since(b.since) > maxRetryAfter {
		b.tries = 0
	}
	wait := min(retryAfter<<min(b.tries, 6), maxRetryAfter)
	b.trouble = true
	b.tries++
	return wait
}

func (b *backOff) over() { b.trouble, b.since = false, time.Now() }

// tendUntil calls tend. It returns when ctx is done, even if the disk hangs: then Close waits for
// tend.
func (h *Hub) tendUntil(ctx context.Context) (err error, ended bool) { //nolint:revive // the error is the result of tend
	done := make(chan error, 1)
	go func() { done <- h.tend() }()
	select {
	case err := <-done:
		return err, false
	case <-ctx.Done():
		return nil, true
	}
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

// tend syncs the log, or writes a new one after trouble.
func (h *Hub) tend() error {
	if h.log == nil {
		return nil
	}
	h.tending.acquire()
	defer h.tending.release()
	h.written.Store(false)
	if w := h.currentWriter(); w != nil {
		return h.sync(w)
	}
	err := h.rewrite()
	if err != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.problem = err
		h.nudge()
	}
	return err
}

// sync syncs the log. If that fails or does not return in time, the log is abandoned.
func (h *Hub) sync(w Writer) error {
	slow := h.tellWhenSlow()
	h.disk.begin(diskSync)
	err := tryDisk(diskLimit, func() error { return h.countCall(w.Sync) })
	h.disk.end(diskSync)
	slow.Stop()
	if err != nil {
		err = fmt.Errorf("sync the log: %w", err)
		h.waitBetween(func() {
			if h.writer == w {
				h.abandonLog(err)
			}
		})
	}
	return err
}

// waitBetween has the committer call work between two commits, and waits for that. After the last
// commit it calls work itself. The caller holds tending.
func (h *Hub) waitBetween(work func()) {
	done := make(chan struct{})
	if !h.between(func(*committer) { defer close(done); work() }) {
		work()
		return
	}
	<-done
}

// writeMissing writes a new log for Close, unless the tend that Run left has done that.
func (h *Hub) writeMissing() error {
	h.tending.acquire()
	defer h.tending.release()
	if h.currentWriter() != nil {
		return nil
	}
	return h.rewrite()
}

// closeLog closes the log after the last commit. It waits for a rewrite that is under way, because
// Close would discard the new log.
func (h *Hub) closeLog() error {
	h.tending.acquire() // and keeps it: nothing may touch the log from now on
	var err error
	if w := h.currentWriter(); w != nil {
		err = w.Close(h.durable())
	}
	return errors.Join(err, h.log.Close())
}

// endLog closes the log and logs what is lost. It does not wait for a disk that hangs.
func (h *Hub) endLog() {
	err := tryDisk(closePatience, h.closeLog)
	if problem := h.logProblem(); problem != nil {
		h.logger.Error("events are lost with the end of the service: the log cannot be written", slog.Any("error", problem))
	} else if err != nil {
		h.logger.Error("the log cannot be closed", slog.Any("error", err))
	}
}
