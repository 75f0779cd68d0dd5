package netwatch

import (
	"errors"

	"github.com/osctl/eventd/hub"
)

// submit hands a batch to the hub. It does not wait for the disk, unless the hub's queue is full.
func (w *Watcher) submit(batch hub.Batch) error {
	w.submitted.Add(1)
	err := w.hub.Submit(batch, func(uint64, error) { w.committed() })
	if errors.Is(err, hub.ErrBusy) {
		_, err = w.hub.Commit(batch)
	} else if err == nil {
		return nil
	}
	w.committed()
	return err
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
	if !w.resync.whole || w.submitted.Load() > 0 {
		return
	}
	select {
	case <-w.ready:
	default:
		close(w.ready)
	}
}
