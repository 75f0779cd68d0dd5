package netwatch

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/hub"
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
		if c.oldVeth != "" {
			s += " was " + c.oldVeth
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

// known is an Identity that knows some.
type known map[Peer]Owner

func (k known) Identify(p Peer) (Owner, bool) {
	o, ok := k[p]
	return o, ok
}

func TestOwnerIsKeptToTheEnd(t *testing.T) {
	tab := newTable(known{{0, 2}: {"tank", "101", "eth0"}, {1, 2}: {"tank", "102", "eth0"}})
	tab.apply(say(7, "h", flagsNoCarrier, Peer{0, 2}), false)
	expect(t, tab, ` 7 h no-carrier "eth0" tank/101`)
	tab.apply(say(7, "h", flagsUp, Peer{0, 2}), false)
	expect(t, tab, `up 7 h up "eth0" tank/101`)
	tab.apply(say(7, "h", flagsUp, Peer{0, 2}), false)
	expect(t, tab)
	tab.apply(say(7, "h", flagsNoCarrier, Peer{1, 2}), false) // moved on to another
	expect(t, tab, `down 7 h no-carrier "eth0" tank/101`, ` 7 h no-carrier "eth0" tank/102`)
	tab.apply(say(7, "g", flagsUp, Peer{1, 2}), false)
	expect(t, tab, `rename 7 g no-carrier "eth0" tank/102 was h`, `up 7 g up "eth0" tank/102`)
	gone := say(7, "g", 0, alone) // the namespace died
	tab.apply(gone, false)
	expect(t, tab, `down 7 g down "eth0" tank/102`)
	gone.deleted = true
	tab.apply(gone, false)
	expect(t, tab, ` 7 g down "eth0" tank/102 removed`)
	if len(tab.rows)+len(tab.byPeer) != 0 {
		t.Error("something is left", tab.rows, tab.byPeer)
	}
}

// late knows nothing until it is told to.
type late struct {
	known
	now   bool
	asked int
}

func (l *late) Identify(p Peer) (Owner, bool) {
	l.asked++
	o, ok := l.known[p]
	return o, ok && l.now
}

func TestOwnerIsAskedForAgainWhenItMatters(t *testing.T) {
	who := &late{known: known{{0, 2}: {"tank", "101", ""}}}
	tab := newTable(who)
	for range 3 {
		tab.apply(say(7, "h", flagsNoCarrier, Peer{0, 2}), false)
	}
	if who.asked != 1 {
		t.Errorf("asked %d times", who.asked)
	}
	who.now = true
	tab.apply(say(7, "h", flagsUp, Peer{0, 2}), false)
	expect(t, tab, ` 7 h no-carrier "" /`, `up 7 h up "" tank/101`)
}

func TestPeerMovesWhileUp(t *testing.T) {
	who := &late{known: known{{4, 9}: {"tank", "101", "eth0"}}}
	tab := newTable(who)
	tab.apply(say(6, "p", flagsUp, alone), false)
	tab.apply(say(7, "h", flagsUp, Peer{NSIDLocal, 6}), false)
	expect(t, tab, `up 6 p up "" /`, `up 7 h up "p" /`, ` 6 p up "h" /`)
	moved := say(6, "p", flagsUp, Peer{NSIDLocal, 7})
	moved.deleted, moved.moved, moved.movedTo = true, true, Peer{4, 9}
	tab.apply(moved, false)
	expect(t, tab, `down 6 p down "h" / removed`)
	tab.apply(say(7, "h", flagsNoCarrier, Peer{4, 9}), false)
	expect(t, tab, `down 7 h no-carrier "p" /`, ` 7 h no-carrier "" /`)
	who.now = true
	tab.apply(say(7, "h", flagsUp, Peer{4, 9}), false)
	expect(t, tab, `up 7 h up "eth0" tank/101`)
}

func TestDumpNeverBeatsLive(t *testing.T) {
	tab := newTable(unknownIdentity{})
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
	tab := newTable(unknownIdentity{})
	tab.beginDump()
	for i := range uint32(maxDeleted + 10) {
		tab.apply(&link{deleted: true, ifindex: i + 1, name: []byte("x")}, false)
	}
	if len(tab.deleted) > maxDeleted+1 || !tab.apply(say(1<<20, "h", flagsUp, alone), true) {
		t.Error(len(tab.deleted))
	}
}

func TestSeedAndPrune(t *testing.T) {
	tab := newTable(unknownIdentity{})
	tab.seed([]hub.Interface{
		{Ifindex: 1, Veth: "same", Name: "eth0", Pool: "tank", ID: "1", State: hub.LinkUp},
		{Ifindex: 2, Veth: "gone", Name: "eth0", Pool: "tank", ID: "2", State: hub.LinkUp},
		{Ifindex: 3, Veth: "idle", State: hub.LinkDown},
	})
	tab.beginDump()
	tab.apply(say(1, "same", flagsUp, Peer{0, 2}), true)
	tab.apply(say(4, "new", flagsUp, Peer{1, 2}), true)
	tab.prune()
	expect(t, tab, `up 4 new up "" / resync`, `down 2 gone down "eth0" tank/2 removed resync`, ` 3 idle down "" / removed resync`)
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
		tab := newTable(known{{0, 2}: {"tank", "101", "eth0"}})
		view := map[uint32]hub.Interface{}
		for ; len(b) >= 8; b = b[8:] {
			fuzzStep(tab, b[:8])
			for _, c := range tab.take() {
				foldChange(t, view, &c)
			}
			if len(view) != len(tab.rows) {
				t.Fatalf("view %v, table %v", view, tab.rows)
			}
			for ifindex, r := range tab.rows {
				if view[ifindex] != r.Interface || r.Ifindex != ifindex {
					t.Fatalf("view %+v, table %+v", view[ifindex], r.Interface)
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

func fuzzStep(tab *table, b []byte) {
	flags := []uint32{0, flagsNoCarrier, flagsUp, unix.IFF_RUNNING}[b[2]%4]
	l := &link{ifindex: uint32(b[1]%8) + 1, flags: flags, name: []byte{'a' + b[3]%8}}
	l.peer = Peer{NSID: int32(b[4]%4) - 2, Ifindex: uint32(b[5] % 9)}
	switch b[0] % 6 {
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
	}
	tab.apply(l, b[0]%6 == 5)
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
		if !had || c.oldVeth != old.Veth || c.row.Veth == old.Veth || wasUp != isUp {
			t.Fatalf("rename: %+v then %+v", old, c)
		}
	default:
		if wasUp != isUp || !had && c.removed {
			t.Fatalf("silent: %+v then %+v", old, c)
		}
	}
	if c.action != actionRename && had && old.Veth != c.row.Veth {
		t.Fatalf("name: %+v then %+v", old, c)
	}
	if c.removed {
		delete(view, c.row.Ifindex)
	} else {
		view[c.row.Ifindex] = c.row
	}
}
