package owner

import "time"

// pace says when one may look or walk again. It may take a share of one processor, whoever
// asks and however often; what it did not use of that it may use later, up to a
// burst, so that containers that start together are found at once.
type pace struct {
	least time.Duration // the shortest rest
	times int           // the share is one part in so many
	burst time.Duration // processor time that may be saved up
	grown time.Duration // as far as finding nothing new makes the rest grow

	// What is free for each owner that is found. It is work that is done once, and small
	// beside what the start of a container takes.
	prize time.Duration
	// The longest rest after something new was found, as an event that waits should
	// see another walk; 0 is no limit.
	fruitful time.Duration

	vain  int           // times in a row that nothing new was found
	spent time.Duration // processor time that was used and is not made up for, as of last
	last  time.Time     // when it was last done
	broke time.Time     // until when there is no processor time for it
	next  time.Time     // when it may be done again
}

// maxRest bounds the rest, whatever the clock said it cost.
const maxRest = 30 * time.Second

func lookPace() pace {
	return pace{
		least: time.Millisecond, times: 20, burst: 60 * time.Millisecond, grown: 10 * time.Millisecond,
		prize: 500 * time.Microsecond, fruitful: 5 * time.Millisecond,
	}
}

func cgroupPace() pace {
	return pace{
		least: 5 * time.Millisecond, times: 20, burst: 60 * time.Millisecond, grown: 200 * time.Millisecond,
		fruitful: 200 * time.Millisecond,
	}
}

func processPace() pace {
	return pace{least: time.Second, times: 50, grown: time.Second}
}

// due reports whether it may be done now. What is done for the first time need not wait for
// the rest that comes of finding nothing.
func (p *pace) due(now time.Time, again bool) bool {
	return !now.Before(p.broke) && (!again || !now.Before(p.next))
}

// done notes that it was done, and ended now. The cost is processor time.
func (p *pace) done(now time.Time, cost time.Duration, found int) {
	if !p.last.IsZero() {
		p.spent = max(0, p.spent-now.Sub(p.last)/time.Duration(p.times))
	}
	p.spent += max(0, cost-time.Duration(found)*p.prize)
	p.last = now
	rest := p.least
	if found > 0 {
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
	broke := min(time.Duration(p.times)*max(0, p.spent-p.burst), maxRest)
	if found > 0 && p.fruitful > 0 {
		broke = min(broke, p.fruitful)
	}
	p.broke = now.Add(broke)
	p.next = now.Add(max(rest, broke))
}
