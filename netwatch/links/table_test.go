package links

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/rtnl"
)

const (
	flagsUp        = unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOWER_UP
	flagsNoCarrier = unix.IFF_UP
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// say returns a link of a kernel message.
func say(ifindex uint32, name string, flags uint32, peer rtnl.Peer) *rtnl.Link {
	return &rtnl.Link{Ifindex: ifindex, Name: name, Flags: flags, Peer: peer}
}

// gone returns a deleted link.
func gone(ifindex uint32) *rtnl.Link {
	l := say(ifindex, "", 0, alone)
	l.Deleted = true
	return l
}

var alone = rtnl.Peer{NSID: rtnl.NSIDLocal}

func at(nsid int32, ifindex uint32) rtnl.Peer { return rtnl.Peer{NSID: nsid, Ifindex: ifindex} }

// lines describes the changes since the last call.
func lines(t *Table) []string {
	out := []string{}
	for _, c := range t.Take() {
		s := fmt.Sprintf("%s %d %s %s %q %s", c.Action, c.Row.Ifindex, c.Row.Veth, c.Row.State, c.Row.Name, c.Row.Pool+"/"+c.Row.ID)
		if c.Row.BoundBy != "" {
			s += " by " + c.Row.BoundBy
		}
		if c.OldVeth+c.OldName != "" {
			s += " was " + c.OldVeth + c.OldName
		}
		for _, flag := range []struct {
			name string
			set  bool
		}{{"removed", c.Removed}, {"handover", c.Handover}, {"kept", c.Row.Kept}, {"resync", c.Resync}} {
			if flag.set {
				s += " " + flag.name
			}
		}
		if c.Coalesced > 0 {
			s += fmt.Sprint(" coalesced ", c.Coalesced)
		}
		out = append(out, s)
	}
	return out
}

func expect(t *testing.T, tab *Table, want ...string) {
	t.Helper()
	if got := lines(tab); !slices.Equal(got, want) {
		t.Errorf("changes:\n%q\nwant:\n%q", got, want)
	}
}

// newTestTable makes a Table and the clock that it reads.
func newTestTable() (*Table, *time.Time) {
	now := new(time.Unix(1000, 0))
	return New(Config{Now: func() time.Time { return *now }, Owners: true, Hears: true, Budgets: newBudgets()}), now
}

// known has the owners and names of some peers.
type known map[rtnl.Peer]peerInfo

type peerInfo struct{ pool, id, name string }

// answerAll answers questions until there are no more, and returns how many there were. Links are
// where their rows say.
func (k known) answerAll(tab *Table) (asked int) {
	for all := tab.Questions(10); len(all) > 0; all = tab.Questions(10) {
		for _, q := range all {
			asked++
			a := k.answer(tab, q)
			tab.Answer(&a)
		}
	}
	return asked
}

func (k known) answer(tab *Table, q Question) Answer {
	r := tab.rows[q.Ifindex]
	a := Answer{Question: q, Link: *say(q.Ifindex, r.Veth, map[hub.LinkState]uint32{hub.LinkUp: flagsUp, hub.LinkNoCarrier: flagsNoCarrier}[r.State], r.peer)}
	if r.peer.NSID == rtnl.NSIDUnknown && r.former.Ifindex != 0 {
		a.Link.Peer = r.former
	}
	if o, ok := k[a.Link.Peer]; ok {
		a.Name, a.NameKnown = o.name, true
		a.Owner, a.Found = Owner{o.pool, o.id}, o.id != ""
	}
	return a
}

func TestOwnerIsKeptToTheEnd(t *testing.T) {
	tab, _ := newTestTable()
	who := known{at(0, 2): {"tank", "101", "eth0"}, at(1, 2): {"tank", "102", "eth0"}}
	tab.Apply(say(7, "h", flagsNoCarrier, at(0, 2)), false)
	who.answerAll(tab)
	expect(t, tab, ` 7 h no-carrier "" /`, ` 7 h no-carrier "eth0" tank/101`)
	tab.Apply(say(7, "h", flagsUp, at(0, 2)), false)
	expect(t, tab) // the peer may belong to the next container, so the Table asks again
	who.answerAll(tab)
	expect(t, tab, `up 7 h up "eth0" tank/101`)
	tab.Apply(say(7, "h", flagsUp, at(0, 2)), false)
	expect(t, tab)
	tab.Apply(say(7, "h", flagsNoCarrier, at(1, 2)), false) // moved to another namespace
	who.answerAll(tab)
	expect(t, tab, `down 7 h no-carrier "eth0" tank/101`, ` 7 h no-carrier "" /`, ` 7 h no-carrier "eth0" tank/102`)
	tab.Apply(say(7, "g", flagsUp, at(1, 2)), false)
	who.answerAll(tab)
	expect(t, tab, `rename 7 g no-carrier "eth0" tank/102 was h`, `up 7 g up "eth0" tank/102`)
	tab.Renumbered(1)
	tab.Apply(say(7, "g", 0, alone), false) // the namespace died
	expect(t, tab, `down 7 g down "eth0" tank/102`)
	tab.Apply(gone(7), false)
	expect(t, tab, ` 7 g down "eth0" tank/102 removed`)
	if len(tab.rows)+len(tab.inside)+len(tab.byName)+tab.held != 0 {
		t.Error("the Table is not empty:", tab.rows, tab.inside, tab.byName, tab.held)
	}
}

// TestHandover expects a down of the old owner and an up of the new one when an interface that is up
// changes its owner.
func TestHandover(t *testing.T) {
	tab, _ := newTestTable()
	tab.Apply(say(7, "h", flagsUp, at(0, 2)), false)
	known{at(0, 2): {PoolNetns, "web", "eth0"}}.answerAll(tab)
	expect(t, tab, `up 7 h up "eth0" netns/web`)
	tab.Recheck(Owner{}, 0)
	known{at(0, 2): {"podman", "b", "eth0"}}.answerAll(tab)
	expect(t, tab, `down 7 h no-carrier "eth0" netns/web handover`, `up 7 h up "eth0" podman/b handover`)
	tab.Recheck(Owner{"podman", "b"}, 99)
	if n := (known{at(0, 2): {"podman", "b", "eth0"}}).answerAll(tab); n != 1 {
		t.Errorf("asked %d times", n)
	}
	expect(t, tab)
}

// TestOwnerFoundLater expects another up when the owner of an announced interface is found, and a
// handover to no owner when it stays missing.
func TestOwnerFoundLater(t *testing.T) {
	tab, now := newTestTable()
	nobody, who := known{at(0, 2): {name: "eth0"}}, known{at(0, 2): {"tank", "101", "eth0"}}
	tab.Apply(say(7, "h", flagsUp, at(0, 2)), false)
	nobody.answerAll(tab)
	*now = now.Add(holdFor)
	tab.Expire()
	expect(t, tab, `up 7 h up "eth0" /`)
	who.answerAll(tab)
	expect(t, tab, `up 7 h up "eth0" tank/101 handover`)
	tab.Recheck(Owner{"tank", "101"}, 99)
	for range laterRetries {
		nobody.answerAll(tab)
		expect(t, tab) // the search may just have missed the owner
		*now = now.Add(time.Hour)
		tab.Expire()
	}
	nobody.answerAll(tab)
	expect(t, tab, `down 7 h no-carrier "eth0" tank/101 handover`, `up 7 h up "eth0" / handover`)
	if at := tab.Next(); !at.IsZero() {
		t.Errorf("asks again at %v", at)
	}
}

func TestOwnerIsAskedForAtUp(t *testing.T) {
	tab, _ := newTestTable()
	nobody, who := known{at(0, 2): {}}, known{at(0, 2): {"tank", "101", ""}}
	asked := 0
	for range 3 {
		tab.Apply(say(7, "h", flagsNoCarrier, at(0, 2)), false)
		asked += nobody.answerAll(tab)
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	tab.Apply(say(7, "h", flagsUp, at(0, 2)), false)
	expect(t, tab, ` 7 h no-carrier "" /`)
	who.answerAll(tab)
	expect(t, tab, `up 7 h up "" tank/101`)
}

func TestPeerMovesWhileUp(t *testing.T) {
	tab, _ := newTestTable()
	who := known{at(4, 9): {"tank", "101", "eth0"}}
	tab.Apply(say(6, "p", flagsUp, alone), false)
	tab.Apply(say(7, "h", flagsUp, at(rtnl.NSIDLocal, 6)), false)
	expect(t, tab, `up 6 p up "" /`, `up 7 h up "p" /`, ` 6 p up "h" /`)
	moved := say(6, "p", flagsUp, at(rtnl.NSIDLocal, 7))
	moved.Deleted, moved.Moved, moved.MovedTo = true, true, at(4, 9)
	tab.Apply(moved, false)
	expect(t, tab, `down 6 p down "h" / removed`, `down 7 h no-carrier "p" /`, ` 7 h no-carrier "" /`)
	who.answerAll(tab)
	expect(t, tab, ` 7 h no-carrier "eth0" tank/101`)
	tab.Apply(say(7, "h", flagsNoCarrier, at(4, 9)), false)
	expect(t, tab)
	tab.Apply(say(7, "h", flagsUp, at(4, 9)), false)
	who.answerAll(tab)
	expect(t, tab, `up 7 h up "eth0" tank/101`)
}

// TestLinkWithNumbersOfPeer expects messages about other links with the numbers of a peer to change nothing: a
// container may reuse the ifindex of its former interface.
func TestLinkWithNumbersOfPeer(t *testing.T) {
	tab, _ := newTestTable()
	who := known{at(0, 3): {"tank", "101", "eth0"}}
	tab.Apply(say(7, "h", flagsUp, at(0, 2)), false)
	q := tab.Questions(1)[0]
	tab.Answer(&Answer{Question: q, Link: *say(7, "h", flagsUp, at(0, 3)), Name: "own", NameKnown: true}) // the peer changed its ifindex by a move
	who.answerAll(tab)
	got := lines(tab)
	if got[0] != `up 7 h up "" /` || got[len(got)-1] != `up 7 h up "eth0" tank/101` {
		t.Errorf("%q", got)
	}
	for _, l := range []*rtnl.Link{say(2, "own", flagsUp, at(0, 7)), say(3, "own", flagsUp, at(1, 8)), say(3, "own", 0, alone)} {
		tab.Inside(l, 0)
	}
	tab.Inside(say(3, "own", flagsUp, at(0, 7)), 1)
	expect(t, tab)
	tab.Inside(say(3, "eth1", 0, at(0, 7)), 0) // the peer itself, which is down
	expect(t, tab, `down 7 h no-carrier "eth0" tank/101`, `rename 7 h no-carrier "eth1" tank/101 was eth0`)
}

// TestContainerLeaves expects a container whose init leaves the namespace of its interface to stay the owner until
// it ends.
func TestContainerLeaves(t *testing.T) {
	for _, left := range []bool{true, false} {
		tab, now := newTestTable()
		here := say(7, "h", flagsUp, at(0, 2))
		tab.Apply(here, false)
		known{at(0, 2): {"tank", "101", "eth0"}}.answerAll(tab)
		tab.Apply(say(7, "h", 0, at(0, 2)), false)
		tab.Take()
		tab.Apply(here, false)
		for range 20 {
			for _, q := range tab.Questions(1) {
				if q.Mover != (Owner{"tank", "101"}) {
					t.Errorf("the mover is %v", q.Mover)
				}
				tab.Answer(&Answer{Question: q, Link: *here, Name: "eth0", NameKnown: true, Moved: left})
			}
			later(tab, now)
		}
		if !left {
			expect(t, tab, `up 7 h up "eth0" /`)
			continue
		}
		expect(t, tab, `up 7 h up "eth0" tank/101 kept`)
		tab.Recheck(Owner{"tank", "101"}, rtnl.NSIDUnknown)
		for range 20 {
			for _, q := range tab.Questions(1) {
				tab.Answer(&Answer{Question: q, Link: *here, Name: "eth0", NameKnown: true})
			}
			later(tab, now)
		}
		expect(t, tab, `down 7 h no-carrier "eth0" tank/101 handover kept`, `up 7 h up "eth0" / handover`)
	}
}

// TestMovedOn expects an interface that its container moved to a namespace without an owner to stay the
// container's, and its events to have kept.
func TestMovedOn(t *testing.T) {
	tab, now := newTestTable()
	tab.Apply(say(7, "h", flagsUp, at(0, 2)), false)
	known{at(0, 2): {"tank", "101", "eth0"}}.answerAll(tab)
	tab.Apply(say(7, "h", flagsNoCarrier, at(1, 2)), false)
	tab.Take()
	runs := true
	answerKept := func() {
		for _, q := range tab.Questions(1) {
			if q.Mover != (Owner{"tank", "101"}) {
				t.Errorf("the mover is %v", q.Mover)
			}
			tab.Answer(&Answer{Question: q, Link: *say(7, "h", flagsUp, at(1, 2)), Name: "eth0", NameKnown: true, Moved: runs})
		}
	}
	tab.Apply(say(7, "h", flagsUp, at(1, 2)), false)
	for range 20 {
		answerKept()
		later(tab, now)
	}
	expect(t, tab, `up 7 h up "eth0" tank/101 kept`)
	tab.Apply(say(7, "h", 0, at(1, 2)), false)
	tab.Apply(say(7, "h", flagsUp, at(1, 2)), false)
	answerKept()
	expect(t, tab, `down 7 h down "eth0" tank/101 kept`, `up 7 h up "eth0" tank/101 kept`)

	row := tab.rows[7].published
	tab, now = newTestTable() // a restart
	tab.Seed([]hub.Interface{row})
	tab.BeginDump()
	tab.Apply(say(7, "h", flagsUp, at(1, 2)), true)
	tab.EndDump()
	for range 20 {
		answerKept()
		later(tab, now)
	}
	expect(t, tab)
	tab.Apply(say(7, "h", 0, at(1, 2)), false)
	tab.Apply(say(7, "h", flagsUp, at(1, 2)), false)
	for range 20 {
		answerKept()
		later(tab, now)
	}
	expect(t, tab, `down 7 h down "eth0" tank/101 kept`, `up 7 h up "eth0" tank/101 kept`)
	tab.Recheck(Owner{}, 1)
	known{at(1, 2): {"tank", "102", "eth0"}}.answerAll(tab)
	expect(t, tab, `down 7 h no-carrier "eth0" tank/101 handover kept`, `up 7 h up "eth0" tank/102 handover`)

	tab.Apply(say(8, "g", flagsUp, at(0, 3)), false)
	known{at(0, 3): {"tank", "101", "eth0"}}.answerAll(tab)
	tab.Apply(say(8, "g", flagsUp, at(1, 3)), false)
	runs = false
	tab.Take()
	for range 20 {
		for _, q := range tab.Questions(1) {
			tab.Answer(&Answer{Question: q, Link: *say(8, "g", flagsUp, at(1, 3)), Name: "eth0", NameKnown: true})
		}
		later(tab, now)
	}
	expect(t, tab, `up 8 g up "eth0" /`)
	tab.Recheck(Owner{}, 1) // another container of that name
	if q := tab.Questions(2); len(q) != 2 || q[1].Ifindex != 8 || q[1].Mover != (Owner{}) {
		t.Errorf("asked about %+v", q)
	}
}

// TestNamespaceDies expects the name of a peer whose namespace dies before its owner is known.
func TestNamespaceDies(t *testing.T) {
	tab, _ := newTestTable()
	tab.Apply(say(7, "h", flagsNoCarrier, at(0, 2)), false)
	tab.Inside(say(2, "eth0", flagsUp, at(0, 7)), 0)
	tab.Take()
	tab.Apply(say(7, "h", flagsUp, at(0, 2)), false)
	tab.Renumbered(0)
	tab.Apply(say(7, "h", 0, alone), false)
	tab.Apply(gone(7), false)
	expect(t, tab, `up 7 h up "eth0" /`, `down 7 h down "eth0" /`, ` 7 h down "eth0" / removed`)
}

// TestPeerNamedTwice expects a peer that two links name to belong to the one that named it last.
func TestPeerNamedTwice(t *testing.T) {
	tab, _ := newTestTable()
	who := known{at(0, 2): {"tank", "101", "eth0"}}
	tab.Apply(say(7, "h", flagsNoCarrier, at(0, 2)), false)
	tab.Apply(say(8, "g", flagsNoCarrier, at(0, 2)), false)
	if r := tab.rows[7]; r.peer.Foreign() || !r.due {
		t.Errorf("%+v", r)
	}
	tab.Apply(say(7, "h", flagsNoCarrier, at(0, 2)), false) // the first link names it again
	for _, q := range tab.Questions(10) {
		if q.Ifindex == 7 {
			a := who.answer(tab, q)
			tab.Answer(&a)
		}
	}
	tab.Take()
	tab.Inside(say(2, "eth1", 0, at(0, 7)), 0)
	expect(t, tab, ` 7 h no-carrier "eth1" tank/101`)
}

// TestRecordKeepsLink expects a link to stay if the dump has a record of it, even if the record changes
// nothing because a live message about the peer came first.
func TestRecordKeepsLink(t *testing.T) {
	tab, _ := newTestTable()
	tab.Apply(say(7, "h", flagsUp, at(0, 2)), false)
	known{at(0, 2): {"tank", "101", "eth0"}}.answerAll(tab)
	tab.BeginDump()
	moved := say(2, "eth0", 0, at(0, 7))
	moved.Deleted, moved.Moved = true, true
	tab.Inside(moved, 0)
	if !tab.Apply(say(7, "h", flagsUp, at(0, 2)), true) {
		t.Error("no doubt")
	}
	tab.EndDump()
	if tab.rows[7] == nil {
		t.Error("the row is gone")
	}
}

// TestStaleAnswer expects the Table to drop an answer, and to ask again, if the id of the namespace was
// reused after the question.
func TestStaleAnswer(t *testing.T) {
	for _, end := range []func(tab *Table){
		func(tab *Table) { tab.Renumbered(0) },
		func(tab *Table) {
			tab.Suspect()
			tab.BeginDump()
			tab.Apply(say(7, "h", flagsUp, at(0, 2)), true)
		},
	} {
		tab, _ := newTestTable()
		former := known{at(0, 2): {"tank", "former", "eth0"}}
		tab.Apply(say(7, "h", flagsUp, at(0, 2)), false)
		a := former.answer(tab, tab.Questions(1)[0])
		end(tab)
		tab.Answer(&a)
		expect(t, tab)
		known{at(0, 2): {"tank", "101", "eth0"}}.answerAll(tab)
		expect(t, tab, `up 7 h up "eth0" tank/101`)
	}
}

func TestDumpNeverBeatsLive(t *testing.T) {
	tab := New(Config{Now: time.Now, Hears: true, Budgets: newBudgets()})
	tab.BeginDump()
	tab.Apply(say(7, "new", flagsUp, alone), false)
	tab.Apply(gone(8), false)
	tab.Renumbered(1)
	tab.Take()
	for _, stale := range []*rtnl.Link{
		say(7, "old", flagsUp, alone), say(7, "new", 0, alone), say(7, "new", flagsUp, at(1, 1)), say(8, "gone", flagsUp, alone), say(9, "freed", flagsUp, at(1, 2)),
	} {
		if !tab.Apply(stale, true) {
			t.Errorf("no doubt about %+v", stale)
		}
	}
	if tab.Apply(say(7, "new", flagsUp, alone), true) {
		t.Error("doubt about a record that matches the row")
	}
	tab.EndDump()
	expect(t, tab)
	tab.BeginDump() // in the next dump the records count
	tab.Apply(say(7, "old", flagsUp, alone), true)
	tab.Apply(say(8, "gone", flagsUp, alone), true)
	expect(t, tab, `rename 7 old up "" / was new resync`, `up 8 gone up "" / resync`)
}

// TestLinkOfAnotherNamespace applies messages about a link of another namespace with the ifindex of a
// row. It expects doubt and no change.
func TestLinkOfAnotherNamespace(t *testing.T) {
	tab, _ := newTestTable()
	tab.Apply(say(2, "veth101", flagsUp, at(rtnl.NSIDLocal, 3)), false)
	lines(tab)
	moved, ended := say(2, "eth0", 0, at(0, 17)), say(2, "eth0", 0, alone)
	deleted := say(2, "eth0", 0, alone)
	deleted.Deleted = true
	for _, l := range []*rtnl.Link{moved, ended, deleted} {
		if !tab.Apply(l, false) {
			t.Errorf("no doubt about %+v", l)
		}
		expect(t, tab)
	}
	if renamed := say(2, "veth102", flagsUp, at(rtnl.NSIDLocal, 3)); tab.Apply(renamed, false) || tab.rows[2].Veth != "veth102" {
		t.Error("a rename was not applied")
	}
	deleted.Name = "veth102"
	if tab.Apply(deleted, false) || tab.rows[2] != nil {
		t.Error("the deletion of a link was not applied")
	}

	tab.Apply(ended, false) // no row has its ifindex
	if due := tab.Questions(1); len(due) != 1 || !tab.Answer(&Answer{Question: due[0], Gone: true}) {
		t.Errorf("questions %+v, or no doubt about a row without a link", due)
	}
}

// TestAnswerAboutAnotherLink expects doubt about an answer that has neither the name nor the peer of the row.
func TestAnswerAboutAnotherLink(t *testing.T) {
	tab, _ := newTestTable()
	tab.Apply(say(7, "h", flagsUp, at(0, 2)), false)
	q := tab.Questions(1)[0]
	if !tab.Answer(&Answer{Question: q, Link: *say(7, "other", flagsUp, at(1, 3))}) {
		t.Error("no doubt")
	}
}

func TestTooManyDeletedCastDoubtOnAll(t *testing.T) {
	tab := New(Config{Now: time.Now, Hears: true, Budgets: newBudgets()})
	tab.BeginDump()
	for i := range uint32(maxDeleted + 10) {
		tab.Apply(gone(i+1), false)
	}
	if len(tab.deleted) > maxDeleted+1 || !tab.Apply(say(1<<20, "h", flagsUp, alone), true) {
		t.Errorf("%d deleted links, or no doubt", len(tab.deleted))
	}
}

func TestSeedAndEndDump(t *testing.T) {
	tab := New(Config{Now: time.Now, Hears: true, Budgets: newBudgets()})
	since := time.Unix(500, 0).UTC()
	tab.Seed([]hub.Interface{
		{Ifindex: 1, Veth: "same", Name: "eth0", Pool: "tank", ID: "1", State: hub.LinkUp, Since: since},
		{Ifindex: 2, Veth: "gone", Name: "eth0", Pool: "tank", ID: "2", State: hub.LinkUp},
		{Ifindex: 3, Veth: "idle", State: hub.LinkDown},
	})
	tab.BeginDump()
	tab.Apply(say(1, "same", flagsUp, at(0, 2)), true)
	tab.Apply(say(4, "new", flagsUp, alone), true)
	tab.EndDump()
	if r := tab.rows[1]; r.Since != since {
		t.Errorf("up since %v", r.Since)
	}
	expect(t, tab, `up 4 new up "" / resync`, `down 2 gone down "eth0" tank/2 removed resync`, ` 3 idle down "" / removed resync`)
}

// TestMovedWhileDown expects a handover if another container has the interface after a restart.
func TestMovedWhileDown(t *testing.T) {
	tab, _ := newTestTable()
	tab.Seed([]hub.Interface{{Ifindex: 7, Veth: "h", Name: "eth0", Pool: "tank", ID: "1", State: hub.LinkUp, Announced: true}})
	tab.BeginDump()
	tab.Apply(say(7, "h", flagsUp, at(0, 2)), true)
	tab.EndDump()
	known{at(0, 2): {"tank", "2", "eth1"}}.answerAll(tab)
	expect(t, tab, `down 7 h no-carrier "eth0" tank/1 handover resync`, `up 7 h up "eth1" tank/2 handover resync`)
}

// TestRenamedUnheard expects a rename with resync if the name changed while messages were lost, and only
// if the interface still has its owner.
func TestRenamedUnheard(t *testing.T) {
	for id, want := range map[string][]string{
		"101": {`rename 7 h up "eth1" tank/101 was eth0 resync`},
		"102": {`down 7 h no-carrier "eth0" tank/101 handover resync`, `up 7 h up "eth1" tank/102 handover resync`},
	} {
		tab, _ := newTestTable()
		tab.Apply(say(7, "h", flagsUp, at(0, 2)), false)
		known{at(0, 2): {"tank", "101", "eth0"}}.answerAll(tab)
		tab.Take()
		tab.Suspect()
		tab.BeginDump()
		tab.Apply(say(7, "h", flagsUp, at(0, 2)), true)
		expect(t, tab)
		known{at(0, 2): {"tank", id, "eth1"}}.answerAll(tab)
		expect(t, tab, want...)
	}
}

// TestCarrierIsLowerUp expects the operational state not to count, because it follows the carrier with a delay.
func TestCarrierIsLowerUp(t *testing.T) {
	for flags, want := range map[uint32]hub.LinkState{
		0: hub.LinkDown, unix.IFF_RUNNING | unix.IFF_LOWER_UP: hub.LinkDown, unix.IFF_UP: hub.LinkNoCarrier,
		unix.IFF_UP | unix.IFF_RUNNING: hub.LinkNoCarrier, unix.IFF_UP | unix.IFF_LOWER_UP: hub.LinkUp, flagsUp: hub.LinkUp,
	} {
		if got := stateOf(flags); got != want {
			t.Errorf("%#x is %s, want %s", flags, got, want)
		}
	}
}

// TestSince expects the Since of a row to be when its state began, and zero if that is not known.
func TestSince(t *testing.T) {
	tab, now := newTestTable()
	*now = time.Unix(1000, 1234567)
	want := time.Unix(1000, 1234000).UTC()
	tab.Apply(say(7, "h", flagsUp, alone), false)
	*now = now.Add(time.Minute)
	tab.Apply(say(7, "g", flagsUp, alone), false)
	if got := tab.rows[7].Since; got != want {
		t.Errorf("since %v, want %v", got, want)
	}
	tab.BeginDump()
	tab.Apply(say(7, "g", 0, alone), true)
	if got := tab.rows[7].Since; !got.IsZero() {
		t.Errorf("since %v, want zero", got)
	}
}

func TestShowName(t *testing.T) {
	for raw, want := range map[string]string{
		"eth0": "eth0", "vëth": "vëth", "a\xffb": `a\xffb`, `a\xff`: `a\x5cxff`, "\x1b[2J": `\x1b[2J`,
		"\xe2\x80\xae": `\xe2\x80\xae`, "\x7f": `\x7f`,
	} {
		if got := showName(raw); got != want {
			t.Errorf("%q is shown as %s, want %s", raw, got, want)
		}
	}
}

func TestEventOptions(t *testing.T) {
	c := Change{
		Action: ActionRename, OldVeth: "a", Resync: true, Handover: true, Removed: true,
		Row: hub.Interface{Ifindex: 7, Veth: "b", Name: "eth0", Pool: "tank", ID: "101", BoundBy: "x.service", Kept: true},
	}
	e, err := c.Event()
	must(t, err)
	var got []string
	for _, o := range e.Options {
		got = append(got, fmt.Sprintf("%s:%s=%s%d", o.Name, o.Value.Type(), o.Value.Text(), o.Value.Bits()))
	}
	want := []string{
		"pool:s=tank0", "id:s=1010", "action:s=rename0", "name:s=eth00", "new_name:s=eth00", "veth:s=b0",
		"old_veth:s=a0", "ifindex:u=7", "bound_by:s=x.service0", "gone:b=1", "handover:b=1", "kept:b=1", "resync:b=1",
	}
	if !slices.Equal(got, want) || e.Source != hub.SourceNetlink || e.Type != hub.TypeNetif {
		t.Errorf("%s by %s: %q", e.Type, e.Source, got)
	}
}
