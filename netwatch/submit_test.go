package netwatch

import "time"

// waitCommitted waits until all that was submitted is committed, or for a minute.
func (w *Watcher) waitCommitted() {
	for end := time.Now().Add(time.Minute); w.submitted.Load() > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}
