package hub

import (
	"sync/atomic"
	"time"
)

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
