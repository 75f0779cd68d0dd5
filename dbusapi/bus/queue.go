package bus

import (
	"sync"
	"time"

	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

const (
	// workers is how many calls are handled at a time, each of another connection. It is
	// more than there are processors, because a call may wait for room for its reply.
	workers = 8

	// maxWaiting is how many bytes of calls may wait for their turn, of everybody together.
	maxWaiting = 64 << 20

	// maxQuestions is how many connections are being identified at a time.
	maxQuestions = 64

	// messageOverhead is about what a message takes beside its bytes.
	messageOverhead = 256
)

// identifier finds out who a connection is. It is the control connection, or a fake.
type identifier interface {
	// recall returns the peer if it is known already, else nil.
	recall(name string) *Peer
	// identify calls done once, from a goroutine of its own, with what there is to know.
	identify(name string, done func(*Peer))
}

// queue keeps the calls that were read and not handled yet, and gives them turns.
type queue struct {
	limit    int // of bytes
	handle   func(*connection, *wire.Message)
	who      identifier
	refusals *refusals
	wg       sync.WaitGroup

	mu      sync.Mutex
	work    sync.Cond // a connection is ready, or there will be no more
	empty   sync.Cond // no calls are left, or they were dropped
	conns   map[string]*connection
	users   map[userKey]*user
	turns   fifo[*user] // users with a connection that is ready
	bytes   int
	asking  int               // questions under way
	unasked fifo[*connection] // connections that wait for a question
	stopped bool              // no more calls are taken
	dropped bool              // nobody waits for what is held, see drop
	since   [workers]time.Time
}

// connection is a peer of which calls wait or are being handled.
type connection struct {
	name  string
	peer  *Peer // nil until it is identified
	user  *user
	calls fifo[*wire.Message]
	count int // of calls
	bytes int // of these, and of the one being handled
	busy  bool

	current *wire.Message // the call that is held; it counts until it is finished
	held    bool          // Call.Hold was called
	finish  func()        // what it was resumed with
}

func newQueue(limit int, handle func(*connection, *wire.Message), who identifier, refused *refusals) *queue {
	q := &queue{
		limit: limit, handle: handle, who: who, refusals: refused,
		conns: map[string]*connection{}, users: map[userKey]*user{},
	}
	q.work.L, q.empty.L = &q.mu, &q.mu
	return q
}

func (q *queue) start() {
	for i := range workers {
		q.wg.Go(func() { q.run(i) })
	}
}

// push takes a call that was admitted.
func (q *queue) push(m *wire.Message) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopped {
		return hub.ErrClosed
	}
	c := q.conns[m.Sender]
	isNew := c == nil
	if isNew {
		c = q.connect(m.Sender)
	}
	c.calls.push(m)
	c.count++
	q.charge(c, cost(m))
	switch {
	case !isNew:
	case c.peer != nil:
		q.ready(c)
	default:
		q.unasked.push(c)
		q.ask()
	}
	return nil
}

// connect makes the connection of a peer of which nothing waits yet.
func (q *queue) connect(name string) *connection {
	c := &connection{name: name, peer: q.who.recall(name)}
	c.user = q.userOf(keyOf(c.peer))
	c.user.conns++
	q.conns[name] = c
	return c
}

// ask begins to identify connections, as many as may be at a time.
func (q *queue) ask() {
	for q.asking < maxQuestions && !q.unasked.empty() {
		c := q.unasked.pop()
		q.asking++
		q.who.identify(c.name, func(peer *Peer) { q.identified(c, peer) })
	}
}

// identified moves a connection to its user and lets it have turns.
func (q *queue) identified(c *connection, peer *Peer) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.asking--
	q.ask()
	if q.conns[c.name] != c {
		return // it was abandoned
	}
	c.peer = peer
	q.move(c, q.userOf(keyOf(peer)))
	q.ready(c)
}

// ready gives a connection a turn after the others of its user.
func (q *queue) ready(c *connection) {
	c.user.ready.push(c)
	if !c.user.queued {
		c.user.queued = true
		q.turns.push(c.user)
	}
	q.work.Signal()
}

// next takes the connection that has the next turn.
func (q *queue) next() *connection {
	u := q.turns.pop()
	c := u.ready.pop()
	if u.queued = !u.ready.empty(); u.queued {
		q.turns.push(u)
	}
	return c
}

// run handles calls until there will be no more.
func (q *queue) run(worker int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		for q.turns.empty() {
			if q.stopped && len(q.conns) == 0 {
				return
			}
			q.work.Wait()
		}
		c := q.next()
		q.since[worker] = time.Now()
		if c.finish != nil {
			q.runFinish(c)
		} else {
			q.runCall(c)
		}
		q.since[worker] = time.Time{}
	}
}

// runCall handles the next call of a connection. The lock is let go of meanwhile.
func (q *queue) runCall(c *connection) {
	m := c.calls.pop()
	c.count--
	c.busy = true
	q.mu.Unlock()
	q.handle(c, m)
	q.mu.Lock()
	c.busy, c.current = false, m
	switch {
	case !c.held, q.dropped:
		q.endCall(c)
	case c.finish != nil:
		q.ready(c)
	}
}

// endCall wipes the call that was handled, and gives the connection another turn, or forgets
// it if none of its calls is left.
func (q *queue) endCall(c *connection) {
	q.charge(c, -cost(c.current))
	c.current.Clear()
	c.current = nil
	if !c.calls.empty() {
		q.ready(c)
		return
	}
	q.forget(c)
}

// runFinish ends a call that was held. The lock is let go of meanwhile.
func (q *queue) runFinish(c *connection) {
	finish := c.finish
	c.busy = true
	q.mu.Unlock()
	finish()
	q.mu.Lock()
	c.busy, c.held, c.finish = false, false, nil
	q.endCall(c)
}

func (q *queue) forget(c *connection) {
	delete(q.conns, c.name)
	q.leave(c)
	if len(q.conns) == 0 {
		q.empty.Broadcast()
		if q.stopped {
			q.work.Broadcast()
		}
	}
}

// hold is [Call.Hold].
func (q *queue) hold(c *connection) (resume func(finish func())) {
	q.mu.Lock()
	defer q.mu.Unlock()
	c.held = true
	return func(finish func()) {
		q.mu.Lock()
		defer q.mu.Unlock()
		c.finish = finish
		switch {
		case c.busy:
		case q.conns[c.name] == c:
			q.ready(c)
		case c.current != nil: // it was dropped
			c.current.Clear()
		}
	}
}

// longest returns for how long the slowest worker has been busy with one call.
func (q *queue) longest() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	var longest time.Duration
	for _, since := range q.since {
		if !since.IsZero() {
			longest = max(longest, time.Since(since))
		}
	}
	return longest
}

func (q *queue) waiting() (calls, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, c := range q.conns {
		calls += c.count
	}
	return calls, q.bytes
}
