package bus

import (
	"cmp"
	"maps"
	"slices"

	"github.com/osctl/eventd/dbusapi/wire"
)

// stop takes no more calls, and returns once none is left, or what is left was dropped.
func (q *queue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
	q.work.Broadcast()
	for len(q.conns) > 0 && !q.dropped {
		q.empty.Wait()
	}
}

// abandon lets go of all calls that wait, and returns them: those of the connection with
// the fewest first, because there may be no time to answer all. Calls that are being
// handled or held go on.
func (q *queue) abandon() []*wire.Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
	q.turns, q.unasked = fifo[*user]{}, fifo[*connection]{}
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
			q.ready(c)
		default:
			q.forget(c)
		}
	}
	q.work.Broadcast()
	return left
}

// drop lets go of the connections whose call is held: nobody waits for their end.
func (q *queue) drop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropped = true
	for _, c := range q.conns {
		if c.held && c.finish == nil && !c.busy {
			q.charge(c, -cost(c.current))
			q.forget(c)
		}
	}
	q.empty.Broadcast()
}

// close ends the workers, once the calls that are being handled are done.
func (q *queue) close() {
	q.stop()
	q.wg.Wait()
	q.refusals.close()
}
