package dbusapi

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// paced is a dispatcher in a bubble, whose calls take a millisecond each.
type paced struct {
	*dispatcher
	t       *testing.T
	handled map[string][]uint32
	serials map[string]uint32 // of the senders' last calls
	missing bool              // the bus refuses some calls before each that it takes
	takes   time.Duration     // each call
	makes   string            // the calls that those make that crowd
}

func newPaced(t *testing.T, limit int, settle func(context.Context)) *paced {
	t.Helper()
	p := &paced{dispatcher: newDispatcher(limit), t: t, handled: map[string][]uint32{}, serials: map[string]uint32{}, takes: time.Millisecond, makes: "Report"}
	p.start(func(m *message) {
		time.Sleep(p.takes)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.handled[m.Sender] = append(p.handled[m.Sender], m.Serial)
	}, func(string, uint64) {}, settle)
	return p
}

// calls has a sender make n calls.
func (p *paced) calls(sender, member string, n int) {
	p.t.Helper()
	for range n {
		p.serials[sender]++
		if p.missing {
			p.serials[sender] += 4
		}
		m := queued(sender, p.serials[sender], 300)
		m.Member = member
		if err := p.offer(m); err != nil {
			p.t.Fatal(err)
		}
	}
}

// count returns how many calls of a sender were handled.
func (p *paced) count(sender string) int {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.handled[sender])
}

// run lets time go by, a call of the others each 5 ms. Those that crowd keep as many
// waiting as window says.
func (p *paced) run(d time.Duration, window int, crowds []string, member string, others ...string) {
	for range d / (5 * time.Millisecond) {
		for _, other := range others {
			p.calls(other, member, 1)
		}
		for _, sender := range crowds {
			p.calls(sender, p.makes, window-p.waitingOf(sender))
		}
		time.Sleep(5 * time.Millisecond)
	}
	synctest.Wait()
}

// waitingOf returns how many calls of a sender wait.
func (p *paced) waitingOf(sender string) int {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if b := p.senders[sender]; b != nil {
		return b.waiting
	}
	return 0
}

// Who crowds gets a share of the time while others are at work, all that crowd together,
// and all of it otherwise. Each sender's calls stay in order.
func TestPaceShares(t *testing.T) {
	for name, test := range map[string]struct {
		member   string
		crowds   []string
		others   []string
		min, max int // calls of the first that crowds, of 1,000 that there is time for
	}{
		"alone":                {"Report", []string{"flood"}, nil, 1000, 1000},
		"in company":           {"Report", []string{"flood"}, []string{"other"}, 200, 400},
		"in company of two":    {"Report", []string{"flood"}, []string{"one", "two"}, 200, 400},
		"two that crowd":       {"Report", []string{"flood", "two"}, nil, 1000, 1000},
		"two and company":      {"Report", []string{"flood", "two"}, []string{"other"}, 100, 600},
		"others pull":          {"WaitEvents", []string{"flood"}, []string{"other"}, 1000, 1000},
		"others ping":          {"Ping", []string{"flood"}, []string{"other"}, 1000, 1000},
		"others introspect":    {"Introspect", []string{"flood"}, []string{"other"}, 1000, 1000},
		"others ask who":       {"GetMachineId", []string{"flood"}, []string{"other"}, 1000, 1000},
		"a slow bus, bounded":  {"slow bus", []string{"flood"}, []string{"other"}, 50, 100},
		"at the bus's limit":   {"all at once", []string{"flood"}, []string{"other"}, 1000, 1000},
		"close to that limit":  {"close to it", []string{"flood"}, []string{"other"}, 200, 400},
		"as many by choice":    {"just as many", []string{"flood"}, []string{"other"}, 200, 400},
		"beyond that limit":    {"beyond", []string{"flood"}, []string{"other"}, 200, 400},
		"company that crowded": {"Report", []string{"flood"}, []string{"other"}, 200, 400},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				settle := func(context.Context) {}
				if test.member == "slow bus" {
					settle = func(ctx context.Context) { <-ctx.Done() }
				}
				p := newPaced(t, 64<<20, settle)
				defer p.close()
				if name == "company that crowded" {
					p.calls("other", "Report", 10)
					time.Sleep(time.Second)
				}
				window := 100
				p.missing = test.member == "all at once" || test.member == "close to it" || test.member == "beyond"
				switch test.member {
				case "all at once", "just as many":
					window = busLimit
				case "close to it":
					window = busLimit - 1
				case "beyond":
					window = 2 * busLimit
				}
				from := p.count("flood")
				p.run(time.Second, window, test.crowds, test.member, test.others...)
				got := p.count("flood") - from
				if got < test.min || got > test.max {
					t.Errorf("%d calls were handled, want %d to %d", got, test.min, test.max)
				}
				if name == "two and company" && p.count("two") < test.min {
					t.Errorf("of the second one %d calls were handled", p.count("two"))
				}
				for _, other := range test.others {
					if n := p.count(other); n < 199 {
						t.Errorf("of %s only %d calls were handled", other, n)
					}
				}
				for sender, serials := range p.handled {
					if !slices.IsSorted(serials) {
						t.Errorf("the calls of %s are out of order", sender)
					}
				}
			})
		})
	}
}

// Once nobody else is at work, who crowds goes on at full speed.
func TestPaceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaced(t, 64<<20, func(context.Context) {})
		defer p.close()
		flood := []string{"flood"}
		p.run(time.Second, 100, flood, "Report", "other")
		p.run(paceMemory+maxRest, 100, flood, "")
		before := p.count("flood")
		p.run(time.Second, 100, flood, "")

		if got := p.count("flood") - before; got < 999 {
			t.Errorf("%d calls were handled in a second alone", got)
		}
	})
}

// Somebody has to be spared while some crowd and others are at work, and for a moment after;
// most of all while the bus refuses calls.
func TestPaceStrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaced(t, 64<<20, func(context.Context) {})
		defer p.close()
		flood, other := []string{"flood"}, []string{"other"}
		for _, c := range []struct {
			when   string
			window int
			crowds []string
			member string
			others []string
			want   strain
		}{
			{"there was nothing", 0, nil, "", nil, unstrained},
			{"nobody crowds", 0, nil, "Report", []string{"one", "two"}, unstrained},
			{"nobody else is at work", 100, flood, "", nil, unstrained},
			{"the bus refuses calls, but nobody else is at work", busLimit, flood, "", nil, unstrained},
			{"the others pull", 100, flood, "WaitEvents", other, unstrained},
			{"the others may only introspect", 100, flood, "Introspect", other, unstrained},
			{"some crowd and others are at work", 100, flood, "Report", other, uneven},
			{"those that crowded do so no more", 0, nil, "Report", other, unstrained},
			{"the bus refuses calls and others are at work", busLimit, flood, "Report", other, refusing},
			{"the bus refuses calls no more", 100, flood, "Report", other, uneven},
			{"one has more calls than a bus would refuse", 2 * busLimit, flood, "Report", other, uneven},
			{"it has fewer again", busLimit, flood, "Report", other, refusing},
			{"another one has more", 2 * busLimit, []string{"another"}, "Report", other, uneven},
			{"one has as many by choice", busLimit, []string{"patient"}, "Report", other, uneven},
			{"the others are at work no more", 100, flood, "", nil, unstrained},
			{"the bus refuses what anybody may call", busLimit, []string{"anybody"}, "Report", other, uneven},
		} {
			p.missing = c.crowds != nil && c.crowds[0] != "patient"
			if p.makes = "Report"; c.crowds != nil && c.crowds[0] == "anybody" {
				p.makes = "Introspect"
			}
			p.run(time.Second, c.window, c.crowds, c.member, c.others...)
			if got := p.strain(); got != c.want {
				t.Errorf("after a time when %s: %v, want %v", c.when, got, c.want)
			}
		}
	})
}

// The end does not wait for a rest: all that was taken is handled without a pause.
func TestPaceStop(t *testing.T) {
	for _, abandon := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := newPaced(t, 64<<20, func(ctx context.Context) { <-ctx.Done() })
			for !p.resting() {
				p.calls("flood", "Report", 10-p.waitingOf("flood"))
				p.calls("other", "Report", 1)
				time.Sleep(time.Millisecond)
			}
			if p.longest() != 0 {
				time.Sleep(2 * time.Millisecond)
			}
			waiting := 0
			for _, b := range p.senders {
				waiting += b.waiting
			}
			if most := int(maxRest/time.Millisecond) - 5; waiting < 5 || waiting > most {
				t.Fatalf("%d calls wait", waiting) // more would take as long as the rest
			}
			begin := time.Now()
			want := time.Duration(waiting) * time.Millisecond
			if abandon {
				p.abandon()
				want = 0
			}
			p.close()
			if took := time.Since(begin); took != want {
				t.Errorf("%d calls took %v, want %v", waiting, took, want)
			}
			if p.bytes != 0 || len(p.senders) != 0 || !p.held.empty() {
				t.Error("something is left")
			}
		})
	}
}

// What there is no time for in the end is let go, each sender's in order.
func TestStopWithin(t *testing.T) {
	for limit, want := range map[time.Duration]int{0: 1, 19*time.Millisecond + 1: 20, time.Second: 50, time.Hour: 50} {
		synctest.Test(t, func(t *testing.T) {
			p := newPaced(t, 64<<20, func(context.Context) {})
			p.calls("one", "Report", 50)
			synctest.Wait()
			left := p.stopWithin(limit)
			p.close()
			if n := p.count("one"); n != want || n+len(left) != 50 {
				t.Errorf("within %v %d calls were handled, %d let go; want %d handled", limit, n, len(left), want)
			}
			for i, m := range left {
				if m.Serial != uint32(want+i+1) {
					t.Fatalf("within %v: let go is %d of %d: call %d", limit, i, len(left), m.Serial)
				}
			}
		})
	}
}

func (p *paced) resting() bool {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pace.resting
}

// Nobody rests who fills the room for calls with it.
func TestPaceRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 8 * 50 * 300 // at rest there is room for 50 calls
		p := newPaced(t, limit, func(ctx context.Context) { <-ctx.Done() })
		defer p.close()
		for !p.resting() {
			p.calls("flood", "Report", 10)
			p.calls("other", "Report", 1)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(2 * time.Millisecond)
		before := p.count("flood")
		time.Sleep(2 * time.Millisecond)
		if got := p.count("flood"); got != before || !p.resting() {
			t.Fatalf("%d calls were handled at rest", got-before)
		}
		p.calls("flood", "Report", 50)
		time.Sleep(5 * time.Millisecond)
		if got := p.count("flood") - before; got < 4 || !p.resting() {
			t.Errorf("%d calls were handled beyond the room that there is for a rest", got)
		}
	})
}

// What is remembered of senders is bounded.
func TestPaceMemory(t *testing.T) {
	p := pace{crowding: map[string]crowding{}}
	now := time.Now()
	for i := range 10 * maxCrowding {
		p.crowd(&backlog{sender: fmt.Sprint("s", i)}, now)
		if len(p.crowding) > maxCrowding {
			t.Fatalf("%d senders are remembered", len(p.crowding))
		}
	}
	if !p.crowds(fmt.Sprint("s", 10*maxCrowding-1), now) {
		t.Error("the last one is forgotten")
	}
}
