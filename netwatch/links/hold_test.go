package links

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/rtnl"
)

// heldUp makes a Table with one link, which is up and whose owner is not known.
func heldUp(t *testing.T) (*Table, *time.Time) {
	t.Helper()
	tab, now := newTestTable()
	tab.Apply(say(7, "h", flagsUp, at(0, 2)), false)
	nobody.answerAll(tab)
	expect(t, tab)
	return tab, now
}

var (
	nobody = known{at(0, 2): {name: "eth0"}}
	found  = known{at(0, 2): {"tank", "101", "eth0"}}
)

// later moves the clock to Table.Next, if there is one, and calls Table.Expire.
func later(tab *Table, now *time.Time) {
	if next := tab.Next(); !next.IsZero() {
		*now = next
	}
	tab.Expire()
}

func TestHoldEnds(t *testing.T) {
	t.Run("with the answer", func(t *testing.T) {
		tab, now := heldUp(t)
		tab.Apply(say(7, "h2", 0, at(0, 2)), false)
		tab.Apply(say(8, "other", flagsUp, alone), false)
		expect(t, tab, `up 8 other up "" /`)
		later(tab, now)
		found.answerAll(tab)
		expect(t, tab, `up 7 h up "eth0" tank/101`, `rename 7 h2 up "eth0" tank/101 was h`, `down 7 h2 down "eth0" tank/101`)
	})
	t.Run("repeats no question before Next", func(t *testing.T) {
		tab, now := newTestTable()
		tab.Apply(say(7, "h", flagsUp, at(0, 2)), false)
		a := nobody.answer(tab, tab.Questions(1)[0])
		a.Next = now.Add(200 * time.Millisecond)
		tab.Answer(&a)
		if next := tab.Next(); next != a.Next {
			t.Errorf("asks again at %v, want %v", next, a.Next)
		}
	})
	t.Run("after its time", func(t *testing.T) {
		tab, now := heldUp(t)
		until := now.Add(holdFor)
		for now.Before(until) {
			expect(t, tab)
			later(tab, now)
			nobody.answerAll(tab)
		}
		if !now.Equal(until) {
			t.Errorf("ended at %v, want %v", now, until)
		}
		expect(t, tab, `up 7 h up "eth0" /`)
		tab.Apply(say(7, "h", 0, at(0, 2)), false)
		tab.Apply(say(7, "h", flagsUp, at(0, 2)), false)
		nobody.answerAll(tab) // only the first up waits for an owner
		expect(t, tab, `down 7 h down "eth0" /`, `up 7 h up "eth0" /`)
	})
	t.Run("without an answer", func(t *testing.T) {
		tab, now := newTestTable()
		tab.Seed([]hub.Interface{{Ifindex: 7, Veth: "h", Name: "eth0", Pool: "tank", ID: "former", State: hub.LinkDown}})
		tab.Apply(say(7, "h", flagsUp, at(0, 2)), false)
		*now = now.Add(holdFor)
		tab.Expire()
		expect(t, tab, `up 7 h up "" /`)
	})
	t.Run("with the link", func(t *testing.T) {
		tab, _ := heldUp(t)
		tab.Apply(gone(7), false)
		expect(t, tab, `up 7 h up "eth0" /`, `down 7 h down "eth0" / removed`)
	})
	t.Run("with the peer", func(t *testing.T) {
		tab, _ := heldUp(t)
		tab.Apply(say(7, "h", flagsUp, at(1, 2)), false)
		known{at(1, 2): {"tank", "102", "eth0"}}.answerAll(tab)
		expect(t, tab, `up 7 h up "eth0" /`, `down 7 h no-carrier "eth0" /`, `up 7 h up "eth0" tank/102`)
	})
	t.Run("with a report", func(t *testing.T) {
		tab, now := newTestTable()
		tab.Apply(say(7, "h", flagsUp, at(0, 2)), false)
		tab.Bind(&Binding{Owner: Owner{"dozer", "7"}, Name: "lan", Veth: "h", Source: "osctld"})
		expect(t, tab) // a container may still be found, and would count
		nobody.answerAll(tab)
		expect(t, tab, `up 7 h up "eth0" dozer/7 by osctld`)
		later(tab, now)
		found.answerAll(tab)
		expect(t, tab, `down 7 h no-carrier "eth0" dozer/7 by osctld handover`, `up 7 h up "eth0" tank/101 handover`)
		tab.Bind(&Binding{Owner: Owner{"dozer", "8"}, Name: "lan", Veth: "h", Source: "osctld"})
		expect(t, tab)
	})
}

func TestReportCountsOverName(t *testing.T) {
	tab, _ := newTestTable()
	tab.Apply(say(7, "h", flagsUp, at(0, 2)), false)
	known{at(0, 2): {PoolNetns, "web", "eth0"}}.answerAll(tab)
	expect(t, tab, `up 7 h up "eth0" netns/web`)
	b := Binding{Owner: Owner{"dozer", "8"}, Name: "lan", Veth: "h", Source: "osctld"}
	tab.Bind(&b)
	expect(t, tab, `down 7 h no-carrier "eth0" netns/web handover`, `up 7 h up "eth0" dozer/8 by osctld handover`)
	b.ends = true
	tab.Bind(&b)
	expect(t, tab, `down 7 h no-carrier "eth0" dozer/8 by osctld handover`, `up 7 h up "eth0" netns/web handover`)
}

// TestReportIsKeptWhileAsked repeats the question about an interface with a reported owner: after a restart,
// a loss, and a new id of the namespace. It expects the owner to change only if a container is found.
func TestReportIsKeptWhileAsked(t *testing.T) {
	tab, _ := newTestTable()
	tab.Seed([]hub.Interface{{Ifindex: 5, Veth: "h", Name: "p", State: hub.LinkUp, Pool: "dozer", ID: "8", BoundBy: "osctld", BoundPeer: 3, Announced: true}})
	here := say(5, "h", flagsUp, at(0, 3))
	nobody := known{at(0, 3): {"", "", "p"}, at(1, 3): {"", "", "p"}}
	dump := func() {
		t.Helper()
		tab.BeginDump()
		tab.Apply(here, true)
		tab.EndDump()
		if nobody.answerAll(tab) == 0 {
			t.Error("no question was due")
		}
		expect(t, tab)
	}
	dump()
	tab.Suspect()
	dump()
	tab.Renumbered(0)
	here.Peer = at(1, 3)
	tab.Apply(here, false)
	nobody.answerAll(tab)
	expect(t, tab)
	tab.Suspect()
	dump()
	tab.Suspect()
	tab.BeginDump()
	tab.Apply(here, true)
	known{at(1, 3): {"tank", "101", "p"}}.answerAll(tab)
	expect(t, tab, `down 5 h no-carrier "p" dozer/8 by osctld handover resync`, `up 5 h up "p" tank/101 handover resync`)
}

// TestReportOfReplacedVeth expects a report to bind the veth whose peer it had, and no other that got the
// same ifindex, maybe also the same name, while the service was down or messages were lost.
func TestReportOfReplacedVeth(t *testing.T) {
	for _, loss := range []bool{false, true} {
		for _, name := range []string{"h", "h2"} {
			tab, now := newTestTable()
			nobody := known{at(0, 3): {"", "", "p"}, at(0, 9): {"", "", "p"}}
			tab.Apply(say(5, "h", flagsUp, at(0, 3)), false)
			nobody.answerAll(tab)
			tab.Bind(&Binding{Owner: Owner{"dozer", "8"}, Name: "p", Veth: "h", Source: "osctld"})
			if loss {
				tab.Suspect()
			} else {
				changes := tab.Take()
				row := changes[len(changes)-1].Row
				tab, now = newTestTable()
				tab.Seed([]hub.Interface{row})
			}
			tab.Take()
			tab.BeginDump()
			tab.Apply(say(5, name, flagsUp, at(0, 9)), true)
			tab.EndDump()
			nobody.answerAll(tab)
			*now = now.Add(time.Second)
			tab.Expire()
			expect(t, tab, `down 5 h down "p" dozer/8 by osctld removed resync`, fmt.Sprintf(`up 5 %s up "p" / resync`, name))
		}
	}
}

func TestHoldsAreBounded(t *testing.T) {
	tab, _ := newTestTable()
	for i := range uint32(maxHeld + 10) {
		tab.Apply(say(i+1, "h", flagsUp, at(int32(i), 2)), false)
	}
	if n := len(tab.Take()); tab.held != maxHeld || n != 10 {
		t.Errorf("%d held, %d announced", tab.held, n)
	}
}

func TestDeniedName(t *testing.T) {
	tab, _ := newTestTable()
	tab.Apply(say(7, "h", flagsUp, at(0, 2)), false)
	known{at(0, 2): {"tank", "101", ""}}.answerAll(tab)
	expect(t, tab, `up 7 h up "" tank/101`)
}

// TestDeafAsksForNames expects a question for the name at each up if the Table does not hear renames.
func TestDeafAsksForNames(t *testing.T) {
	tab, _ := newTestTable()
	tab.Hears = false
	tab.Apply(say(7, "h", flagsUp, at(0, 2)), false)
	found.answerAll(tab)
	tab.Apply(say(7, "h", 0, at(0, 2)), false)
	tab.Apply(say(7, "h", flagsUp, at(0, 2)), false)
	known{at(0, 2): {"tank", "101", "eth1"}}.answerAll(tab)
	expect(t, tab, `up 7 h up "eth0" tank/101`, `down 7 h down "eth0" tank/101`, `rename 7 h down "eth1" tank/101 was eth0 resync`, `up 7 h up "eth1" tank/101`)
}

// TestQuestionsAreNotForgotten expects a question that failed to be repeated.
func TestQuestionsAreNotForgotten(t *testing.T) {
	tab, now := newTestTable()
	tab.Apply(say(7, "h", flagsUp, at(0, 2)), false)
	q := tab.Questions(1)[0]
	tab.Answer(&Answer{Question: q, Failed: true, Next: now.Add(100 * time.Millisecond)})
	if _, due := tab.DueSince(); due {
		t.Error("due at once")
	}
	later(tab, now)
	if n := found.answerAll(tab); n != 1 {
		t.Errorf("asked %d times", n)
	}
	expect(t, tab, `up 7 h up "eth0" tank/101`)
}

func TestPendingBindingsAreBounded(t *testing.T) {
	tab, now := newTestTable()
	bind := func(i int) {
		tab.Bind(&Binding{Owner: Owner{"tank", fmt.Sprint(i)}, Name: "eth0", Veth: fmt.Sprint("v", i)})
	}
	for i := range maxPending + 10 {
		bind(i)
		bind(i)
	}
	p := &tab.pending
	if n := len(*p); n != maxPending || p.take("v9", *now) != nil || p.take("v10", *now) == nil {
		t.Errorf("%d bindings wait", n)
	}
	*now = now.Add(pendingFor + time.Second)
	if p.take("v11", *now) != nil {
		t.Error("a binding waits for too long")
	}
	bind(0)
	if len(*p) != 1 {
		t.Error("old bindings are still there:", len(*p))
	}
}

func TestBindingOf(t *testing.T) {
	for line, want := range map[string]string{
		"osctld up eth0 h": "eth0 false", "osctld rename eth0 h": "eth1 false", "osctld remove eth0 h": "eth0 true",
		"osctld down eth0 h": "", "netlink up eth0 h": "", "osctld up eth0 ": "",
	} {
		var source, action, name, veth string
		_, _ = fmt.Sscan(line, &source, &action, &name, &veth)
		e, err := hub.NewEvent(hub.TypeNetif, hub.Options{
			{Name: "pool", Value: hub.String("tank")},
			{Name: "id", Value: hub.String("1")},
			{Name: "action", Value: hub.String(action)},
			{Name: "name", Value: hub.String(name)},
			{Name: "new_name", Value: hub.String("eth1")},
			{Name: "veth", Value: hub.String(veth)},
		}, source)
		must(t, err)
		got := ""
		if b, ok := BindingOf(e); ok {
			got = fmt.Sprint(b.Name, " ", b.ends)
		}
		if got != want {
			t.Errorf("%s: %q", line, got)
		}
	}
}

// FuzzTable applies any sequence of inputs: live messages, records of dumps that begin and end anywhere,
// answers, reports. Each input is 8 bytes of the fuzzed ones.
func FuzzTable(f *testing.F) {
	f.Add([]byte("\x00\x07\x02\x00\x02\x02\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x01\x07\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x07\x02\x00\x02\x02\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x03\x02\x00\x00\x0a\xff\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		tab, now := newTestTable()
		tab.Budgets = NewBudgets(Budget{4, time.Second}, Budget{6, 400 * time.Millisecond})
		view := map[uint32]hub.Interface{}
		for ; len(b) >= 8; b = b[8:] {
			fuzzStep(tab, now, b[:8])
			for _, c := range tab.Take() {
				foldChange(t, view, &c)
			}
			checkTable(t, tab, view)
		}
	})
}

// checkTable expects the view to match the published rows, and the indexes to be right.
func checkTable(t *testing.T, tab *Table, view map[uint32]hub.Interface) {
	t.Helper()
	want := map[uint32]hub.Interface{}
	for ifindex, r := range tab.rows {
		if r.hold == nil && r.Interface != r.emitted {
			t.Fatalf("row %+v is emitted as %+v", r.Interface, r.emitted)
		}
		if r.hold == nil && !r.throttled && r.emitted != r.published {
			t.Fatalf("row %+v is published as %+v", r.emitted, r.published)
		}
		if r.published.Ifindex != 0 { // otherwise its first change is held
			want[ifindex] = r.published
		}
		if r.Ifindex != ifindex || r.gone {
			t.Fatalf("row %d: %+v", ifindex, r)
		}
		if is := r.peer; is.NSID != rtnl.NSIDUnknown && is.Ifindex != 0 && tab.inside[is.NSID][is.Ifindex] != r {
			t.Fatalf("row %d is not found by its peer %+v", ifindex, is)
		}
	}
	if !maps.Equal(view, want) {
		t.Fatalf("view %v, table %v", view, want)
	}
	for veth, r := range tab.byName {
		if r.gone || r.Veth != veth {
			t.Fatalf("name %q leads to %+v", veth, r)
		}
	}
	for nsid, all := range tab.inside {
		for ifindex, r := range all {
			if r.gone || r.peer != at(nsid, ifindex) {
				t.Fatalf("peer %d in %d leads to %+v", ifindex, nsid, r)
			}
		}
	}
	for _, r := range tab.rows {
		if r.throttled != slices.Contains(tab.throttled, r) || r.throttled && r.hold != nil || tab.Next().After(r.tokenAt) && r.throttled {
			t.Fatalf("row %+v does not match the throttled rows %v, or Next %v", r, tab.throttled, tab.Next())
		}
	}
	if n := len(tab.retries); n != len(slices.Compact(slices.Clone(tab.retries))) {
		t.Fatal("a row has two retries")
	}
}

func fuzzStep(tab *Table, now *time.Time, b []byte) {
	flags := []uint32{0, flagsNoCarrier, flagsUp, flagsUp}[b[2]%4]
	l := say(uint32(b[1]%8)+1, string('a'+rune(b[3]%8)), flags, at(int32(b[4]%4)-2, uint32(b[5]%9)))
	who := known{at(0, 2): {"tank", "101", "eth0"}, at(1, 2): {"tank", "102", "eth" + string('0'+rune(b[6]%4))}, at(1, 3): {PoolNetns, "n", "p"}, at(0, 3): {"", "", "q"}}
	switch b[0] % 13 {
	case 1:
		l.Deleted = true
	case 2:
		l.Deleted, l.Moved, l.MovedTo = true, true, at(int32(b[6]%4)-2, uint32(b[7]%9))
	case 3:
		tab.BeginDump()
		return
	case 4:
		tab.EndDump()
		return
	case 6:
		l.Ifindex, l.Peer = uint32(b[5]%9), at(0, l.Ifindex)
		l.Deleted, l.Moved = b[6]%8 == 0, b[6]%16 == 0
		tab.Inside(l, int32(b[4]%2))
		return
	case 7:
		tab.Renumbered(int32(b[4] % 2))
		return
	case 8:
		for _, q := range tab.Questions(100) {
			if tab.rows[q.Ifindex] != nil {
				a := who.answer(tab, q)
				tab.Answer(&a)
			}
		}
		return
	case 9:
		tab.Recheck(Owner{"tank", "101"}, int32(b[1]%2))
		return
	case 10:
		*now = now.Add(time.Duration(b[1]) * 4 * time.Millisecond)
		tab.Expire()
		return
	case 11:
		tab.Suspect()
		return
	case 12:
		tab.Bind(&Binding{Owner: Owner{"dozer", string('0' + rune(b[1]%3))}, Name: "veth", Veth: l.Name, Source: "osctld", ends: b[2]%3 == 0})
		return
	}
	tab.Apply(l, b[0]%13 == 5)
}

// foldChange applies a change to a view, and checks that the row allows it.
func foldChange(t *testing.T, view map[uint32]hub.Interface, c *Change) {
	t.Helper()
	old, had := view[c.Row.Ifindex]
	wasUp, isUp := had && old.State == hub.LinkUp, c.Row.State == hub.LinkUp
	switch c.Action {
	case ActionUp:
		if wasUp && (!c.Handover || old.ID != "") || !isUp || c.Removed {
			t.Fatalf("up: %+v then %+v", old, c)
		}
	case ActionDown:
		if !wasUp || isUp || old.ID != c.Row.ID {
			t.Fatalf("down: %+v then %+v", old, c)
		}
	case ActionRename:
		if c.OldName != "" {
			if !had || c.OldName != old.Name || c.Row.Name == old.Name || wasUp != isUp {
				t.Fatalf("rename inside: %+v then %+v", old, c)
			}
		} else if !had || c.OldVeth != old.Veth || c.Row.Veth == old.Veth || wasUp != isUp {
			t.Fatalf("rename: %+v then %+v", old, c)
		}
	default:
		if wasUp != isUp || !had && c.Removed {
			t.Fatalf("silent: %+v then %+v", old, c)
		}
	}
	if (c.Action != ActionRename || c.OldName != "") && had && old.Veth != c.Row.Veth {
		t.Fatalf("name: %+v then %+v", old, c)
	}
	if c.Removed {
		delete(view, c.Row.Ifindex)
	} else {
		view[c.Row.Ifindex] = c.Row
	}
}
