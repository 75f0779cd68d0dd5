package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Run maintains the log until ctx is done. It syncs the log half a second after a commit. After a
// failure it tries to write a new one, with a delay that doubles from a second to a minute.
// Without a log it only waits. It does not wait for a disk that hangs.
func (h *Hub) Run(ctx context.Context) error {
	var back backOff
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.runWake:
		}
		wait, problem := syncAfter, h.logProblem()
		if problem != nil {
			if !back.failing {
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
			continue // the log failed meanwhile, which has a delay of its own
		}
		err := h.maintainUntil(ctx)
		h.signalChange()
		if err == nil && back.failing {
			h.logger.Info("the log is written again")
			back.markRecovered()
		}
	}
}

// backOff is the delay before a new log is written. A new log does not reset it at once: if the next
// write fails, too, a new log each second would wear the disk out.
type backOff struct {
	failing   bool
	tries     int
	recovered time.Time
}

// next returns the delay before the next try. It is short again after maxRetryAfter without a failure.
func (b *backOff) next() time.Duration {
	if !b.failing && time.Since(b.recovered) > maxRetryAfter {
		b.tries = 0
	}
	wait := min(retryAfter<<min(b.tries, 6), maxRetryAfter)
	b.failing = true
	b.tries++
	return wait
}

func (b *backOff) markRecovered() { b.failing, b.recovered = false, time.Now() }

// maintainUntil calls maintain. When ctx is done it returns even if the disk hangs; then Close waits
// for maintain.
func (h *Hub) maintainUntil(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- h.maintain() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// maintain syncs the log, or writes a new one after a failure.
func (h *Hub) maintain() error {
	if h.log == nil {
		return nil
	}
	h.logLock.acquire()
	defer h.logLock.release()
	h.unsynced.Store(false)
	if w := h.currentWriter(); w != nil {
		return h.sync(w)
	}
	err := h.rewrite()
	if err != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.problem = err
		h.wakeRun()
	}
	return err
}

// sync syncs the log. If that fails or takes too long, the hub abandons the log.
func (h *Hub) sync(w Writer) error {
	slow := h.notifyWhenSlow()
	h.disk.begin(diskSync)
	err := tryDisk(diskLimit, func() error { return h.countCall(w.Sync) })
	h.disk.end(diskSync)
	slow.Stop()
	if err != nil {
		err = fmt.Errorf("sync the log: %w", err)
		h.runOnCommitter(func() {
			if h.writer == w {
				h.abandonLog(err)
			}
		})
	}
	return err
}

// runOnCommitter has the committer call work between two commits, and waits for it. After the last
// commit it calls work itself. The caller holds logLock.
func (h *Hub) runOnCommitter(work func()) {
	done := make(chan struct{})
	if !h.enqueueWork(func(*committer) { defer close(done); work() }) {
		work()
		return
	}
	<-done
}

// rewriteIfNeeded writes a new log for Close, unless the maintain call that Run left behind did.
func (h *Hub) rewriteIfNeeded() error {
	h.logLock.acquire()
	defer h.logLock.release()
	if h.currentWriter() != nil {
		return nil
	}
	return h.rewrite()
}

// closeLog closes the log after the last commit. It waits for a running rewrite, because closing
// would discard the new log.
func (h *Hub) closeLog() error {
	h.logLock.acquire() // and never released: nothing may touch the log from now on
	var err error
	if w := h.currentWriter(); w != nil {
		err = w.Close(h.durable())
	}
	return errors.Join(err, h.log.Close())
}

// endLog closes the log and logs any loss. It does not wait for a disk that hangs.
func (h *Hub) endLog() {
	err := tryDisk(closePatience, h.closeLog)
	if problem := h.logProblem(); problem != nil {
		h.logger.Error("events are lost at the end of the service: the log cannot be written", slog.Any("error", problem))
	} else if err != nil {
		h.logger.Error("the log cannot be closed", slog.Any("error", err))
	}
}
