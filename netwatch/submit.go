package netwatch

import (
	"errors"
	"sync"
	"time"

	"github.com/osctl/eventd/hub"
)

// lastCommits is how long the end of Run waits for what was submitted to be committed.
const lastCommits = 2 * time.Second

// submitted counts the batches that the hub has and has not committed yet.
type submitted struct {
	mu   sync.Mutex
	open int
	none chan struct{} // closed when there are none; nil while nobody waits for that
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
	if s.open == 0 && s.none != nil {
		close(s.none)
		s.none = nil
	}
	return s.open == 0
}

func (s *submitted) isEmpty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open == 0
}

// wait waits until all is committed, or for limit.
func (s *submitted) wait(limit time.Duration) {
	s.mu.Lock()
	if s.open == 0 {
		s.mu.Unlock()
		return
	}
	none := make(chan struct{})
	s.none = none
	s.mu.Unlock()
	select {
	case <-none:
	case <-time.After(limit):
	}
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
