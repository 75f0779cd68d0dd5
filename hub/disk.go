package hub

import (
	"sync/atomic"
	"time"
)

// semaphore is a lock that one goroutine may acquire and another one release.
type semaphore chan struct{}

func (s semaphore) acquire() { s <- struct{}{} }

func (s semaphore) release() { <-s }

// diskWatch holds the start times of the running write and sync; nil if there is none.
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

// notifyWhenSlow signals a change once the disk counts as slow, unless the timer is stopped before.
func (h *Hub) notifyWhenSlow() *time.Timer {
	return time.AfterFunc(slowAfter+time.Millisecond, h.signalChange)
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

// countCall calls a method of a writer, and counts it as in flight until it returns.
func (d *durability) countCall(call func() error) error {
	d.callsInFlight.Add(1)
	defer d.callsInFlight.Add(-1)
	return call()
}
