package netwatch

import (
	"context"
	"time"
)

const (
	// gatherFor is how long a pause lasts. It is short beside what the start of a
	// container takes.
	gatherFor = 5 * time.Millisecond
	// burstOf is how many namespaces more than there were within burstIn are a burst.
	burstOf = 8
	burstIn = time.Second
)

// pauses let messages gather while more and more containers start. Each of their
// messages would wake a thread, and each answer to a question that comes of it another:
// to wake up takes several times as long as to deal with what came. Containers that
// come and go at the same pace are no burst: of those that live for milliseconds it has
// to be asked at once whose they are.
type pauses struct {
	least int       // fewest namespaces
	since time.Time // in the time from here on
}

// take takes a pause after a turn, if there is a burst: with that many namespaces known.
func (p *pauses) take(ctx context.Context, now time.Time, namespaces int) {
	if now.Sub(p.since) > burstIn {
		p.least, p.since = namespaces, now
	}
	p.least = min(p.least, namespaces)
	if namespaces < p.least+burstOf {
		return
	}
	timer := time.NewTimer(gatherFor)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
