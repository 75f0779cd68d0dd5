package netwatch

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/owner"
)

// say returns a link as the decoder gives it.
func say(ifindex uint32, name string, flags uint32, peer Peer) *link {
	return &link{ifindex: ifindex, name: []byte(name), flags: flags, peer: peer}
}

// lines describes the changes since the last call.
func lines(t *table) []string {
	out := []string{}
	for _, c := range t.take() {
		s := fmt.Sprintf("%s %d %s %s %q %s", c.action, c.row.Ifindex, c.row.Veth, c.row.State, c.row.Name, c.row.Pool+"/"+c.row.ID)
		if c.row.BoundBy != "" {
			s += " by " + c.row.BoundBy
		}
		if c.oldVeth+c.oldName != "" {
			s += " was " + c.oldVeth + c.oldName
		}
		if c.removed {
			s += " removed"
		}
		if c.resync {
			s += " resync"
		}
		out = append(out, s)
	}
	return out
}

func expect(t *testing.T, tab *table, want ...string) {
	t.Helper()
	if got := lines(tab); !slices.Equal(got, want) {
		t.Errorf("changes:\n%q\nwant:\n%q", got, want)
	}
}

var alone = Peer{NSID: NSIDLocal}

// known says whose some peers are, and what they are called.
type known map[Peer]whose

type whose struct{ pool, id, name string }

// newTestTable makes a table with a clock that stands still until it is moved.
func newTestTable() (*table, *time.Time) {
	now := new(time.Unix(1000, 0))
	return newTable(func() time.Time { return *now }, true, true), now
}

// tell answers all questions, again and again until there are no more.
func (k known) tell(tab *table) {
	k.owners(tab)
	k.names(tab)
}

func (k known) owners(tab *table) (asked int) {
	for _, q := range tab.takeQuestions(1 << 20) {
		if q.find == nil {
			continue
		}
		asked++
		var c owner.Container
		for p, o := range k {
			if p.NSID == q.find.nsid {
				c = owner.Container{Pool: o.pool, ID: o.id}
			}
		}
		tab.found(q.find, c, c.ID != "", tab.now())
	}
	return asked
}

var number uint32

func (k known) names(tab *table) {
	for {
		a := tab.nextAsk(func() uint32 { number++; return number })
		if a == nil {
			return
		}
		o, ok := k[a.peer]
		if !ok || a.kind == askHost {
			tab.answered(a, &link{}, unix.ENODEV)
			continue
		}
		tab.answered(a, say(a.peer.Ifindex, o.name, flagsUp, Peer{0, a.row.Ifindex}), 0)
	}
}

func TestOwnerIsKeptToTheEnd(t *testing.T) {
	tab, _ := newTestTable()
	who := known{{0, 2}: {"tank", "101", "eth0"}, {1, 2}: {"tank", "102", "eth0"}}
	tab.apply(say(7, "h", flagsNoCarrier, Peer{0, 2}), false)
	who.tell(tab)
	expect(t, tab, ` 7 h no-carrier "" /`, ` 7 h no-carrier "" tank/101`, ` 7 h no-carrier "eth0" tank/101`)
	tab.apply(say(7, "h", flagsUp, Peer{0, 2}), false)
	expect(t, tab, `up 7 h up "eth0" tank/101`)
	tab.apply(say(7, "h", flagsUp, Peer{0, 2}), false)
	expect(t, tab)
	tab.apply(say(7, "h", flagsNoCarrier, Peer{1, 2}), false) // moved on to another
	who.tell(tab)
	expect(t, tab, `down 7 h no-carrier "eth0" tank/101`, ` 7 h no-carrier "" /`, ` 7 h no-carrier "" tank/102`, ` 7 h no-carrier "eth0" tank/102`)
	tab.apply(say(7, "g", flagsUp, Peer{1, 2}), false)
	expect(t, tab, `rename 7 g no-carrier "eth0" tank/102 was h`, `up 7 g up "eth0" tank/102`)
	tab.renumbered(1, true)
	gone := say(7, "g", 0, alone) // the namespace died
	tab.apply(gone, false)
	expect(t, tab, `down 7 g down "eth0" tank/102`)
	gone.deleted = true
	tab.apply(gone, false)
	expect(t, tab, ` 7 g down "eth0" tank/102 removed`)
	if len(tab.rows)+len(tab.byPeer)+len(tab.byName)+len(tab.held)+len(tab.spaces[0].rows) != 0 {
		t.Error("something is left", tab.rows, tab.byPeer, tab.byName, tab.held)
	}
}

func TestOwnerIsAskedForAgainWhenItMatters(t *testing.T) {
	tab, _ := newTestTable()
	nobody, who := known{{0, 2}: {}}, known{{0, 2}: {"tank", "101", ""}}
	asked := 0
	for range 3 {
		tab.apply(say(7, "h", flagsNoCarrier, Peer{0, 2}), false)
		asked += nobody.owners(tab)
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	tab.apply(say(7, "h", flagsUp, Peer{0, 2}), false)
	expect(t, tab, ` 7 h no-carrier "" /`)
	who.tell(tab)
	expect(t, tab, `up 7 h up "" tank/101`, ` 7 h up "" tank/101`)
}

func TestPeerMovesWhileUp(t *testing.T) {
	tab, _ := newTestTable()
	who := known{{4, 9}: {"tank", "101", "eth0"}}
	tab.apply(say(6, "p", flagsUp, alone), false)
	tab.apply(say(7, "h", flagsUp, Peer{NSIDLocal, 6}), false)
	expect(t, tab, `up 6 p up "" /`, `up 7 h up "p" /`, ` 6 p up "h" /`)
	moved := say(6, "p", flagsUp, Peer{NSIDLocal, 7})
	moved.deleted, moved.moved, moved.movedTo = true, true, Peer{4, 9}
	tab.apply(moved, false)
	expect(t, tab, `down 6 p down "h" / removed`)
	who.tell(tab) // who it will be of says nothing of who it was of
	tab.apply(say(7, "h", flagsNoCarrier, Peer{4, 9}), false)
	expect(t, tab, `down 7 h no-carrier "p" /`, ` 7 h no-carrier "eth0" tank/101`)
	tab.apply(say(7, "h", flagsUp, Peer{4, 9}), false)
	expect(t, tab, `up 7 h up "eth0" tank/101`)
}

func TestDumpNeverBeatsLive(t *testing.T) {
	tab := newTable(time.Now, false, true)
	tab.beginDump()
	tab.apply(say(7, "new", flagsUp, alone), false)
	gone := say(8, "gone", 0, alone)
	gone.deleted = true
	tab.apply(gone, false)
	tab.take()
	for _, stale := range []*link{say(7, "old", flagsUp, alone), say(7, "new", 0, alone), say(7, "new", flagsUp, Peer{1, 1}), say(8, "gone", flagsUp, alone)} {
		if !tab.apply(stale, true) {
			t.Errorf("no doubt about %+v", stale)
		}
	}
	if tab.apply(say(7, "new", flagsUp, alone), true) {
		t.Error("doubt about the same")
	}
	tab.prune()
	expect(t, tab)
	tab.beginDump() // and the next one counts
	tab.apply(say(7, "old", flagsUp, alone), true)
	tab.apply(say(8, "gone", flagsUp, alone), true)
	expect(t, tab, `rename 7 old up "" / was new resync`, `up 8 gone up "" / resync`)
}

func TestTooManyDeletedCastDoubtOnAll(t *testing.T) {
	tab := newTable(time.Now, false, true)
	tab.beginDump()
	for i := range uint32(maxDeleted + 10) {
		tab.apply(&link{deleted: true, ifindex: i + 1, name: []byte("x")}, false)
	}
	if len(tab.deleted) > maxDeleted+1 || !tab.apply(say(1<<20, "h", flagsUp, alone), true) {
		t.Error(len(tab.deleted))
	}
}

func TestSeedAndPrune(t *testing.T) {
	tab := newTable(time.Now, false, true)
	tab.seed([]hub.Interface{
		{Ifindex: 1, Veth: "same", Name: "eth0", Pool: "tank", ID: "1", State: hub.LinkUp},
		{Ifindex: 2, Veth: "gone", Name: "eth0", Pool: "tank", ID: "2", State: hub.LinkUp},
		{Ifindex: 3, Veth: "idle", State: hub.LinkDown},
	})
	tab.beginDump()
	tab.apply(say(1, "same", flagsUp, Peer{0, 2}), true)
	tab.apply(say(4, "new", flagsUp, Peer{1, 2}), true)
	known{{0, 2}: {name: "eth0"}, {1, 2}: {name: "eth1"}}.tell(tab)
	tab.prune()
	expect(t, tab, `up 4 new up "eth1" / resync`, `down 2 gone down "eth0" tank/2 removed resync`, ` 3 idle down "" / removed resync`)
}

func TestCarrierIsBothFlags(t *testing.T) {
	for flags, want := range map[uint32]hub.LinkState{
		0: hub.LinkDown, unix.IFF_RUNNING | unix.IFF_LOWER_UP: hub.LinkDown, unix.IFF_UP: hub.LinkNoCarrier,
		unix.IFF_UP | unix.IFF_RUNNING: hub.LinkNoCarrier, unix.IFF_UP | unix.IFF_LOWER_UP: hub.LinkNoCarrier, flagsUp: hub.LinkUp,
	} {
		if got := stateOf(flags); got != want {
			t.Errorf("%#x is %s, want %s", flags, got, want)
		}
	}
}

func TestEventOptions(t *testing.T) {
	c := change{
		action: actionRename, oldVeth: "a", resync: true,
		row: hub.Interface{Ifindex: 7, Veth: "b", Name: "eth0", Pool: "tank", ID: "101"},
	}
	e, err := c.event()
	must(t, err)
	var got []string
	for _, o := range e.Options {
		got = append(got, fmt.Sprintf("%s:%s=%s%d", o.Name, o.Value.Type(), o.Value.Text(), o.Value.Bits()))
	}
	want := []string{
		"pool:s=tank0", "id:s=1010", "action:s=rename0", "name:s=eth00", "new_name:s=eth00", "veth:s=b0",
		"old_veth:s=a0", "ifindex:u=7", "resync:b=1",
	}
	if !slices.Equal(got, want) || e.Source != hub.SourceNetlink || e.Type != hub.TypeNetif {
		t.Errorf("%s by %s: %q", e.Type, e.Source, got)
	}
}

// FuzzApply lets any sequence of messages happen, live, from dumps and with
// dumps that begin and end anywhere. Each message is 8 bytes of the input.
func FuzzApply(f *testing.F) {
	f.Add([]byte("\x00\x07\x03\x00\x01\x02\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x01\x07\x00\x00\x00\x00\x00\x00"))
	seedCaptures(f, func(b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, b []byte) {
		tab, now := newTestTable()
		view := map[uint32]hub.Interface{}
		for ; len(b) >= 8; b = b[8:] {
			fuzzStep(tab, now, b[:8])
			for _, c := range tab.take() {
				foldChange(t, view, &c)
			}
			want := map[uint32]hub.Interface{}
			for ifindex, r := range tab.rows {
				if r.hold == nil {
					want[ifindex] = r.Interface
				}
				if r.Ifindex != ifindex || r.gone {
					t.Fatalf("row %d: %+v", ifindex, r)
				}
			}
			for ifindex, r := range tab.held { // what is held back is not in the view
				if r.hold.before.Ifindex != 0 {
					want[ifindex] = r.hold.before
				}
			}
			if !maps.Equal(view, want) {
				t.Fatalf("view %v, table %v", view, want)
			}
			for veth, ifindex := range tab.byName {
				if r := tab.rows[ifindex]; r == nil || r.Veth != veth {
					t.Fatalf("name %q leads to %d, which is %+v", veth, ifindex, r)
				}
			}
			for p, ifindex := range tab.byPeer {
				if r := tab.rows[ifindex]; r == nil || r.peer != p {
					t.Fatalf("peer %v leads to %d, which is %+v", p, ifindex, r)
				}
			}
		}
	})
}

func fuzzStep(tab *table, now *time.Time, b []byte) {
	flags := []uint32{0, flagsNoCarrier, flagsUp, unix.IFF_RUNNING}[b[2]%4]
	l := &link{ifindex: uint32(b[1]%8) + 1, flags: flags, name: []byte{'a' + b[3]%8}}
	l.peer = Peer{NSID: int32(b[4]%4) - 2, Ifindex: uint32(b[5] % 9)}
	who := known{{0, 2}: {"tank", "101", "eth0"}, {1, 2}: {"tank", "102", "eth" + string('0'+b[6]%4)}}
	switch b[0] % 13 {
	case 1:
		l.deleted = true
	case 2:
		l.deleted, l.moved = true, true
		l.movedTo = Peer{NSID: max(NSIDUnknown, int32(b[6]%4)-2), Ifindex: uint32(binary.NativeEndian.Uint16(b[6:]) % 9)}
	case 3:
		tab.beginDump()
		return
	case 4:
		tab.prune()
		return
	case 6:
		l.ifindex, l.peer = uint32(b[5]%9), Peer{0, l.ifindex}
		l.deleted, l.moved = b[6]%8 == 0, b[6]%16 == 0
		tab.inner(l, int32(b[4]%2))
		return
	case 7:
		tab.renumbered(int32(b[4]%2), b[5]%2 == 0)
		return
	case 8:
		who.owners(tab)
		return
	case 9:
		who.names(tab)
		return
	case 10:
		*now = now.Add(time.Duration(b[1]) * 4 * time.Millisecond)
		tab.expire(*now)
		tab.retry(*now)
		return
	case 11:
		tab.suspect()
		return
	case 12:
		tab.bind(&binding{pool: "dozer", id: string('0' + b[1]%3), name: "veth", veth: string(l.name), source: "osctld", ends: b[2]%3 == 0, promised: b[2]%3 == 1})
		return
	}
	tab.apply(l, b[0]%13 == 5)
}

// foldChange folds a change into a view, and checks that it may follow.
func foldChange(t *testing.T, view map[uint32]hub.Interface, c *change) {
	t.Helper()
	old, had := view[c.row.Ifindex]
	wasUp, isUp := had && old.State == hub.LinkUp, c.row.State == hub.LinkUp
	switch c.action {
	case actionUp:
		if wasUp || !isUp || c.removed {
			t.Fatalf("up: %+v then %+v", old, c)
		}
	case actionDown:
		if !wasUp || isUp || old.ID != c.row.ID {
			t.Fatalf("down: %+v then %+v", old, c)
		}
	case actionRename:
		if c.oldName != "" {
			if !had || c.oldName != old.Name || c.row.Name == old.Name || wasUp != isUp {
				t.Fatalf("rename inside: %+v then %+v", old, c)
			}
		} else if !had || c.oldVeth != old.Veth || c.row.Veth == old.Veth || wasUp != isUp {
			t.Fatalf("rename: %+v then %+v", old, c)
		}
	default:
		if wasUp != isUp || !had && c.removed {
			t.Fatalf("silent: %+v then %+v", old, c)
		}
	}
	if (c.action != actionRename || c.oldName != "") && had && old.Veth != c.row.Veth {
		t.Fatalf("name: %+v then %+v", old, c)
	}
	if c.removed {
		delete(view, c.row.Ifindex)
	} else {
		view[c.row.Ifindex] = c.row
	}
}
