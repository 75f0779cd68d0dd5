package dbusapi

import (
	"fmt"
	"sync/atomic"
	"time"
)

// progress is when a loop last took a step. The zero value has not begun.
type progress struct{ last atomic.Pointer[time.Time] }

// step notes that a step was taken.
func (p *progress) step() {
	now := time.Now()
	p.last.Store(&now)
}

// check returns an error when the last step was longer ago than it may be.
func (p *progress) check(most time.Duration) error {
	last := p.last.Load()
	if last == nil {
		return nil
	}
	if ago := time.Since(*last); ago > most {
		return fmt.Errorf("no attempt to reach the bus for %v", ago.Round(time.Second))
	}
	return nil
}
