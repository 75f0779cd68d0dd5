package links

import (
	"fmt"
	"testing"
	"time"

	"github.com/osctl/eventd/hub"
)

// withOwner makes a Table with one link, which is up, belongs to tank/101, and was announced.
func withOwner(t *testing.T) (*Table, *time.Time) {
	t.Helper()
	tab, now := newTestTable()
	tab.Apply(say(7, "h", flagsUp, at(0, 2)), false)
	found.answerAll(tab)
	tab.Take()
	*now = now.Add(time.Minute)
	return tab, now
}

// flood renames the link of withOwner, and returns how many changes were announced.
func flood(tab *Table, changes int) (announced int) {
	for i := range changes {
		tab.Apply(say(7, fmt.Sprint("n", i), flagsUp, at(0, 2)), false)
		announced += len(tab.Take())
	}
	return announced
}

func TestBudgetOfInterface(t *testing.T) {
	t.Run("outcome", func(t *testing.T) {
		tab, now := withOwner(t)
		if n := flood(tab, 1000); n != InterfaceBudget.Burst {
			t.Errorf("%d changes at once", n)
		}
		if want := now.Add(InterfaceBudget.Every); tab.Next() != want || !tab.Settled() {
			t.Errorf("room at %v, want %v; settled %v", tab.Next(), want, tab.Settled())
		}
		tab.Apply(say(7, "n999", flagsNoCarrier, at(0, 2)), false)
		*now = tab.Next().Add(-time.Nanosecond)
		tab.Expire()
		expect(t, tab)
		later(tab, now)
		expect(t, tab, `rename 7 n999 up "eth0" tank/101 was n19 resync`) // there is one token
		later(tab, now)
		expect(t, tab, `down 7 n999 no-carrier "eth0" tank/101 resync coalesced 979`)
		if !tab.Next().IsZero() {
			t.Errorf("Next is %v, but no change waits", tab.Next())
		}
	})
	t.Run("no outcome", func(t *testing.T) {
		tab, now := withOwner(t)
		flood(tab, InterfaceBudget.Burst)
		tab.Apply(say(7, "n19", 0, at(0, 2)), false)
		tab.Apply(say(7, "n19", flagsUp, at(0, 2)), false)
		later(tab, now)
		expect(t, tab)
		tab.Apply(say(7, "n19", 0, at(0, 2)), false)
		expect(t, tab, `down 7 n19 down "eth0" tank/101 resync coalesced 2`)
	})
	t.Run("rows that are no events", func(t *testing.T) {
		tab, now := withOwner(t)
		tab.Apply(say(7, "h", 0, at(0, 2)), false)
		tab.Take()
		rows := 0
		for i := range 100 {
			tab.Apply(say(7, "h", []uint32{flagsNoCarrier, 0}[i%2], at(0, 2)), false)
			rows += len(tab.Take())
		}
		if rows != InterfaceBudget.Burst-1 {
			t.Errorf("%d rows at once", rows)
		}
		later(tab, now)
		expect(t, tab, ` 7 h down "eth0" tank/101`)
	})
	t.Run("up with a known owner", func(t *testing.T) {
		tab, now := withOwner(t)
		flood(tab, InterfaceBudget.Burst-1)
		tab.Apply(say(7, "n18", 0, at(0, 2)), false)
		expect(t, tab, `down 7 n18 down "eth0" tank/101`)
		tab.Apply(say(7, "n18", flagsUp, at(0, 2)), false)
		found.answerAll(tab)
		expect(t, tab)
		later(tab, now)
		expect(t, tab, `up 7 n18 up "eth0" tank/101 resync`)
	})
	t.Run("up again with an unknown owner", func(t *testing.T) {
		tab, now := withOwner(t)
		flood(tab, InterfaceBudget.Burst-1)
		tab.Apply(say(7, "n18", 0, at(0, 2)), false)
		expect(t, tab, `down 7 n18 down "eth0" tank/101`)
		tab.Apply(say(7, "n18", flagsUp, at(0, 2)), false)
		found.answerAll(tab)
		tab.Apply(say(7, "n18", 0, at(0, 2)), false)
		tab.Apply(say(7, "n18", flagsUp, at(0, 2)), false)
		later(tab, now)
		expect(t, tab)
		found.answerAll(tab)
		expect(t, tab, `up 7 n18 up "eth0" tank/101 resync coalesced 2`)
	})
	t.Run("deleted", func(t *testing.T) {
		tab, now := withOwner(t)
		flood(tab, InterfaceBudget.Burst+5)
		tab.Apply(say(7, "n24", 0, at(0, 2)), false)
		tab.Apply(gone(7), false)
		expect(t, tab, `down 7 n19 down "eth0" tank/101 removed resync coalesced 5`)
		later(tab, now)
		expect(t, tab)
		if !tab.Next().IsZero() || len(tab.throttled) != 0 {
			t.Error("a deleted link is still throttled")
		}
	})
	t.Run("while it waits for its owner", func(t *testing.T) {
		tab, now := heldUp(t)
		flood(tab, 1000)
		expect(t, tab)
		later(tab, now)
		found.answerAll(tab)
		if n := len(tab.Take()); n != InterfaceBudget.Burst {
			t.Errorf("%d changes at once", n)
		}
		*now = now.Add(InterfaceBudget.Every)
		tab.Expire()
		expect(t, tab, fmt.Sprintf(`rename 7 n999 up "eth0" tank/101 was n%d resync coalesced %d`, InterfaceBudget.Burst-2, 1000-InterfaceBudget.Burst))
	})
}

// TestBudgetOfContainerHolds expects that a container cannot escape its budget by new interfaces, nor by
// moving them, and that other containers do not wait.
func TestBudgetOfContainerHolds(t *testing.T) {
	t.Run("reboots", func(t *testing.T) {
		tab, now := newTestTable()
		view, events := map[uint32]hub.Interface{}, map[bool]int{} // by whether the owner could be found
		begun := *now
		for i := range uint32(5000) {
			*now = now.Add(10 * time.Millisecond)
			tab.Apply(say(100+i, "h", flagsUp, at(0, 2)), false)
			if tab.Expire(); i%3 > 0 {
				found.answerAll(tab)
				tab.Expire()
			}
			if i%3 == 1 { // the owner is asked for again while there are tokens
				tab.Apply(say(100+i, "h", 0, at(0, 2)), false)
				tab.Apply(say(100+i, "h", flagsUp, at(0, 2)), false)
			}
			*now = now.Add(time.Second / 4 * time.Duration(i%2))
			tab.Expire()
			tab.Apply(gone(100+i), false)
			for _, c := range tab.Take() {
				foldChange(t, view, &c)
				if c.Action != "" || !c.Removed { // a row that leaves the view takes no token
					events[i%3 > 0]++
				}
			}
		}
		allowed := ContainerBudget.Burst + int(now.Sub(begun)/ContainerBudget.Every) + 1 // a down that cannot wait
		for known, n := range events {
			if n > allowed || n < allowed/2 {
				t.Errorf("%d changes, want %d; known %v", n, allowed, known)
			}
		}
		if len(view) != 0 {
			t.Errorf("left in the view: %v", view)
		}
		*now = now.Add(time.Minute)
		tab.Apply(say(7, "h", flagsUp, at(0, 2)), false)
		found.answerAll(tab)
		expect(t, tab, `up 7 h up "eth0" tank/101`)
	})
	t.Run("moved", func(t *testing.T) {
		tab, _ := withOwner(t)
		for {
			if _, ok := tab.Budgets.Take(Owner{"tank", "101"}, tab.Now()); !ok {
				break
			}
		}
		tab.Apply(say(7, "h", flagsNoCarrier, at(1, 2)), false)
		tab.Apply(say(7, "h", flagsUp, at(1, 2)), false)
		expect(t, tab)
		tab.Apply(say(8, "g", flagsUp, at(2, 2)), false)
		known{at(2, 2): {"tank", "102", "eth0"}}.answerAll(tab)
		expect(t, tab, `up 8 g up "eth0" tank/102`)
	})
	t.Run("hidden", func(t *testing.T) {
		tab, now := withOwner(t)
		tab.Apply(say(7, "h", flagsNoCarrier, at(1, 2)), false)
		known{at(1, 2): {"", "", "eth0"}}.answerAll(tab)
		tab.Take()
		takeAll(tab.Budgets, Owner{"tank", "101"}, *now)
		tab.Apply(say(7, "g", flagsNoCarrier, at(1, 2)), false)
		expect(t, tab)
	})
}
