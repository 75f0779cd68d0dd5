package netwatch

import (
	"context"
	"time"
)

const (
	// burstOf is how many namespaces more than there were a moment ago are a burst.
	burstOf = 8
	// burstIn is how long the moment is, at least; it is less than three times that.
	burstIn = time.Second
	// gatherFor is how long a pause lasts for each of them, within bounds. It is short
	// beside what the start of a container takes: of many that start together each
	// takes the longer, as they share the machine.
	gatherFor   = 200 * time.Microsecond
	gatherLeast = 5 * time.Millisecond
	gatherMost  = 50 * time.Millisecond // with the default receive buffer
	// brief is how long a namespace lives at most whose owner might be missed because of
	// a pause. That is several times as long as one is, as to ask takes a processor, too.
	brief = 4 * gatherMost
	// alertFor is for how long there are no pauses when one was that brief.
	alertFor = 10 * time.Second
)

// pauses let messages gather while more and more containers start. Each of their
// messages would wake a thread, and each answer to a question that comes of it another:
// to wake up takes several times as long as to deal with what came. Of containers that
// live for milliseconds it has to be asked at once whose they are: so those that come
// and go at the same pace are no burst, and one that was brief ends the pauses for a while,
// as where there is one there are more.
type pauses struct {
	most   time.Duration // the longest
	before int           // fewest namespaces in the burstIn before since
	least  int           // fewest namespaces from then on
	since  time.Time     // zero at first
}

// newPauses returns pauses that are the shorter the smaller a receive buffer is, in
// bytes: it fills meanwhile, and what has no room in it is lost.
func newPauses(receiveBuffer int) pauses {
	most := gatherMost * time.Duration(receiveBuffer) / DefaultReceiveBuffer
	return pauses{most: min(max(most, gatherLeast), gatherMost)}
}

// take takes a pause after a turn, if there is a burst: with that many namespaces known.
// It ends at an instant at the latest, when an event may wait no longer; the zero time is never.
func (p *pauses) take(ctx context.Context, now time.Time, namespaces int, until time.Time) {
	if age := now.Sub(p.since); age >= burstIn {
		p.before, p.least, p.since = p.least, namespaces, now
		if age >= 2*burstIn {
			p.before = namespaces // nothing is known of the burstIn before
		}
	}
	p.least = min(p.least, namespaces)
	more := namespaces - min(p.before, p.least)
	if more < burstOf {
		return
	}
	pause := min(max(time.Duration(more)*gatherFor, gatherLeast), p.most)
	if !until.IsZero() {
		pause = min(pause, until.Sub(now))
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
