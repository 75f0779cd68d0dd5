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
	// syncAfter is how long after a commit the log begins to be brought to the disk, or
	// once the last time is done. A loss of power costs what came since then.
	syncAfter = 500 * time.Millisecond
	// retryAfter is how long after trouble a new log is tried; doubled each time, up to
	// maxRetryAfter.
	retryAfter    = time.Second
	maxRetryAfter = time.Minute
	// diskPatience is how long the hub waits for the disk where it can do without, as for the
	// log to note that it is abandoned.
	diskPatience = time.Second
	// closePatience is how long Close waits for a write that is under way, and for the log to
	// be closed.
	closePatience = 2 * time.Second
	// diskLimit is how long a write or a sync may take. After that the log is abandoned.
	diskLimit = 5 * time.Second
	// loadPatience is how long New waits for the next record of the log.
	loadPatience = 10 * time.Second
	// slowAfter is how long a write or a sync takes before Status tells.
	slowAfter = time.Second
	// maxKeptBuffer is how large a buffer is kept for the next commit, in bytes.
	maxKeptBuffer = 256 << 10
)

var (
	errDiskHangs = errors.New("the disk hangs: a write or a sync did not return")
	errUnread    = errors.New("the disk hangs: the log was not read in time")
	errSlow      = errors.New("the disk is slow: a write or a sync takes more than a second")
)

// durability is the hub's side of the log. In trouble the hub lets go of its writer, and goes
// on in memory; [Hub.Run] writes a new log then, see rewrite.go.
type durability struct {
	log       Log // nil for none
	logger    *slog.Logger
	attention chan struct{} // holds a token when there is something to do for Run
	written   atomic.Bool   // since the last Sync
	disk      diskWatch
	buffer    []byte       // the committer's
	underWay  atomic.Int32 // calls of writers, also of writers that were abandoned
	tending   semaphore    // held while the log is loaded, synced, written anew, or closed

	// Changed by the committer only, with the hub's lock held.
	writer   Writer // nil: commits stay in memory
	finished bool   // the writer's log counts: the next start reads it
	problem  error  // why some events are not in the log that counts
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

// tellWhenSlow has Changed tell that the disk is slow, unless the timer is stopped before.
func (h *Hub) tellWhenSlow() *time.Timer {
	return time.AfterFunc(slowAfter+time.Millisecond, h.noteChange) // slow is more than slowAfter
}

// durable and problemText are called with the hub's lock held.
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

// nudge tells Run that there is something to do.
func (d *durability) nudge() {
	select {
	case d.attention <- struct{}{}:
	default: // it knows already
	}
}

// tryDisk calls do, which may hang. It waits for it no longer than limit.
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

// countCall counts a call of a writer until it returns, also when nobody waits for it any more.
func (d *durability) countCall(call func() error) error {
	d.underWay.Add(1)
	defer d.underWay.Add(-1)
	return call()
}

// store appends a numbered batch to the log. It returns false if the committer was replaced
// meanwhile; then its successor calls instead.
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

// rotate has the log begin with a snapshot again if it is time for that.
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

// abandonLog lets go of the log before the first event is announced that it lacks. The log is
// marked, so that no start gives a number twice in one epoch. If it cannot be marked, another
// epoch begins at once, which no start takes for its own. Only the committer calls it.
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

// Run looks after the log until ctx is done: it begins to bring it to the disk half a second
// after a commit, and after trouble it tries to write a new one after a second, then more and
// more seldom, up to once a minute. Without a log it only waits. It does not wait for a disk
// that hangs.
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
			continue // trouble began meanwhile: it is waited for as long as is due
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

// backOff says how long to wait before a new log is tried. A new log alone proves little, as the
// next write may fail: to write one each second would wear a disk out.
type backOff struct {
	trouble bool
	tries   int
	since   time.Time // when trouble was over last
}

// next returns how long to wait for the next try. After maxRetryAfter without trouble it begins
// anew.
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

// tendUntil tends the log. It ends with ctx, also if the disk hangs: then Close waits for the rest.
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

// tend syncs the log, or writes a new one where there is none.
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

// sync brings the log to the disk. A sync that fails or does not return in time is trouble.
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

// waitBetween has work done between two commits, or after the last one, and waits for it. The
// caller holds tending.
func (h *Hub) waitBetween(work func()) {
	done := make(chan struct{})
	if !h.between(func(*committer) { defer close(done); work() }) {
		work()
		return
	}
	<-done
}

// writeMissing writes a new log for Close, unless Run has left one that is written by now.
func (h *Hub) writeMissing() error {
	h.tending.acquire()
	defer h.tending.release()
	if h.currentWriter() != nil {
		return nil
	}
	return h.rewrite()
}

// closeLog ends the log after the last commit. It waits for a sync or a new log that is under way,
// because to close the new log would discard it.
func (h *Hub) closeLog() error {
	h.tending.acquire() // for good: nothing else may touch the log from now on
	var err error
	if w := h.currentWriter(); w != nil {
		err = w.Close(h.durable())
	}
	return errors.Join(err, h.log.Close())
}

// endLog closes the log, and says what is lost. It does not wait for a disk that hangs.
func (h *Hub) endLog() {
	err := tryDisk(closePatience, h.closeLog)
	if problem := h.logProblem(); problem != nil {
		h.logger.Error("events are lost with the end of the service: the log cannot be written", slog.Any("error", problem))
	} else if err != nil {
		h.logger.Error("the log cannot be closed", slog.Any("error", err))
	}
}
