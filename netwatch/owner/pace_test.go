package owner

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	p, now := cgroupPace(), time.Now()
	for i, c := range []struct {
		cost  time.Duration
		found bool
		rest  time.Duration
	}{
		{0, true, 20 * time.Millisecond},
		{time.Millisecond, false, 20 * time.Millisecond},
		{time.Millisecond, false, 40 * time.Millisecond},
		{time.Millisecond, false, 80 * time.Millisecond},
		{time.Millisecond, false, 160 * time.Millisecond},
		{time.Millisecond, false, 200 * time.Millisecond},
		{time.Millisecond, false, 200 * time.Millisecond},
		{50 * time.Millisecond, false, time.Second},
		{5 * time.Millisecond, true, 100 * time.Millisecond},
		{time.Millisecond, false, 20 * time.Millisecond},
		{60 * time.Millisecond, true, 200 * time.Millisecond},
		{time.Hour, false, maxRest},
	} {
		p.done(now, c.cost, c.found)
		if rest := p.next.Sub(now); rest != c.rest {
			t.Errorf("step %d: rest of %v, want %v", i, rest, c.rest)
		}
		if p.due(p.next.Add(-1)) || !p.due(p.next) {
			t.Errorf("step %d: due at another time than next", i)
		}
	}
	s := processPace()
	for _, cost := range []time.Duration{0, 50 * time.Millisecond} {
		s.done(now, cost, false)
		if rest := s.next.Sub(now); rest != max(time.Second, 50*cost) {
			t.Errorf("after all processes in %v a rest of %v", cost, rest)
		}
	}
}
