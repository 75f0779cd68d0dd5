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
		{0, true, 5 * time.Millisecond},
		{time.Millisecond, false, 5 * time.Millisecond},
		{time.Millisecond, false, 10 * time.Millisecond},
		{time.Millisecond, false, 20 * time.Millisecond},
		{time.Millisecond, false, 40 * time.Millisecond},
		{time.Millisecond, false, 80 * time.Millisecond},
		{time.Millisecond, false, 160 * time.Millisecond},
		{time.Millisecond, false, 200 * time.Millisecond},
		{48 * time.Millisecond, false, 200 * time.Millisecond},  // 55 ms spent, 60 were saved up
		{10 * time.Millisecond, true, 100 * time.Millisecond},   // 5 ms too much
		{5 * time.Millisecond, false, 200 * time.Millisecond},   // 10 ms too much
		{60 * time.Millisecond, false, 1400 * time.Millisecond}, // 70 ms too much
		{60 * time.Millisecond, true, 200 * time.Millisecond},   // but it found something
		{time.Hour, false, maxRest},
	} {
		found := 0
		if c.found {
			found = 1
		}
		p.done(now, c.cost, found)
		if rest := p.next.Sub(now); rest != c.rest {
			t.Errorf("step %d: rest of %v, want %v", i, rest, c.rest)
		}
		if p.due(p.next.Add(-1), true) || !p.due(p.next, true) {
			t.Errorf("step %d: due at another time than next", i)
		}
	}
	p.spent = 100 * time.Millisecond
	now = now.Add(time.Second) // which makes up for 50 ms
	p.done(now, 0, 1)
	if p.spent != 50*time.Millisecond || p.next.Sub(now) != p.least {
		t.Errorf("after a second %v are spent, rest of %v", p.spent, p.next.Sub(now))
	}
	s := processPace()
	for _, cost := range []time.Duration{0, 50 * time.Millisecond} {
		s.done(now, cost, 0)
		if rest := s.next.Sub(now); rest != max(time.Second, 50*cost) {
			t.Errorf("after all processes in %v a rest of %v", cost, rest)
		}
	}
}

// TestPaceOfLooks wants the first look for a namespace not to wait for what was not found
// before, and what finds owners to cost nothing.
func TestPaceOfLooks(t *testing.T) {
	p, now := lookPace(), time.Now()
	p.done(now, time.Millisecond, 0)
	if p.due(now, true) || !p.due(now, false) {
		t.Error("a look in vain does not delay the next for the same, or does for another")
	}
	for range 1000 {
		p.done(now, 400*time.Microsecond, 1)
	}
	if p.spent != time.Millisecond {
		t.Errorf("looks that found something cost %v", p.spent-time.Millisecond)
	}
	p.done(now, 60*time.Millisecond, 0) // 1 ms too much
	if p.due(now.Add(20*time.Millisecond-1), false) || !p.due(now.Add(20*time.Millisecond), false) {
		t.Errorf("the rest is until %v", p.broke.Sub(now))
	}
}
