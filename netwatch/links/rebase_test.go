package links

import (
	"testing"

	"github.com/osctl/eventd/hub"
)

// TestRebase loses changes on their way to the view. It expects their outcome, each once, and nothing of rows
// that the view has.
func TestRebase(t *testing.T) {
	tab, _ := newTestTable()
	peers := known{at(0, 2): {"tank", "1", "eth0"}, at(1, 2): {"tank", "2", "eth0"}, at(2, 2): {"tank", "3", "eth0"}}
	view := map[uint32]hub.Interface{}
	deliver := func() {
		for _, c := range tab.Take() {
			if view[c.Row.Ifindex] = c.Row; c.Removed {
				delete(view, c.Row.Ifindex)
			}
		}
	}
	rebase := func() {
		rows := []hub.Interface{}
		for _, row := range view {
			row.ContainerName, row.Image = "web", "nginx" // as lists show them
			rows = append(rows, row)
		}
		tab.Rebase(rows)
		tab.Expire()
	}
	for ifindex, p := range map[uint32]int32{7: 0, 8: 1, 9: 2} {
		tab.Apply(say(ifindex, "h", flagsUp, at(p, 2)), false)
	}
	peers.answerAll(tab)
	deliver()

	tab.Apply(say(8, "h", flagsNoCarrier, at(1, 2)), false)
	tab.Apply(say(8, "h", flagsUp, at(1, 2)), false) // held
	tab.Take()                                       // the down is lost
	tab.Apply(gone(9), false)
	tab.Take()
	rebase()
	expect(t, tab, `down 9 h down "eth0" tank/3 removed resync`, `down 8 h no-carrier "eth0" tank/2 resync`)
	peers.answerAll(tab)
	expect(t, tab, `up 8 h up "eth0" tank/2 resync`)

	tab.Apply(say(7, "h", flagsNoCarrier, at(0, 2)), false)
	deliver()
	tab.Apply(say(7, "h", flagsUp, at(0, 2)), false) // held
	delete(view, 8)
	view[8] = tab.rows[8].published
	delete(view, 9)
	rebase()
	expect(t, tab)
	peers.answerAll(tab)
	expect(t, tab, `up 7 h up "eth0" tank/1`)
}
