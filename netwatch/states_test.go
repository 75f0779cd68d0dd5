package netwatch

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/osctl/eventd/netwatch/containers"
)

// stateChange returns a change of the state of a container, written ID FROM TO.
func stateChange(text string) containers.StateChange {
	f := strings.Split(text, " ")
	c := containers.StateChange{Container: containers.Container{Pool: "lxc", ID: f[0]}, From: containers.State(f[1]), To: containers.State(f[2])}
	if c.From == "-" {
		c.From = ""
	}
	c.Resync = len(f) > 3
	return c
}

func stateLines(events []stateEvent) string {
	var lines []string
	for _, e := range events {
		line := e.Container.ID + " " + string(e.To)
		if e.omitted > 0 {
			line += fmt.Sprint(" coalesced=", e.omitted)
		}
		if e.Resync {
			line += " resync"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, ", ")
}

func TestStates(t *testing.T) {
	const flap = "a running frozen|a frozen running|"
	for _, test := range []struct {
		name, add string
		tokens    int // at first
		want      string
		later     string // with more tokens
	}{
		{"nothing", "", 9, "", ""},
		{"in order", "b - running|a - running|b running stopped|a running frozen", 9, "b running, b stopped, a running, a frozen", ""},
		{"by comparing", "a - running resync|a running frozen", 9, "a running resync, a frozen", ""},
		{"no token", "a - running|a running frozen|b - running", 0, "", "a frozen coalesced=1 resync, b running"},
		{"some tokens", "a - running|a running frozen|a frozen running|a running stopped", 1, "a running", "a stopped coalesced=2 resync"},
		{"back to what it was", "a - running|a running frozen|a frozen running", 1, "a running", ""},
		{"never announced", "a - running|a running stopped|b - running", 0, "", "b running"},
		{"back, and on", "a - running|a running frozen|a frozen running|a running stopped|a stopped running", 1, "a running", ""},
		{"too many", strings.Repeat(flap, maxChanges) + "a running stopped", 99, "a stopped coalesced=16 resync", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var s states
			for text := range strings.SplitSeq(test.add, "|") {
				if text != "" {
					s.add(stateChange(text))
				}
			}
			tokens, now := test.tokens, time.Unix(1000, 0)
			spend := func(containers.Container) (time.Time, bool) {
				tokens--
				return now.Add(time.Second), tokens >= 0
			}
			if got := stateLines(s.take(now, spend)); got != test.want {
				t.Errorf("announced %q, want %q", got, test.want)
			}
			if s.tokenAt.IsZero() == (test.later != "") {
				t.Errorf("the next token is at %v", s.tokenAt)
			}
			tokens = 99
			if got := stateLines(s.take(now, spend)); got != "" {
				t.Errorf("announced %q before there was a token", got)
			}
			now = now.Add(time.Second)
			if got := stateLines(s.take(now, spend)); got != test.later {
				t.Errorf("announced %q later, want %q", got, test.later)
			}
			if len(s.waiting) != 0 || !s.tokenAt.IsZero() {
				t.Errorf("%d containers wait, the next token is at %v", len(s.waiting), s.tokenAt)
			}
		})
	}
}

// TestStatesAreBounded expects containers that start and stop to leave nothing in the queue while there
// are no tokens.
func TestStatesAreBounded(t *testing.T) {
	var s states
	for i := range 10 * maxChanged {
		s.add(stateChange(fmt.Sprintf("ct%d - running", i)))
		s.add(stateChange(fmt.Sprintf("ct%d running stopped", i)))
	}
	if len(s.waiting) > maxChanged {
		t.Errorf("%d containers wait", len(s.waiting))
	}
	now := time.Unix(1000, 0)
	none := func(containers.Container) (time.Time, bool) { return now.Add(time.Second), false }
	if got := s.take(now, none); len(got) != 0 || len(s.waiting) != 0 {
		t.Errorf("announced %v, %d wait", got, len(s.waiting))
	}
	s.add(stateChange("a running frozen"))
	s.take(now, none)
	s.add(stateChange("a frozen running"))
	s.add(stateChange("a running frozen"))
	all := func(containers.Container) (time.Time, bool) { return now, true }
	if got := stateLines(s.take(now, all)); got != "a frozen coalesced=2 resync" || len(s.omitted) != 0 {
		t.Errorf("announced %q, still omitted %v", got, s.omitted)
	}
	s.add(stateChange("a frozen stopped"))
	s.take(now, none)
	for range 3 * maxChanges {
		s.add(stateChange("a stopped running"))
		s.add(stateChange("a running stopped"))
	}
	if w := s.waiting[containers.Container{Pool: "lxc", ID: "a"}]; len(s.waiting) != 1 || len(w.changes) > maxChanges {
		t.Errorf("%d containers wait, one with %+v", len(s.waiting), w)
	}
	if s.take(now, none); stateLines([]stateEvent{{StateChange: s.waiting[containers.Container{Pool: "lxc", ID: "a"}].changes[0]}}) != "a stopped" {
		t.Errorf("the queue has %+v", s.waiting)
	}
}
