package netwatch

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/owner"
)

// heldUp makes a link that is up, of which the name is known and the owner is not.
func heldUp(t *testing.T) (*table, *time.Time) {
	t.Helper()
	tab, now := newTestTable()
	tab.apply(say(7, "h", flagsUp, Peer{0, 2}), false)
	known{{0, 2}: {name: "eth0"}}.names(tab)
	expect(t, tab)
	return tab, now
}

func TestHoldEnds(t *testing.T) {
	found := func(tab *table, ok bool) {
		for _, q := range tab.takeQuestions(10) {
			if q.find == nil {
				continue
			}
			tab.found(q.find, owner.Container{Pool: "tank", ID: "101"}, ok, tab.now().Add(30*time.Millisecond))
		}
	}
	t.Run("by the answer", func(t *testing.T) {
		tab, _ := heldUp(t)
		tab.apply(say(7, "h2", 0, Peer{0, 2}), false)
		tab.apply(say(8, "other", flagsUp, alone), false)
		expect(t, tab, `up 8 other up "" /`)
		found(tab, true)
		expect(t, tab, `up 7 h up "eth0" tank/101`, `rename 7 h2 up "eth0" tank/101 was h`, `down 7 h2 down "eth0" tank/101`)
	})
	t.Run("by an answer at a later walk", func(t *testing.T) {
		tab, now := heldUp(t)
		found(tab, false)
		if next := tab.retry(*now); next != now.Add(30*time.Millisecond) {
			t.Errorf("next walk at %v", next)
		}
		*now = now.Add(30 * time.Millisecond)
		tab.retry(*now)
		found(tab, true)
		if lines := lines(tab); lines[0] != `up 7 h up "eth0" tank/101` {
			t.Error(lines)
		}
	})
	t.Run("after its time", func(t *testing.T) {
		tab, now := heldUp(t)
		if next := tab.expire(*now); next != now.Add(holdFor) {
			t.Errorf("ends at %v", next)
		}
		*now = now.Add(holdFor)
		tab.expire(*now)
		if lines := lines(tab); lines[0] != `up 7 h up "eth0" /` {
			t.Error(lines)
		}
		found(tab, true) // for what comes next
		expect(t, tab, ` 7 h up "eth0" tank/101`)
	})
	t.Run("with the namespace", func(t *testing.T) {
		tab, _ := heldUp(t)
		tab.renumbered(0, true)
		tab.apply(say(7, "h", 0, alone), false)
		gone := say(7, "h", 0, alone)
		gone.deleted = true
		tab.apply(gone, false)
		found(tab, true) // of the former one or of the next: nobody knows
		var events []string
		for _, c := range tab.take() {
			events = append(events, fmt.Sprintf("%s%s %v", c.action, c.row.ID, c.removed))
		}
		if got := strings.Join(events, ", "); got != "up false, down false,  true" {
			t.Errorf("%q", got)
		}
		if len(tab.held)+len(tab.rows) != 0 {
			t.Error(tab.held, tab.rows)
		}
	})
	t.Run("not with the link, while the owner can be found", func(t *testing.T) {
		tab, _ := heldUp(t)
		gone := say(7, "h", 0, alone)
		gone.deleted = true
		tab.apply(gone, false)
		expect(t, tab)
		found(tab, true)
		if lines := lines(tab); lines[0] != `up 7 h up "eth0" tank/101` || lines[len(lines)-1] != `down 7 h down "eth0" tank/101 removed` {
			t.Error(lines)
		}
	})
	t.Run("with too many changes", func(t *testing.T) {
		tab, _ := heldUp(t)
		for i := range maxHeldChanges {
			tab.apply(say(7, fmt.Sprint("h", i), flagsUp, Peer{0, 2}), false)
		}
		if n := len(tab.take()); n != maxHeldChanges+1 || len(tab.held) != 0 {
			t.Errorf("%d changes", n)
		}
	})
	t.Run("by what a manager reports", func(t *testing.T) {
		tab, _ := heldUp(t)
		tab.bind(&binding{pool: "dozer", id: "7", name: "lan", veth: "h", source: "osctld"})
		expect(t, tab) // a container may be found yet, and would count
		found(tab, false)
		if lines := lines(tab); lines[0] != `up 7 h up "eth0" dozer/7 by osctld` {
			t.Error(lines)
		}
		tab.apply(say(7, "h", flagsNoCarrier, Peer{0, 2}), false)
		tab.apply(say(7, "h", flagsUp, Peer{0, 2}), false)
		expect(t, tab, `down 7 h no-carrier "eth0" dozer/7 by osctld`)
		found(tab, true)
		if lines := lines(tab); lines[0] != `up 7 h up "eth0" tank/101` {
			t.Error(lines)
		}
	})
}

func TestHoldsAreBounded(t *testing.T) {
	tab, _ := newTestTable()
	for i := range uint32(maxHeldRows + 10) {
		tab.apply(say(i+1, "h", flagsUp, Peer{int32(i), 2}), false)
	}
	if n := len(tab.take()); len(tab.held) != maxHeldRows || n != 10 {
		t.Errorf("%d held, %d announced", len(tab.held), n)
	}
}

// TestRenamedUnheard wants a name that changed while messages were lost to be
// announced as found by comparing, and only if the interface still has its owner.
func TestRenamedUnheard(t *testing.T) {
	for id, want := range map[string][]string{
		"101": {`rename 7 h up "eth1" tank/101 was eth0 resync`},
		"102": {` 7 h up "eth1" tank/102`},
	} {
		tab, _ := newTestTable()
		tab.apply(say(7, "h", flagsUp, Peer{0, 2}), false)
		known{{0, 2}: {"tank", "101", "eth0"}}.tell(tab)
		tab.take()
		tab.suspect()
		tab.beginDump()
		tab.apply(say(7, "h", flagsUp, Peer{0, 2}), true)
		expect(t, tab)
		who := known{{0, 2}: {"tank", id, "eth1"}}
		who.names(tab)
		expect(t, tab) // not before it is known whose it is
		who.owners(tab)
		expect(t, tab, want...)
	}
}

func TestDeniedName(t *testing.T) {
	tab, _ := newTestTable()
	tab.apply(say(7, "h", flagsUp, Peer{0, 2}), false)
	known{{0, 2}: {"tank", "101", ""}}.owners(tab)
	a := tab.nextAsk(func() uint32 { return 1 })
	if !tab.answered(a, &link{}, unix.EPERM) {
		t.Error("not denied")
	}
	if lines := lines(tab); lines[0] != `up 7 h up "" tank/101` {
		t.Error(lines)
	}
}

func TestPromisesAreBounded(t *testing.T) {
	tab, now := newTestTable()
	promise := func(i int) {
		tab.bind(&binding{pool: "tank", id: fmt.Sprint(i), name: "eth0", veth: fmt.Sprint("v", i), promised: true})
	}
	for i := range maxPromises + 10 {
		promise(i)
		promise(i)
	}
	p := &tab.promises
	if len(p.byVeth) != maxPromises || len(p.order) != maxPromises || p.take("v9", *now) != nil || p.take("v10", *now) == nil {
		t.Error(len(p.byVeth), len(p.order))
	}
	*now = now.Add(promiseFor + time.Second)
	if p.take("v11", *now) != nil {
		t.Error("kept for too long")
	}
	promise(0)
	if len(p.byVeth) != 1 || len(p.order) != 1 {
		t.Error("what is too old is still there", len(p.byVeth))
	}
}

func TestBindingOf(t *testing.T) {
	for line, want := range map[string]string{
		"osctld up eth0 h": "eth0 false true", "osctld rename eth0 h": "eth1 false true", "osctld remove eth0 h": "eth0 true false",
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
		if b, ok := bindingOf(e); ok {
			got = fmt.Sprint(b.name, " ", b.ends, " ", b.promised)
		}
		if got != want {
			t.Errorf("%s: %q", line, got)
		}
	}
}

func TestQuestionsAreBounded(t *testing.T) {
	tab, _ := newTestTable()
	for i := range 3 * maxQuestions {
		tab.renumbered(int32(i%7), true)
	}
	if len(tab.questions) > maxQuestions || !tab.questions[0].forgetAll {
		t.Error(len(tab.questions))
	}
}
