package dbusapi

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

const (
	// workers is how many calls are handled at a time, each of another sender. It is
	// more than there are processors, as a call may wait: for the bus to say who
	// makes it, or for room for its reply.
	workers = 8

	// maxBacklog is how much may have been read and not yet handled, in bytes of
	// memory, of all senders together.
	maxBacklog = 64 << 20

	// messageOverhead is about what a message takes beside its bytes.
	messageOverhead = 256
)

// dispatcher keeps the calls that were read and are not yet handled, and has them
// handled by a few workers. Those of one sender are handled in the order sent, one at a
// time; senders take turns, a call each. So whoever makes many, or large ones, waits for
// itself, and others wait for one call of it at most. What such a one costs others in the
// bus is for pace to bound.
//
// The bus has one queue for all that is sent to us: what is not read of one sender is not
// read of all that come after. So reading never stops. A sender whose backlog is full is
// refused, and it is full when it takes more than what is left for everybody else: of n
// senders that flood each gets one of n+1 shares, and one is left for who comes next.
type dispatcher struct {
	limit  int // of bytes
	handle func(*message)
	over   func(sender string, refused uint64) // see start
	settle func(context.Context)               // see start
	wg     sync.WaitGroup

	mu      sync.Mutex
	work    sync.Cond // there is a call to handle, or there will be no more
	empty   sync.Cond // all are handled
	senders map[string]*backlog
	turns   fifo[*backlog]
	pace    pace
	held    fifo[*backlog] // senders that wait for the end of a rest
	wake    func()         // ends the rest
	bytes   int
	others  backlog            // empty; counts what is refused of senders without one
	stopped bool               // no more is taken
	since   [workers]time.Time // when each worker began what it does; zero while it waits
}

// backlog are the calls of one sender that wait for their turn. It exists while there
// are some, or one is being handled.
type backlog struct {
	sender  string
	calls   fifo[*message]
	waiting int       // calls, with the one that is being handled
	wanting int       // of these, a reply
	bytes   int       // of these
	refused uint64    // since it exists
	serial  uint32    // the highest
	since   time.Time // when the stretch began in which they are counted, see count
	taken   int       // in it
	missing int       // in it, by their serials
	missed  time.Time // when many were missing last
}

// fifo is a queue that lets go of its memory. The zero fifo is empty.
type fifo[T any] struct{ first, last *node[T] }

type node[T any] struct {
	value T
	next  *node[T]
}

func (l *fifo[T]) empty() bool { return l.first == nil }

func (l *fifo[T]) push(value T) {
	n := &node[T]{value: value}
	if l.first == nil {
		l.first = n
	} else {
		l.last.next = n
	}
	l.last = n
}

// pop takes the first, which must be there.
func (l *fifo[T]) pop() T {
	n := l.first
	l.first = n.next
	return n.value
}

func newDispatcher(limit int) *dispatcher {
	d := &dispatcher{limit: limit, senders: map[string]*backlog{}, wake: func() {}}
	d.pace.crowding = map[string]crowding{}
	d.work.L, d.empty.L = &d.mu, &d.mu
	return d
}

// start begins to handle what was taken, and will be. over is told how many calls of a
// sender were refused because too many waited, once none does any more; the sender is
// empty for those of whom none did. settle returns once the bus has done what the calls
// that were handled gave it to do, or ctx is done.
func (d *dispatcher) start(handle func(*message), over func(sender string, refused uint64), settle func(ctx context.Context)) {
	d.handle, d.over, d.settle = handle, over, settle
	for i := range workers {
		d.wg.Go(func() { d.run(i) })
	}
}

// cost is about what a message takes in memory, in bytes.
func (m *message) cost() int { return m.size + messageOverhead }

// admit returns an error where a call must be refused. It is asked before the body is
// read, by the one goroutine that then pushes the call.
func (d *dispatcher) admit(m *message) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return hub.ErrClosed
	}
	own, b := 0, d.senders[m.Sender]
	if b != nil {
		own = b.bytes
	}
	if cost, left := m.cost(), d.limit-d.bytes; cost > left || own > 0 && own+cost > left {
		if b == nil {
			b = &d.others
		}
		b.refused++
		return errorf(ErrLimitsExceeded, "%d bytes of calls of this connection wait for their turn, no more are taken", own)
	}
	return nil
}

// push takes a call that was admitted.
func (d *dispatcher) push(m *message) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return hub.ErrClosed
	}
	now := time.Now()
	b, known := d.senders[m.Sender]
	if !known {
		b = &backlog{sender: m.Sender}
		d.senders[m.Sender] = b
	}
	d.append(b, m)
	b.count(m, now)
	if b.crowds() {
		d.pace.crowd(b, now)
		d.pace.meet(m, b, now)
	} else {
		d.pace.note(m, now)
	}
	if !known {
		d.enqueue(b, now)
		d.work.Signal()
	}
	if !d.roomToRest(b, now) {
		d.release()
	}
	return nil
}

// follow has a message about a sender handled after all that waits of it. It does
// nothing and returns false where nothing does.
func (d *dispatcher) follow(sender string, m *message) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.senders[sender]
	if b != nil {
		d.append(b, m)
	}
	return b != nil
}

func (d *dispatcher) append(b *backlog, m *message) {
	b.calls.push(m)
	d.account(b, m, 1)
}

// account adds a message, or takes it away with n -1.
func (d *dispatcher) account(b *backlog, m *message, n int) {
	b.waiting += n
	if m.Type == wire.TypeCall && m.Flags&wire.FlagNoReply == 0 {
		b.wanting += n
	}
	b.bytes += n * m.cost()
	d.bytes += n * m.cost()
}

// run handles messages until there will be no more.
func (d *dispatcher) run(worker int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		for d.turns.empty() {
			if d.stopped && len(d.senders) == 0 {
				return
			}
			d.work.Wait()
		}
		b := d.turns.pop()
		m := b.calls.pop()
		from := time.Now()
		d.since[worker] = from
		d.mu.Unlock()
		d.handle(m)
		d.mu.Lock()
		d.since[worker] = time.Time{}
		d.account(b, m, -1)
		d.next(b, from, time.Now())
	}
}

// next gives a sender another turn, after the others, or forgets it. The last one
// began at from.
func (d *dispatcher) next(b *backlog, from, now time.Time) {
	if b.crowds() {
		d.pace.crowd(b, now)
	}
	if d.pace.spend(b.sender, from, now) && !d.stopped {
		d.rest()
	}
	if !b.calls.empty() {
		d.enqueue(b, now)
		return // this worker takes it, or another one that was free already
	}
	delete(d.senders, b.sender)
	if len(d.senders) == 0 {
		d.empty.Broadcast()
		if d.stopped {
			d.work.Broadcast()
		}
	}
	d.tellOver(b, &d.others)
}

// tellOver tells how many calls were refused of senders. It lets go of the lock meanwhile.
func (d *dispatcher) tellOver(senders ...*backlog) {
	for _, b := range senders {
		if refused := b.refused; refused > 0 {
			b.refused = 0
			d.mu.Unlock()
			d.over(b.sender, refused)
			d.mu.Lock()
		}
	}
}

// stop lets no more calls in and returns when all that were taken are handled.
func (d *dispatcher) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
	d.wake()
	d.release()
	d.work.Broadcast()
	for len(d.senders) > 0 {
		d.empty.Wait()
	}
}

// stopWithin is stop that lets go of what still waits after so long, see abandon.
func (d *dispatcher) stopWithin(limit time.Duration) []*message {
	left := make(chan []*message, 1)
	timer := time.AfterFunc(limit, func() { left <- d.abandon() })
	d.stop()
	if timer.Stop() {
		return nil
	}
	return <-left
}

// abandon lets go of all calls that wait, and returns them, those of each sender in order,
// and those of who has the fewest first: to answer all may take longer than there is time.
// Calls that are being handled go on.
func (d *dispatcher) abandon() []*message {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
	d.wake()
	var left []*message
	fewest := func(a, b *backlog) int { return cmp.Compare(a.waiting, b.waiting) }
	for _, b := range slices.SortedFunc(maps.Values(d.senders), fewest) {
		for !b.calls.empty() {
			m := b.calls.pop()
			d.account(b, m, -1)
			left = append(left, m)
		}
	}
	d.turns, d.held = fifo[*backlog]{}, fifo[*backlog]{}
	gone := []*backlog{&d.others}
	for sender, b := range d.senders {
		if b.bytes == 0 { // none of its calls is being handled
			delete(d.senders, sender)
			gone = append(gone, b)
		}
	}
	if len(d.senders) == 0 {
		d.empty.Broadcast()
	}
	d.work.Broadcast()
	d.tellOver(gone...)
	return left
}

// close is stop, and ends the workers.
func (d *dispatcher) close() {
	d.stop()
	d.wg.Wait()
}

// longest returns for how long the call that takes longest is being handled.
func (d *dispatcher) longest() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	var longest time.Duration
	for _, since := range d.since {
		if !since.IsZero() {
			longest = max(longest, time.Since(since))
		}
	}
	return longest
}
