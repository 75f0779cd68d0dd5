package netwatch

import (
	"errors"
	"sync"

	"github.com/osctl/eventd/hub"
)

// submitted counts the batches that the hub has and has not committed yet.
type submitted struct {
	mu   sync.Mutex
	open int
}

func (s *submitted) add() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open++
}

// done reports whether that was the last.
func (s *submitted) done() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	return s.open == 0
}

func (s *submitted) isEmpty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open == 0
}

// submit hands a batch to the hub. It does not wait for the disk, unless the hub's queue is full.
func (w *Watcher) submit(batch hub.Batch) error {
	w.submitted.add()
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
	if w.submitted.done() && w.awaited() {
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
	if !w.resync.whole || !w.submitted.isEmpty() {
		return
	}
	select {
	case <-w.ready:
	default:
		close(w.ready)
	}
}
