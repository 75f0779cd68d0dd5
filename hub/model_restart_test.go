package hub

import (
	"maps"
	"slices"
	"syscall"

	"pgregory.net/rapid"
)

func (m *model) breakLog(t *rapid.T) {
	m.log.writeErr = rapid.SampledFrom([]error{syscall.ENOSPC, syscall.EIO}).Draw(t, "error")
	if rapid.IntRange(0, 3).Draw(t, "marks fail") == 0 {
		m.log.markErr = m.log.writeErr
	}
	if rapid.IntRange(0, 3).Draw(t, "at sync") == 0 {
		m.log.writeErr, m.log.syncErr = nil, syscall.EIO
	}
}

func (m *model) mendLog(*rapid.T) { m.log.writeErr, m.log.syncErr, m.log.markErr = nil, nil, nil }

// maintainLog does the work of Run. If it succeeds, the log has all events.
func (m *model) maintainLog(t *rapid.T) {
	err := m.hub.maintain()
	status := m.hub.Status()
	if err == nil != status.Durable || err == nil != (status.LogProblem == "") {
		t.Fatalf("maintain: %v, status is %+v", err, status)
	}
	if m.log.writeErr == nil && m.log.syncErr == nil && err != nil {
		t.Fatalf("maintain: %v, with a log that works", err)
	}
	if _, next := m.log.holds(); err == nil && next != m.last()+1 {
		t.Fatalf("the log holds up to %d, want %d", next-1, m.last())
	}
}

// restart kills the hub. The next hub has the content of the log, and another epoch if a published
// event is missing.
func (m *model) restart(t *rapid.T) {
	before := m.hub.Status()
	first, next := m.log.holds()
	if before.Durable && next != m.last()+1 {
		t.Fatalf("durable, but the log holds %d to %d of %d", first, next-1, m.last())
	}
	lost := next <= m.last()
	var err error
	if m.hub, err = New(t.Context(), Config{History: m.history, HistoryBytes: m.maxBytes, Log: m.log}); err != nil {
		t.Fatal(err)
	}
	m.subs, m.laps = nil, 0
	m.all = m.all[:next-1]
	m.first = min(first, next)
	if len(m.all) > 0 {
		m.trim()
	}
	status := m.hub.Status()
	if same := status.Epoch == before.Epoch; same && !before.Durable || !same && before.Durable && m.log.writeErr == nil {
		t.Fatalf("lost %v, epoch %s, before %+v", lost, status.Epoch, before)
	}
	m.adopt(t, lost)
	if m.log.writeErr == nil && !status.Durable {
		t.Fatalf("status is %+v, with a log that works", status)
	}
}

// adopt takes over the restored events, which must equal the committed ones, and the views, which must
// be the same unless events were lost.
func (m *model) adopt(t *rapid.T, lost bool) {
	buf := make([]*Event, m.history+1)
	n := 0
	if s, err := m.hub.Subscribe(Filter{}, CursorOldest); err != nil {
		t.Fatal(err)
	} else if n, err = s.Poll(buf); err != nil || uint64(n) != m.last()+1-m.first {
		t.Fatalf("restored %d events, %v, want %d to %d", n, err, m.first, m.last())
	}
	for _, e := range buf[:n] {
		was := m.all[e.Seq-1]
		same := e.Type == was.Type && e.Source == was.Source && e.keys == was.keys && e.size == was.size && e.Time.Equal(was.Time) &&
			slices.EqualFunc(e.Options, was.Options, func(a, b Option) bool { return a.Name == b.Name && sameValue(a.Value, b.Value) })
		if !same {
			t.Fatalf("restored %+v, want %+v", e, was)
		}
		m.all[e.Seq-1] = e
	}
	now := m.state(t)
	if !lost && (!maps.Equal(now.interfaces, m.interfaces) || !maps.Equal(now.containers, m.containers)) {
		t.Fatalf("restored %v %v, want %v %v", now.interfaces, now.containers, m.interfaces, m.containers)
	}
	m.interfaces, m.containers = now.interfaces, now.containers
	m.shots = slices.DeleteFunc(m.shots, func(s modelShot) bool { return lost && s.epoch == m.hub.Status().Epoch })
}
