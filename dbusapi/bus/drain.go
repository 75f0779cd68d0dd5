package bus

import (
	"cmp"
	"maps"
	"slices"

	"github.com/osctl/eventd/dbusapi/wire"
)

// stop refuses further calls, and waits until all calls are handled or dropped.
func (q *queue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
	q.work.Broadcast()
	for len(q.conns) > 0 && !q.dropped {
		q.empty.Wait()
	}
}

// abandon removes all queued calls and returns them. Those of the connection with the fewest come
// first, because there may be no time to answer all. Running and held calls go on.
func (q *queue) abandon() []*wire.Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
	q.turns, q.unidentified = fifo[*user]{}, fifo[*connection]{}
	for _, u := range q.users {
		u.ready, u.queued = fifo[*connection]{}, false
	}
	var left []*wire.Message
	fewest := func(a, b *connection) int { return cmp.Compare(a.count, b.count) }
	for _, c := range slices.SortedFunc(maps.Values(q.conns), fewest) {
		for !c.calls.empty() {
			m := c.calls.pop()
			q.charge(c, -cost(m))
			left = append(left, m)
		}
		c.count = 0
		switch {
		case c.busy, c.held && c.finish == nil:
		case c.held:
			q.enqueueTurn(c)
		default:
			q.forget(c)
		}
	}
	q.work.Broadcast()
	return left
}

// dropHeld removes the connections with a held call, so that stop does not wait for them.
func (q *queue) dropHeld() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropped = true
	for _, c := range q.conns {
		if c.held && c.finish == nil && !c.busy {
			q.dropCall(c)
		}
	}
	q.empty.Broadcast()
}

// dropCall removes a connection with a held call. The holder may still read the call, so resume wipes it.
func (q *queue) dropCall(c *connection) {
	q.charge(c, -cost(c.current))
	q.forget(c)
}

// close ends the workers, after all calls are handled or dropped.
func (q *queue) close() {
	q.stop()
	q.wg.Wait()
}
