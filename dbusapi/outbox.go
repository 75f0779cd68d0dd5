package dbusapi

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/osctl/eventd/dbusapi/wire"
)

const (
	// outboxHigh is how many bytes of replies, and how many of signals, may wait for the
	// socket before those who write more have to wait, too. One message may go over it
	// by its own size.
	outboxHigh = 256 << 10

	// nearBuffer and farBuffer are how many bytes the kernel is to keep for the bus: few
	// while replies go out, so that they do not stand behind what the bus has not read;
	// about what is usual while there are only signals, so that they go out fast.
	nearBuffer = 4 << 10
	farBuffer  = 104 << 10
)

// errOutboxClosed is returned for messages that come after the end.
var errOutboxClosed = errors.New("dbusapi: the connection is closed")

// outbox gathers whole messages and writes them with one goroutine, as many at a
// time as have come together. Writers wait while it is full, so that a bus that
// does not read slows them down and no memory grows.
//
// What is written goes out in rounds: replies, to each receiver a share, and some of the
// signals that wait. So a reply does not stand behind all the signals, and the replies to
// others, that there are. Signals keep their order, and so do the replies to one receiver.
type outbox struct {
	sock    net.Conn
	timeout time.Duration // for one write to make it to the socket
	strain  func() strain // see pace.strain; nil where there are no signals

	mu       sync.Mutex
	change   sync.Cond // something was added, written, or closed
	replies  []byte    // and all else that is no signal
	due      int       // signals that are due with them
	sparing  strain    // when replies went out last
	shares   map[string]int
	signals  []byte
	marks    []mark      // of signals
	head     int         // of signals, how much is written
	busy     bool        // the writer has bytes in hand
	spare    []byte      // what the writer had in hand, to be used again
	near     int         // rounds that are still soon after a reply
	last     string      // who got the last reply
	mixed    int         // rounds that are still soon after a reply to somebody else
	alarm    *time.Timer // ends the time for which signals wait; nil until run begins
	signaled time.Time   // when signals went out last
	replied  time.Time   // when replies did
	inHand   int         // signals that the writer has in hand
	hurried  bool        // signals do not stand back any more
	err      error
	sent     uint64 // the last mark that is on the socket
}

// mark says which event's signal ends at an offset of the buffer.
type mark struct {
	end int
	seq uint64
}

func newOutbox(sock net.Conn, timeout time.Duration) *outbox {
	o := &outbox{sock: sock, timeout: timeout, shares: map[string]int{}}
	o.change.L = &o.mu
	return o
}

// add appends whole messages that are no signals. The error is that of the connection.
func (o *outbox) add(message func(e *wire.Encoder)) error {
	return o.addTo("", due{}, func() error { return nil }, message)
}

// addWithin is add for who does not wait any longer than ctx.
func (o *outbox) addWithin(ctx context.Context, message func(e *wire.Encoder)) error {
	stop := context.AfterFunc(ctx, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.change.Broadcast()
	})
	defer stop()
	return o.addTo("", due{}, ctx.Err, message)
}

// addReply is add for a reply, which waits until the receiver has a share left.
func (o *outbox) addReply(receiver string, signals due, message func(e *wire.Encoder)) error {
	return o.addTo(receiver, signals, func() error { return nil }, message)
}

// addTo waits for room until given up.
func (o *outbox) addTo(receiver string, signals due, givenUp func() error, message func(e *wire.Encoder)) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for (len(o.replies) >= outboxHigh || o.shares[receiver] >= outboxShare/o.parts()) && o.err == nil {
		if err := givenUp(); err != nil {
			return err
		}
		o.change.Wait()
	}
	if o.err != nil {
		return o.err
	}
	e := wire.NewEncoder(o.replies)
	message(e)
	if receiver != "" {
		o.due += signals.signals
		o.shares[receiver] += len(e.Bytes) - len(o.replies)
		if o.sparing == unstrained {
			o.shares[receiver] += signals.bytes / outboxDue
		}
		if o.last != "" && o.last != receiver {
			o.mixed = outboxRounds
		}
		o.last = receiver
	}
	o.replies = e.Bytes
	o.change.Broadcast()
	return nil
}

// addSignals appends whole signals. Each is to be followed by a mark.
func (o *outbox) addSignals(message func(e *wire.Encoder)) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.signals)-o.head >= outboxHigh && o.err == nil {
		o.change.Wait()
	}
	if o.err != nil {
		return o.err
	}
	if o.head > 0 {
		o.shift()
	}
	e := wire.NewEncoder(o.signals)
	message(e)
	o.signals = e.Bytes
	o.change.Broadcast()
	return nil
}

// shift moves the signals that wait to the front.
func (o *outbox) shift() {
	o.signals = o.signals[:copy(o.signals, o.signals[o.head:])]
	for i := range o.marks {
		o.marks[i].end -= o.head
	}
	o.head = 0
}

// mark notes that the signal of event seq ends here. Called from within addSignals.
func (o *outbox) mark(e *wire.Encoder, seq uint64) {
	o.marks = append(o.marks, mark{end: len(e.Bytes), seq: seq})
}

// hurry has signals stand back no more, for the end: replies may go on for as long as
// somebody calls.
func (o *outbox) hurry() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hurried = true
	o.change.Broadcast()
}

// flushSignals waits until all signals added so far are on the socket.
func (o *outbox) flushSignals() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for (len(o.marks) > 0 || o.inHand > 0) && o.err == nil {
		o.change.Wait()
	}
	return o.err
}

// flush waits until everything added so far is on the socket.
func (o *outbox) flush() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for (o.waiting() || o.busy) && o.err == nil {
		o.change.Wait()
	}
	return o.err
}

// lastSent returns the number of the last event whose whole signal went to the
// socket, 0 if none did.
func (o *outbox) lastSent() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sent
}

// close releases everybody who waits; the first reason stays.
func (o *outbox) close(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
	o.change.Broadcast()
}

// run writes until the outbox is closed or the socket fails, and returns why.
func (o *outbox) run() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.alarm = time.AfterFunc(outboxSpace, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.change.Broadcast()
	})
	defer o.alarm.Stop()
	var marks []mark
	for {
		for len(o.replies) == 0 && len(o.signalsDue()) == 0 && o.err == nil {
			o.change.Wait()
		}
		if o.err != nil {
			return o.err
		}
		var buf []byte
		near := o.near > 0
		buf, marks = o.take(marks[:0])
		changed := near != (o.near > 0)
		near = o.near > 0
		o.busy, o.inHand = true, len(marks)
		o.change.Broadcast()
		o.mu.Unlock()

		if changed {
			o.resize(near)
		}
		n, err := o.write(buf)

		o.mu.Lock()
		for _, m := range marks {
			if m.end <= n {
				o.sent = m.seq
			}
		}
		o.busy, o.inHand = false, 0
		if err != nil && o.err == nil {
			o.err = err
		}
		if o.spare = buf[:0]; cap(buf) > 4*outboxHigh {
			o.spare = nil // one large reply need not be paid for ever after
		}
		o.change.Broadcast()
	}
}

func (o *outbox) waiting() bool { return len(o.replies) > 0 || len(o.signals) > o.head }

// resize changes how much the kernel keeps for the bus. Where that is not possible it is
// no harm.
func (o *outbox) resize(near bool) {
	sock, ok := o.sock.(*net.UnixConn)
	switch {
	case !ok || o.strain == nil:
	case near:
		_ = sock.SetWriteBuffer(nearBuffer)
	default:
		_ = sock.SetWriteBuffer(farBuffer)
	}
}

func (o *outbox) write(buf []byte) (int, error) {
	if err := o.setDeadline(); err != nil {
		return 0, err
	}
	return o.sock.Write(buf)
}

// setDeadline does so under the lock: conn.fail closes the outbox, then sets a
// deadline that has passed, and that must not be replaced.
func (o *outbox) setDeadline() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return o.err
	}
	return o.sock.SetWriteDeadline(time.Now().Add(o.timeout))
}
