package owner

import "time"

// pace says when one may walk again. A walk is followed by a rest that is a multiple
// of what it cost, so that walks take a bounded share of one processor, whoever asks
// and however often.
type pace struct {
	least time.Duration // the shortest rest
	times int           // how many times its cost a walk is followed by rest
	grown time.Duration // as far as walks that find nothing new make the rest grow

	// The longest rest after a walk that found something new, as that is work done
	// once, and an event that waits should see another walk; 0 is no limit.
	fruitful time.Duration

	vain int       // walks in a row that found nothing new
	next time.Time // when the next walk may be
}

// maxRest bounds the rest, whatever the clock said a walk cost.
const maxRest = 30 * time.Second

func cgroupPace() pace {
	return pace{least: 20 * time.Millisecond, times: 20, grown: 200 * time.Millisecond, fruitful: 200 * time.Millisecond}
}

func processPace() pace {
	return pace{least: time.Second, times: 50, grown: time.Second}
}

func (p *pace) due(now time.Time) bool { return !now.Before(p.next) }

// done notes a walk that ended now. The cost is processor time.
func (p *pace) done(now time.Time, cost time.Duration, found bool) {
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
	rest = max(rest, time.Duration(p.times)*cost)
	if found && p.fruitful > 0 {
		rest = min(rest, p.fruitful)
	}
	p.next = now.Add(min(rest, maxRest))
}
