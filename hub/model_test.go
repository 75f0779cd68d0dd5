package hub

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// model is a simple hub: all committed events are in one slice, and each subscription compares all of
// them.
type model struct {
	hub        *Hub
	log        *memoryLog
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
	pos     uint64 // number of the next event to read
	waiting bool
	woken   bool
}

// modelShot is a snapshot of an earlier state.
type modelShot struct {
	cursor     string
	epoch      string
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

// pending returns the numbers of the matching events from the position on.
func (m *model) pending(s *modelSub) (numbers []uint64) {
	for seq := s.pos; seq <= m.last(); seq++ {
		if s.accept(m.all[seq-1]) {
			numbers = append(numbers, seq)
		}
	}
	return numbers
}

// trim drops the oldest events beyond the limits, but not the newest one.
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
	shot.epoch = m.hub.Status().Epoch
	if shot.cursor = cursor; cursor != other {
		t.Fatalf("cursors are %q, %q", cursor, other)
	}
	return shot
}

// check compares the hub with the model after each step.
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
			log:     &memoryLog{full: rapid.SampledFrom([]int{0, 2, 5}).Draw(t, "full"), room: rapid.SampledFrom([]int64{500, 1 << 20}).Draw(t, "room")},
			history: rapid.SampledFrom([]int{1, 2, 7, 16}).Draw(t, "history"), maxBytes: rapid.SampledFrom([]int{2000, 12000, 1 << 20}).Draw(t, "bytes"),
			first: 1, interfaces: map[uint32]Interface{}, containers: map[containerKey]string{},
		}
		var err error
		if m.hub, err = New(t.Context(), Config{History: m.history, HistoryBytes: m.maxBytes, Log: m.log}); err != nil {
			t.Fatal(err)
		}
		actions := map[string]func(*rapid.T){
			"commit": m.commit, "commit more": m.commit, "subscribe": m.subscribe, "wait": m.wait, "wait more": m.wait, "wait most": m.wait,
			"resume": m.resume, "resume more": m.resume, "timeout": m.timeout, "rewind": m.rewind, "close": m.closeOne, "replay": m.replay,
			"restart": m.restart, "break": m.breakLog, "mend": m.mendLog, "maintain": m.maintainLog,
			"poll":     func(t *rapid.T) { m.poll(t, m.pick(t, idle), rapid.IntRange(1, 5).Draw(t, "size")) },
			"snapshot": func(t *rapid.T) { m.shots = append(m.shots, m.state(t)) },
		}
		for name, action := range actions {
			actions[name] = func(t *rapid.T) { action(t); seen[name]++ }
		}
		actions[""] = m.check
		for range 3 {
			m.subscribe(t)
			t.Repeat(actions)
		}
		if m.laps > 0 {
			seen["lapped"]++
		}
	})
	t.Log(seen)
}
