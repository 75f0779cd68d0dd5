package owner

import "time"

// pace says when one may walk again. Walks may take a share of one processor, whoever
// asks and however often; what they did not use of it they may use later, up to a
// burst, so that containers that start together are found at once.
type pace struct {
	least time.Duration // the shortest rest
	times int           // the share is one part in so many
	burst time.Duration // processor time that may be saved up
	grown time.Duration // as far as walks that find nothing new make the rest grow

	// The longest rest after a walk that found something new, as that is work done
	// once, and an event that waits should see another walk; 0 is no limit.
	fruitful time.Duration

	vain  int           // walks in a row that found nothing new
	spent time.Duration // processor time that was used and is not made up for, as of last
	last  time.Time     // when the last walk ended
	next  time.Time     // when the next walk may be
}

// maxRest bounds the rest, whatever the clock said a walk cost.
const maxRest = 30 * time.Second

func cgroupPace() pace {
	return pace{
		least: 5 * time.Millisecond, times: 20, burst: 60 * time.Millisecond,
		grown: 200 * time.Millisecond, fruitful: 200 * time.Millisecond,
	}
}

func processPace() pace {
	return pace{least: time.Second, times: 50, grown: time.Second}
}

func (p *pace) due(now time.Time) bool { return !now.Before(p.next) }

// done notes a walk that ended now. The cost is processor time.
func (p *pace) done(now time.Time, cost time.Duration, found bool) {
	if !p.last.IsZero() {
		p.spent = max(0, p.spent-now.Sub(p.last)/time.Duration(p.times))
	}
	p.spent += cost
	p.last = now
	rest := p.least
	if found {
		p.vain = 0
	} else {
		for range p.vain {
			if rest *= 2; rest >= p.grown {
				rest = p.grown
				break
			}
		}
		p.vain++
	}
	rest = max(rest, time.Duration(p.times)*(p.spent-p.burst))
	if found && p.fruitful > 0 {
		rest = min(rest, p.fruitful)
	}
	p.next = now.Add(min(rest, maxRest))
}
