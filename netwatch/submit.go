package netwatch

import (
	"errors"
	"time"

	"github.com/osctl/eventd/hub"
)

// retryFull is how often the watcher looks whether the hub's queue has room again.
const retryFull = 20 * time.Millisecond

// submit hands a batch to the hub, and waits for nothing. If the hub's queue is full, the hub's view
// lacks this batch and all that follow until restart.
func (w *Watcher) submit(batch hub.Batch) error {
	if w.lagging() {
		return nil
	}
	w.submitted.Add(1)
	err := w.hub.Submit(batch, func(uint64, error) { w.committed() })
	if err == nil {
		return nil
	}
	w.committed()
	if !errors.Is(err, hub.ErrBusy) {
		return err
	}
	w.log.Warn("the hub's queue is full: its view is compared with the links when there is room")
	w.retryAt = w.now().Add(retryFull)
	return nil
}

// lagging reports whether the hub refused a batch, so that its view lacks changes of the table.
func (w *Watcher) lagging() bool { return !w.retryAt.IsZero() }

// catchUp ends the lag once the hub has committed what it took: the table begins anew with the hub's
// view, which is then compared with a dump and with the cgroups.
func (w *Watcher) catchUp() error {
	if !w.lagging() || w.now().Before(w.retryAt) {
		return nil
	}
	if w.submitted.Load() > 0 {
		w.retryAt = w.now().Add(retryFull)
		return nil
	}
	w.retryAt = time.Time{}
	rows, _ := w.hub.Interfaces()
	w.table.Restart(rows)
	w.resync.want(becauseFull)
	return w.beginStates(w.submit)
}

// committed notes that a batch is committed, and has the loop look if somebody waits for that.
func (w *Watcher) committed() {
	if w.submitted.Add(-1) == 0 && w.awaited() {
		w.wake(nil)
	}
}

// awaited reports whether somebody waits for commits: for Ready, or for the end of Settle.
func (w *Watcher) awaited() bool {
	select {
	case <-w.ready:
	default:
		return true
	}
	b := &w.inbox
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiters) > 0
}

// sayReady closes Ready once the first whole dump is committed.
func (w *Watcher) sayReady() {
	if !w.resync.whole || w.submitted.Load() > 0 || w.lagging() {
		return
	}
	select {
	case <-w.ready:
	default:
		close(w.ready)
	}
}
