package hub

import (
	"errors"
	"maps"
	"slices"

	"pgregory.net/rapid"
)

var (
	drawID     = rapid.SampledFrom([]string{"a", "b", "c"})
	drawState  = rapid.SampledFrom([]string{"running", "stopped", "frozen"})
	drawSource = rapid.SampledFrom([]string{"netlink", "uid:0"})
)

// draw makes an event, and the change of a link that belongs to it.
func (m *model) draw(t *rapid.T) (*Event, []InterfaceChange) {
	id, source := drawID.Draw(t, "id"), drawSource.Draw(t, "source")
	typ := "open"
	var o Options
	var changes []InterfaceChange
	switch rapid.IntRange(0, 4).Draw(t, "kind") {
	case 0:
		typ, o = TypeState, opts("pool", "p", "id", id, "state", drawState.Draw(t, "state"))
	case 1:
		typ, o = TypeDB, opts("pool", "p", "id", id, "object", rapid.SampledFrom([]string{"container", "user"}).Draw(t, "object"), "action", rapid.SampledFrom([]string{"add", "remove"}).Draw(t, "action"))
	case 2:
		row := Interface{Ifindex: rapid.Uint32Range(1, 3).Draw(t, "ifindex"), Name: "eth0", Pool: "p", ID: id, State: LinkUp}
		typ, o = TypeNetif, opts("pool", "p", "id", id, "name", "eth0", "action", "up", "ifindex", Uint32(row.Ifindex))
		changes = []InterfaceChange{{Interface: row}}
	case 3:
		row := Interface{Ifindex: rapid.Uint32Range(1, 3).Draw(t, "ifindex")}
		typ, o = TypeNetif, opts("pool", "p", "id", id, "name", "eth0", "action", "down", "ifindex", Uint32(row.Ifindex))
		changes = []InterfaceChange{{Interface: row, Removed: true}}
	default:
		o = opts("id", id, "padding", Bytes(make([]byte, rapid.SampledFrom([]int{0, 0, 0, 100, 1000, 5000}).Draw(t, "padding"))))
	}
	e, err := NewEvent(typ, o, source)
	if err != nil {
		t.Fatal(err)
	}
	return e, changes
}

// fold applies one event to a state, as a client would.
func fold(e *Event, interfaces map[uint32]Interface, containers map[containerKey]string) {
	key := containerKey{e.Pool, e.ID}
	ifindex, _ := e.Options.Get("ifindex")
	row := Interface{Ifindex: uint32(ifindex.Uint()), Name: "eth0", Pool: e.Pool, ID: e.ID, State: LinkUp}
	switch e.Type + " " + e.Action + " " + e.Options.Text("object") {
	case "ct_netif up ":
		interfaces[row.Ifindex] = row
	case "ct_netif down ":
		delete(interfaces, row.Ifindex)
	case "db remove container":
		delete(containers, key)
	}
	if e.Type == TypeState {
		containers[key] = e.Action
	}
}

func (m *model) commit(t *rapid.T) {
	var batch Batch
	for range rapid.IntRange(0, 6).Draw(t, "events") {
		e, changes := m.draw(t)
		batch.Events = append(batch.Events, e)
		batch.Interfaces = append(batch.Interfaces, changes...)
	}
	first, err := m.hub.Commit(batch)
	if err != nil || first != m.last()+1 {
		t.Fatalf("Commit = %d, %v, want %d", first, err, m.last()+1)
	}
	waitForCommitter(m.hub)
	for _, e := range batch.Events {
		m.all = append(m.all, e)
		fold(e, m.interfaces, m.containers)
		if e.Seq != m.last() {
			t.Fatalf("event %d has number %d", m.last(), e.Seq)
		}
		for _, s := range m.subs {
			if s.waiting && s.accept(e) {
				s.waiting, s.woken, s.pos = false, true, e.Seq
			}
		}
		m.trim()
	}
}

func (m *model) subscribe(t *rapid.T) {
	s := &modelSub{accepts: map[string][]string{}}
	var f Filter
	for _, has := range [][]string{ // a fixed order, because draws must be repeatable
		{"type", "open", "state", "db", "ct_netif"},
		{"action", "", "up", "running", "remove"},
		{"id", "a", "b", "c"},
		{"source", "netlink", "uid:0"},
		{"name", "", "eth0"},
		{"pool", "p", ""},
	} {
		key, values := has[0], has[1:]
		chosen := rapid.SliceOfN(rapid.SampledFrom(append(slices.Clone(values), "never")), 0, 3).Draw(t, key)
		if len(chosen) == 0 || rapid.IntRange(0, 2).Draw(t, "any "+key) > 0 {
			continue
		}
		var err error
		if f, err = f.With(key, chosen...); err != nil {
			t.Fatal(err)
		}
		s.accepts[key] = chosen
	}
	at := rapid.Uint64Range(0, m.last()+2).Draw(t, "at")
	cursor := FormatCursor(m.hub.Status().Epoch, at)
	switch rapid.IntRange(0, 3).Draw(t, "cursor") {
	case 0:
		cursor, at = "", m.last()
	case 1:
		cursor, at = CursorOldest, m.first-1
	}
	var err error
	s.sub, err = m.hub.Subscribe(f, cursor)
	switch {
	case at > m.last():
		if _, ok := errors.AsType[*InvalidCursorError](err); !ok {
			t.Fatalf("Subscribe at %d of %d: %v", at, m.last(), err)
		}
	case at+1 < m.first:
		if _, ok := errors.AsType[*GoneError](err); !ok {
			t.Fatalf("Subscribe at %d, first %d: %v", at, m.first, err)
		}
	case err != nil:
		t.Fatalf("Subscribe at %d of %d to %d: %v", at, m.first, m.last(), err)
	default:
		s.pos = at + 1
		m.subs = append(m.subs, s)
	}
}

// pick draws a subscription for which ok is true.
func (m *model) pick(t *rapid.T, ok func(*modelSub) bool) *modelSub {
	var choice []*modelSub
	for _, s := range m.subs {
		if ok(s) {
			choice = append(choice, s)
		}
	}
	if len(choice) == 0 {
		t.Skip("no such subscription")
	}
	return rapid.SampledFrom(choice).Draw(t, "subscription")
}

func idle(s *modelSub) bool { return !s.waiting && !s.woken }

func isWaiting(s *modelSub) bool { return s.waiting || s.woken }

// poll reads once and reports whether there was nothing to read.
func (m *model) poll(t *rapid.T, s *modelSub, size int) bool {
	buf := make([]*Event, size)
	n, err := s.sub.Poll(buf)
	if s.pos < m.first {
		var lapped *LappedError
		if !errors.As(err, &lapped) || lapped.First != s.pos || lapped.Last != m.first-1 || n != 0 {
			t.Fatalf("Poll at %d, first %d: %d, %v", s.pos, m.first, n, err)
		}
		s.pos = m.first
		m.laps++
		return false
	}
	want := m.pending(s)
	if err != nil || n > len(want) || n == 0 && len(want) > 0 || !slices.Equal(seqs(buf[:n]), want[:n]) {
		t.Fatalf("Poll read %v, %v, want of %v", seqs(buf[:n]), err, want)
	}
	for _, e := range buf[:n] {
		if m.all[e.Seq-1] != e {
			t.Fatalf("event %d is not the one that was committed", e.Seq)
		}
	}
	_, at := s.sub.Position()
	low, high := m.last(), m.last()
	if n > 0 {
		low = want[n-1]
	}
	if n < len(want) {
		high = want[n] - 1
	}
	if at < low || at > high {
		t.Fatalf("position is after %d, want %d to %d", at, low, high)
	}
	s.pos = at + 1
	return n == 0
}

func (m *model) wait(t *rapid.T) {
	s := m.pick(t, idle)
	for done := false; !done; {
		done = m.poll(t, s, 3)
	}
	if waiting, err := s.sub.startWaiting(); !waiting || err != nil {
		t.Fatalf("startWaiting = %v, %v, with nothing left to read", waiting, err)
	}
	s.waiting = true
}

func (m *model) resume(t *rapid.T) {
	s := m.pick(t, func(s *modelSub) bool { return s.woken })
	<-s.sub.woken
	s.woken = false
	m.poll(t, s, 2)
}

func (m *model) timeout(t *rapid.T) {
	s := m.pick(t, isWaiting)
	s.sub.stopWaiting()
	if s.waiting {
		s.pos = m.last() + 1
	}
	s.waiting, s.woken = false, false
	if len(s.sub.woken) != 0 {
		t.Fatal("a token is left over")
	}
}

func (m *model) rewind(t *rapid.T) {
	s := m.pick(t, idle)
	to := rapid.Uint64Range(0, m.last()+1).Draw(t, "to")
	s.sub.Rewind(to)
	s.pos = min(s.pos, to+1)
}

func (m *model) closeOne(t *rapid.T) {
	if len(m.subs) < 6 {
		t.Skip("keep a few")
	}
	s := m.pick(t, func(*modelSub) bool { return true })
	s.sub.Close()
	if n, err := s.sub.Poll(make([]*Event, 1)); n != 0 || !errors.Is(err, ErrClosed) {
		t.Fatalf("Poll of a closed one = %d, %v", n, err)
	}
	if isWaiting(s) != (len(s.sub.woken) == 1) {
		t.Fatal("Close did not wake a waiting subscription, or woke another one")
	}
	m.subs = slices.DeleteFunc(m.subs, func(other *modelSub) bool { return other == s })
}

// replay checks that an old snapshot plus the events after its cursor is the current state.
func (m *model) replay(t *rapid.T) {
	if len(m.shots) == 0 {
		t.Skip("no snapshot")
	}
	shot := rapid.SampledFrom(m.shots).Draw(t, "snapshot")
	s, err := m.hub.Subscribe(Filter{}, shot.cursor)
	if shot.last+1 < m.first || shot.epoch != m.hub.Status().Epoch {
		if _, ok := errors.AsType[*GoneError](err); !ok {
			t.Fatalf("Subscribe at %d, first %d: %v", shot.last, m.first, err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	interfaces, containers := maps.Clone(shot.interfaces), maps.Clone(shot.containers)
	buf := make([]*Event, 4)
	for {
		n, err := s.Poll(buf)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		for _, e := range buf[:n] {
			fold(e, interfaces, containers)
		}
	}
	now := m.state(t)
	if !maps.Equal(interfaces, now.interfaces) || !maps.Equal(containers, now.containers) {
		t.Fatalf("snapshot and events give %v %v, the state is %v %v", interfaces, containers, now.interfaces, now.containers)
	}
}
