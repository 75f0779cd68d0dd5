package netwatch

import (
	"errors"
	"time"

	"github.com/osctl/eventd/hub"
)

// retryFull is the pause between two checks whether the hub's queue has room again.
const retryFull = 50 * time.Millisecond

// submit submits a batch to the hub without waiting. If the hub's queue is full, the hub's view lacks
// this batch and all later ones until catchUp.
func (w *Watcher) submit(batch hub.Batch) error {
	if w.lagging() {
		return nil
	}
	w.submitted.Add(1)
	err := w.hub.Submit(batch, func(uint64, error) { w.noteCommitted() })
	if err == nil {
		return nil
	}
	w.noteCommitted()
	if !errors.Is(err, hub.ErrBusy) {
		return err
	}
	now := w.now()
	if w.warnedAt.IsZero() || now.Sub(w.warnedAt) >= time.Minute {
		w.log.Warn("the hub's queue is full: changes are announced later, by their outcome")
		w.warnedAt = now
	}
	w.retryAt = now.Add(retryFull)
	return nil
}

// lagging reports whether the hub refused a batch, so that its view lacks changes.
func (w *Watcher) lagging() bool { return !w.retryAt.IsZero() }

// catchUp ends the lag once the hub has committed what it took before: it has the table announce what the
// view lacks.
func (w *Watcher) catchUp() {
	switch {
	case !w.lagging() || w.now().Before(w.retryAt):
	case w.submitted.Load() > 0:
		w.retryAt = w.now().Add(retryFull)
	default:
		w.retryAt = time.Time{}
		rows, _ := w.hub.Interfaces()
		w.table.Rebase(rows)
	}
}

// noteCommitted counts a committed batch. After the last one it wakes the loop, which may close Ready then.
func (w *Watcher) noteCommitted() {
	if w.submitted.Add(-1) == 0 {
		w.wake(nil)
	}
}

// closeReady closes Ready once the first finished dump is committed.
func (w *Watcher) closeReady() {
	if !w.resync.finished || w.submitted.Load() > 0 || w.lagging() {
		return
	}
	select {
	case <-w.ready:
	default:
		close(w.ready)
	}
}
