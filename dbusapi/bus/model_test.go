package bus

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/osctl/eventd/dbusapi/wire"
)

// modelCall is a queued call of the model.
type modelCall struct {
	m    *wire.Message
	cost int
}

// modelConn is a connection of the model.
type modelConn struct {
	user       int // -1 while unidentified
	calls      []modelCall
	asked      bool // a question is open
	held       bool
	heldCost   int // of the held call; 0 if there is none
	resume     func(func())
	finishing  bool // resumed
	unanswered bool // the bus could not identify it
}

// model runs a queue call by call and predicts its state.
type model struct {
	t       *rapid.T
	q       *queue
	who     *fakeControl
	conns   map[string]*modelConn
	serial  uint32
	hold    bool // hold the next call
	handled string
}

// bytes returns the bytes that all connections, those of a user, and one of them hold.
func (m *model) bytes(user int, conn string) (all, ofUser, ofConn int) {
	for name, c := range m.conns {
		own := c.heldCost
		for _, call := range c.calls {
			own += call.cost
		}
		all += own
		if c.user == user {
			ofUser += own
		}
		if name == conn {
			ofConn += own
		}
	}
	return all, ofUser, ofConn
}

func (m *model) offer(name string, size int) {
	c := m.conns[name]
	all, ofUser, ofConn := m.bytes(c.user, name)
	userShare := (m.q.limit - (all - ofUser)) / 2
	connShare := (userShare - (ofUser - ofConn)) / 2
	want := ofUser == 0 && size <= m.q.limit-all || ofUser+size <= userShare && (ofConn == 0 || ofConn+size <= connShare)
	m.serial++
	message := newCall(name, m.serial, size)
	if err := m.q.offer(message); (err == nil) != want {
		m.t.Fatalf("%d bytes more of %s, user %d, with %d, %d and %d: %v", size, name, c.user, all, ofUser, ofConn, err)
	}
	if want {
		c.calls = append(c.calls, modelCall{message, size})
		c.asked = c.asked || c.user < 0 && !c.unanswered
	}
}

// turn makes the queue handle or finish one call, if there is one.
func (m *model) turn() {
	m.q.mu.Lock()
	if m.q.turns.empty() {
		m.q.mu.Unlock()
		for name, c := range m.conns {
			if len(c.calls) > 0 && !c.asked && !c.held || c.finishing {
				m.t.Fatalf("%s has a call that gets no turn", name)
			}
		}
		return
	}
	conn := m.q.next()
	c := m.conns[conn.name]
	switch {
	case conn.finish != nil:
		m.q.runFinish(conn)
	default:
		if c.held || c.asked || len(c.calls) == 0 {
			m.t.Fatalf("%s has a turn: %+v", conn.name, c)
		}
		m.q.runCall(conn)
		if m.handled != id(c.calls[0].m) {
			m.t.Fatalf("%s was handled, want %s", m.handled, id(c.calls[0].m))
		}
		if c.held {
			c.heldCost = c.calls[0].cost
		}
		c.calls = c.calls[1:]
	}
	m.q.mu.Unlock()
}

func (m *model) handle(conn *connection, message *wire.Message) {
	m.handled = id(message)
	if m.hold {
		c := m.conns[conn.name]
		c.held, c.resume = true, m.q.hold(conn)
	}
}

func (m *model) resume(name string) {
	c := m.conns[name]
	if c.held && !c.finishing {
		c.finishing = true
		c.resume(func() { c.held, c.finishing, c.heldCost = false, false, 0 })
	}
}

func (m *model) answer(user int, known bool) {
	if m.who.asking() == 0 {
		return
	}
	c := m.conns[m.who.answer(uint32(user), known)]
	c.asked = false
	if known {
		c.user = user
	} else {
		c.unanswered = true
	}
}

// forget makes the control forget an idle connection.
func (m *model) forget(name string) {
	if c := m.conns[name]; len(c.calls) == 0 && !c.held {
		c.user, c.unanswered = -1, false
		delete(m.who.known, name)
	}
}

// check compares the queue with the model.
func (m *model) check() {
	q := m.q
	q.mu.Lock()
	defer q.mu.Unlock()
	all := 0
	users := map[int]int{}
	for name, c := range m.conns {
		_, _, ofConn := m.bytes(c.user, name)
		if got := q.conns[name]; (got != nil) != (len(c.calls) > 0 || c.held) || got != nil && (got.bytes != ofConn || got.count != len(c.calls)) {
			m.t.Fatalf("the queue has %+v of %s, want %d bytes in %d calls", got, name, ofConn, len(c.calls))
		}
		all += ofConn
		users[c.user] += ofConn
	}
	if q.bytes != all || q.bytes > q.limit || q.identifying > maxQuestions {
		m.t.Fatalf("the queue counts %d bytes, want %d; the limit is %d", q.bytes, all, q.limit)
	}
	for user, bytes := range users {
		key := userKey{uint32(user), true}
		if user < 0 {
			key = userKey{}
		}
		if got := q.users[key]; got != nil && got.bytes != bytes || got == nil && bytes > 0 {
			m.t.Fatalf("the queue has %+v of user %d, want %d bytes", got, user, bytes)
		}
	}
}

// With any sequence of steps, quotas and limits hold, no call is lost, and the calls of each connection
// stay in order.
func TestQueueModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{t: t, conns: map[string]*modelConn{}}
		m.q, m.who = testQueue(100_000, m.handle)
		names := []string{}
		for i := range 8 {
			name := fmt.Sprint("c", i)
			names = append(names, name)
			m.conns[name] = &modelConn{user: -1}
			if i < 4 {
				m.conns[name].user = i % 2
				m.who.addKnown(uint32(i%2), name)
			}
		}
		name := rapid.SampledFrom(names)
		size := rapid.OneOf(rapid.IntRange(256, 1000), rapid.IntRange(256, 110_000))
		t.Repeat(map[string]func(*rapid.T){
			"offer": func(t *rapid.T) { m.offer(name.Draw(t, "conn"), size.Draw(t, "size")) },
			"flood": func(t *rapid.T) {
				name, size := name.Draw(t, "conn"), size.Draw(t, "size")
				for range 20 {
					m.offer(name, size)
				}
			},
			"turn":   func(*rapid.T) { m.turn() },
			"hold":   func(*rapid.T) { m.hold = true; m.turn(); m.hold = false },
			"resume": func(t *rapid.T) { m.resume(name.Draw(t, "conn")) },
			"forget": func(t *rapid.T) { m.forget(name.Draw(t, "conn")) },
			"answer": func(t *rapid.T) {
				m.answer(rapid.IntRange(0, 2).Draw(t, "user"), rapid.IntRange(0, 3).Draw(t, "known") > 0)
			},
			"": func(*rapid.T) { m.check() },
		})
		if rapid.Bool().Draw(t, "abandon") {
			left := m.q.abandon()
			var got, want []string
			for _, message := range left {
				got = append(got, id(message))
			}
			for _, c := range m.conns {
				for _, call := range c.calls {
					want = append(want, id(call.m))
				}
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Fatalf("abandon returned %v, want %v", got, want)
			}
			for _, c := range m.conns {
				c.calls, c.asked = nil, false
			}
			m.check()
		}
		for n := 0; len(m.q.conns) > 0 || m.who.asking() > 0; n++ {
			m.answer(1, true)
			for _, name := range names {
				m.resume(name)
			}
			m.turn()
			if n > 100_000 {
				t.Fatal("calls are left forever")
			}
		}
		m.check()
		m.q.stop()
		if q := m.q; q.bytes != 0 || len(q.conns) != 0 || len(q.users) != 0 || q.identifying != 0 {
			t.Fatalf("%d bytes, %d connections, %d users are left", q.bytes, len(q.conns), len(q.users))
		}
	})
}
