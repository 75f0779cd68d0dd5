package bus

import (
	"strings"
	"sync"
	"time"

	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

const (
	// workers is how many calls run at a time, each of another connection. There may be more
	// workers than processors, because a call may wait for room for its reply.
	workers         = 8
	maxWaiting      = 64 << 20 // bytes of all calls
	maxQuestions    = 64       // identifications at a time
	messageOverhead = 256      // bytes of memory beside the message itself, about
)

// identifier identifies connections. It is the control connection, or a fake.
type identifier interface {
	// recall returns the peer if it is identified already, otherwise nil.
	recall(name string) *Peer
	// identify calls done once, from a goroutine of its own, with the peer.
	identify(name string, done func(*Peer))
}

// queue holds the calls, and gives turns to their connections.
type queue struct {
	limit      int // of bytes
	handle     func(*connection, *wire.Message)
	identifier identifier
	refusals   *refusals
	wg         sync.WaitGroup

	mu           sync.Mutex
	work         sync.Cond // a connection waits for a turn, or the queue stops
	empty        sync.Cond // no calls are left, or they were dropped
	conns        map[string]*connection
	users        map[userKey]*user
	turns        fifo[*user] // users with a connection that waits for a turn
	bytes        int
	identifying  int                // questions under way
	unidentified fifo[*connection]  // connections that wait for a question
	stopped      bool               // further calls are refused
	dropped      bool               // see dropHeld
	since        [workers]time.Time // when each worker started its call
}

// connection is a peer with queued or running calls.
type connection struct {
	name  string
	peer  *Peer // nil until it is identified
	user  *user
	calls fifo[*wire.Message]
	count int  // of calls
	bytes int  // of these, and of the running or held call
	busy  bool // a worker runs a call or its finish

	current *wire.Message // the held call
	held    bool          // Call.Hold was called
	finish  func()        // argument of resume
}

func newQueue(limit int, handle func(*connection, *wire.Message), who identifier, refused *refusals) *queue {
	q := &queue{
		limit: limit, handle: handle, identifier: who, refusals: refused,
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

// push queues an admitted call.
func (q *queue) push(m *wire.Message) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopped {
		return hub.ErrClosed
	}
	c := q.conns[m.Sender]
	isNew := c == nil
	if isNew {
		c = q.addConnection(m.Sender)
	}
	c.calls.push(m)
	c.count++
	q.charge(c, cost(m))
	switch {
	case !isNew:
	case c.peer != nil:
		q.enqueueTurn(c)
	default:
		q.unidentified.push(c)
		q.identifyNext()
	}
	return nil
}

// addConnection adds the connection of a peer.
func (q *queue) addConnection(name string) *connection {
	name = strings.Clone(name) // not to keep the header of its first call in memory
	c := &connection{name: name, peer: q.identifier.recall(name)}
	c.user = q.userOf(keyOf(c.peer))
	c.user.conns++
	q.conns[name] = c
	return c
}

// identifyNext starts identifications, up to the limit.
func (q *queue) identifyNext() {
	for q.identifying < maxQuestions && !q.unidentified.empty() {
		c := q.unidentified.pop()
		q.identifying++
		q.identifier.identify(c.name, func(peer *Peer) { q.identified(c, peer) })
	}
}

// identified assigns a connection to its user and gives it a turn.
func (q *queue) identified(c *connection, peer *Peer) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.identifying--
	q.identifyNext()
	if q.conns[c.name] != c {
		return // abandoned meanwhile
	}
	c.peer = peer
	q.assignUser(c, q.userOf(keyOf(peer)))
	q.enqueueTurn(c)
}

// enqueueTurn gives a connection a turn after the others of its user.
func (q *queue) enqueueTurn(c *connection) {
	c.user.ready.push(c)
	if !c.user.queued {
		c.user.queued = true
		q.turns.push(c.user)
	}
	q.work.Signal()
}

// next removes the connection with the next turn.
func (q *queue) next() *connection {
	u := q.turns.pop()
	c := u.ready.pop()
	if u.queued = !u.ready.empty(); u.queued {
		q.turns.push(u)
	}
	return c
}

// run handles calls until the queue is stopped and empty.
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

// runCall handles the next call of a connection, without the lock.
func (q *queue) runCall(c *connection) {
	m := c.calls.pop()
	c.count--
	c.busy = true
	q.mu.Unlock()
	q.handle(c, m)
	q.mu.Lock()
	c.busy, c.current = false, m
	switch {
	case c.held && c.finish == nil:
		if q.dropped {
			q.dropCall(c)
		}
	case !c.held, q.dropped:
		q.endCall(c)
	default:
		q.enqueueTurn(c)
	}
}

// endCall wipes the handled call. It gives the connection another turn, or removes it after its last
// call.
func (q *queue) endCall(c *connection) {
	q.charge(c, -cost(c.current))
	c.current.Clear()
	c.current = nil
	if !c.calls.empty() {
		q.enqueueTurn(c)
		return
	}
	q.forget(c)
}

// runFinish ends a held call, without the lock.
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
	q.detach(c)
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
			q.enqueueTurn(c)
		case c.current != nil: // dropped
			c.current.Clear()
		}
	}
}

// longest returns how long the slowest running call has taken so far.
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
