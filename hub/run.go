package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

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
		err := h.tendUntil(ctx)
		h.noteChange()
		if err == nil && back.trouble {
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
func (h *Hub) tendUntil(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- h.tend() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
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
