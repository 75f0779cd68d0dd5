package hub

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// model is the hub without its cleverness: everything that was ever committed
// in one slice, and subscriptions that look at all of it.
type model struct {
	hub        *Hub
	history    int
	maxBytes   int
	all        []*Event // event seq is at seq-1
	first      uint64
	laps       uint64
	interfaces map[uint32]Interface
	containers map[containerKey]string
	subs       []*modelSub
	shots      []modelShot
}

type modelSub struct {
	sub     *Subscription
	accepts map[string][]string
	pos     uint64 // number of the next event to look at
	waiting bool
	woken   bool
}

// modelShot is a snapshot that was taken earlier.
type modelShot struct {
	cursor     string
	last       uint64
	interfaces map[uint32]Interface
	containers map[containerKey]string
}

func (m *model) last() uint64 { return uint64(len(m.all)) }

func (s *modelSub) accept(e *Event) bool {
	has := map[string]string{"type": e.Type, "action": e.Action, "id": e.ID, "pool": e.Pool, "source": e.Source, "name": e.Options.Text("name")}
	for key, values := range s.accepts {
		if !slices.Contains(values, has[key]) {
			return false
		}
	}
	return true
}

// pending returns the numbers, from the position on, that s is to see.
func (m *model) pending(s *modelSub) (numbers []uint64) {
	for seq := s.pos; seq <= m.last(); seq++ {
		if s.accept(m.all[seq-1]) {
			numbers = append(numbers, seq)
		}
	}
	return numbers
}

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

// trim drops the oldest until the rest fits, but not the newest.
func (m *model) trim() {
	for m.first < m.last() {
		size := 0
		for _, e := range m.all[m.first-1:] {
			size += e.size
		}
		if m.last()-m.first < uint64(m.history) && size <= m.maxBytes {
			return
		}
		m.first++
	}
}

func (m *model) subscribe(t *rapid.T) {
	s := &modelSub{accepts: map[string][]string{}}
	var f Filter
	for _, has := range [][]string{ // in order: draws must be repeatable
		{"type", "open", "state", "db", "ct_netif"},
		{"action", "", "up", "running", "remove"},
		{"id", "a", "b", "c"},
		{"source", "netlink", "uid:0"},
		{"name", "", "eth0"},
		{"pool", "p", ""},
	} {
		key, values := has[0], has[1:]
		chosen := rapid.SliceOfN(rapid.SampledFrom(append(slices.Clone(values), "never")), 0, 3).Draw(t, key)
		if len(chosen) == 0 || rapid.Bool().Draw(t, "any "+key) {
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
	var gone *GoneError
	var invalid *InvalidCursorError
	switch {
	case at > m.last():
		if !errors.As(err, &invalid) {
			t.Fatalf("Subscribe at %d of %d: %v", at, m.last(), err)
		}
	case at+1 < m.first:
		if !errors.As(err, &gone) {
			t.Fatalf("Subscribe at %d, first %d: %v", at, m.first, err)
		}
	case err != nil:
		t.Fatalf("Subscribe at %d of %d to %d: %v", at, m.first, m.last(), err)
	default:
		s.pos = at + 1
		m.subs = append(m.subs, s)
	}
}

// pick draws a subscription; waiting ones only if asked for.
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

func idle(s *modelSub) bool  { return !s.waiting && !s.woken }
func filed(s *modelSub) bool { return s.waiting || s.woken }

// poll reads once and says whether it was told that there is nothing.
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
			t.Fatalf("number %d is another event", e.Seq)
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
	for !m.poll(t, s, 3) {
	}
	if waiting, err := s.sub.file(); !waiting || err != nil {
		t.Fatalf("file = %v, %v, with nothing left to read", waiting, err)
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
	s := m.pick(t, filed)
	s.sub.unfile()
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
	s := m.pick(t, func(*modelSub) bool { return true })
	s.sub.Close()
	if n, err := s.sub.Poll(make([]*Event, 1)); n != 0 || !errors.Is(err, ErrClosed) {
		t.Fatalf("Poll of a closed one = %d, %v", n, err)
	}
	if filed(s) != (s.sub.woken != nil && len(s.sub.woken) == 1) {
		t.Fatal("Close did not wake who waits, or woke who does not")
	}
	m.subs = slices.DeleteFunc(m.subs, func(other *modelSub) bool { return other == s })
}

func (m *model) state(t *rapid.T) modelShot {
	shot := modelShot{last: m.last(), interfaces: map[uint32]Interface{}, containers: map[containerKey]string{}}
	rows, cursor := m.hub.Interfaces()
	for _, row := range rows {
		shot.interfaces[row.Ifindex] = row
	}
	containers, other := m.hub.Containers()
	for _, row := range containers {
		shot.containers[containerKey{row.Pool, row.ID}] = row.State
	}
	if shot.cursor = cursor; cursor != other {
		t.Fatalf("cursors are %q, %q", cursor, other)
	}
	return shot
}

// replay takes an old snapshot and the events after its cursor: that must be the
// state of now.
func (m *model) replay(t *rapid.T) {
	if len(m.shots) == 0 {
		t.Skip("no snapshot")
	}
	shot := rapid.SampledFrom(m.shots).Draw(t, "snapshot")
	s, err := m.hub.Subscribe(Filter{}, shot.cursor)
	if shot.last+1 < m.first {
		var gone *GoneError
		if !errors.As(err, &gone) {
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

// check holds after each step.
func (m *model) check(t *rapid.T) {
	status := m.hub.Status()
	if status.Last != m.last() || status.Oldest != m.first || status.Interfaces != len(m.interfaces) || status.Containers != len(m.containers) {
		t.Fatalf("status is %+v, want %d to %d", status, m.first, m.last())
	}
	if now := m.state(t); !maps.Equal(now.interfaces, m.interfaces) || !maps.Equal(now.containers, m.containers) || now.cursor != status.Cursor() {
		t.Fatalf("state is %+v, want %v %v", now, m.interfaces, m.containers)
	}
	if got := m.hub.Counters()[CounterLapped]; got != m.laps {
		t.Fatalf("counted %d laps, want %d", got, m.laps)
	}
	var waiting []*Subscription
	for i, s := range m.subs {
		tokens := 0
		if s.woken {
			tokens = 1
		}
		if s.sub.waiting != s.waiting || len(s.sub.woken) != tokens {
			t.Fatalf("subscription %d: waiting %v, %d tokens, want %v, %d", i, s.sub.waiting, len(s.sub.woken), s.waiting, tokens)
		}
		if _, at := s.sub.Position(); at+1 != s.pos {
			t.Fatalf("subscription %d: position is after %d, want %d", i, at, s.pos-1)
		}
		if s.waiting {
			waiting = append(waiting, s.sub)
		}
	}
	checkIndex(t, m.hub, waiting...)
}

func TestModel(t *testing.T) {
	seen := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		m := &model{
			history: rapid.SampledFrom([]int{1, 2, 7, 16}).Draw(t, "history"), maxBytes: rapid.SampledFrom([]int{2000, 12000, 1 << 20}).Draw(t, "bytes"),
			first: 1, interfaces: map[uint32]Interface{}, containers: map[containerKey]string{},
		}
		var err error
		if m.hub, err = New(Config{History: m.history, HistoryBytes: m.maxBytes}); err != nil {
			t.Fatal(err)
		}
		actions := map[string]func(*rapid.T){
			"commit": m.commit, "commit more": m.commit, "subscribe": m.subscribe, "wait": m.wait, "wait more": m.wait,
			"resume": m.resume, "timeout": m.timeout, "rewind": m.rewind, "close": m.closeOne, "replay": m.replay,
			"poll":     func(t *rapid.T) { m.poll(t, m.pick(t, idle), rapid.IntRange(1, 5).Draw(t, "size")) },
			"snapshot": func(t *rapid.T) { m.shots = append(m.shots, m.state(t)) },
		}
		for name, action := range actions {
			actions[name] = func(t *rapid.T) { action(t); seen[name]++ }
		}
		actions[""] = m.check
		t.Repeat(actions)
		if m.laps > 0 {
			seen["lapped"]++
		}
	})
	t.Log(seen)
}
