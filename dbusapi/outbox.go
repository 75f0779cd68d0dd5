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

	// outboxShare is how many bytes of replies to one receiver go out together: who
	// would add more waits for the next round.
	outboxShare = 4 << 10

	// outboxSignals is how many bytes of signals go out together with replies, or soon
	// after one; but see outboxEven. One signal goes in any case. It is less than the
	// 2 KiB that a dbus-daemon reads of us at a time before it looks after others: a reply
	// that comes just after them does not wait for the next time, nor do calls wait for
	// all that the signals give it to do.
	outboxSignals = 1 << 10

	// outboxEven is how many signals may go out for each that the replies are due, as long
	// as nobody has to be spared, see pace.uneven: so the signals keep up with the replies,
	// or catch up, and who waits for replies does not report faster than the signals go out.
	outboxEven = 2

	// outboxEvenBytes is how many bytes of signals these may be: what is due with the share
	// of one receiver. Of larger events a round has one reply, and its signal. With more, who
	// calls now and then waited longer, and the reports were not faster.
	outboxEvenBytes = 32 << 10

	// outboxDue is how many bytes of signals that are due take as much of a share as one
	// of the reply itself, while they go out with it.
	outboxDue = 4

	// maxDue is how many bytes the signals of a batch may have to be due: larger batches
	// would be as slow as signals are, and are for who wants to be faster.
	maxDue = outboxDue * outboxShare

	// outboxMixed is by how much a share is smaller while replies go to more than
	// one receiver: what goes out stands before the next reply, and the bus takes its
	// time for it.
	outboxMixed = 4

	// outboxRounds is how many rounds without a reply are soon after one, and how many
	// without another receiver soon after another one.
	outboxRounds = 64

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
	uneven  func() bool   // see pace.uneven; nil where there are no signals

	mu      sync.Mutex
	change  sync.Cond // something was added, written, or closed
	replies []byte    // and all else that is no signal
	due     int       // signals that are due with them
	even    bool      // nobody had to be spared when replies went out last
	shares  map[string]int
	signals []byte
	marks   []mark // of signals
	head    int    // of signals, how much is written
	busy    bool   // the writer has bytes in hand
	spare   []byte // what the writer had in hand, to be used again
	near    int    // rounds that are still soon after a reply
	last    string // who got the last reply
	mixed   int    // rounds that are still soon after a reply to somebody else
	err     error
	sent    uint64 // the last mark that is on the socket
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

// due is what the events of a call make go out: so many signals, of about so many bytes.
type due struct{ signals, bytes int }

// signalOverhead is about what a signal has beside the options of its event, in bytes.
const signalOverhead = 256

// dueFor returns what n events are due that came in a body of so many bytes.
func dueFor(n, body int) due {
	d := due{n, body + n*signalOverhead}
	if n > 1 && d.bytes > maxDue {
		return due{}
	}
	return d
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
		if o.even {
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

// parts is into how many parts a share is cut, one for each round.
func (o *outbox) parts() int {
	if o.mixed > 0 {
		return outboxMixed
	}
	return 1
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
	var marks []mark
	for {
		for !o.waiting() && o.err == nil {
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
		o.busy = true
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
		o.busy = false
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
	case !ok || o.uneven == nil:
	case near:
		_ = sock.SetWriteBuffer(nearBuffer)
	default:
		_ = sock.SetWriteBuffer(farBuffer)
	}
}

// take returns what goes out next, and the marks in it.
func (o *outbox) take(marks []mark) ([]byte, []mark) {
	buf, limit, least := o.replies, outboxSignals, 0
	switch {
	case len(buf) > 0:
		o.near = outboxRounds
		if o.even = o.uneven != nil && !o.uneven(); o.even {
			least = outboxEven * o.due
		}
	case o.near > 0:
		o.near--
	default:
		limit = outboxHigh
	}
	o.mixed = max(0, o.mixed-1)
	o.replies = o.spare
	o.spare, o.due = nil, 0
	clear(o.shares)
	start, n := len(buf), 0
	for _, m := range o.marks {
		if size := m.end - o.head; n > 0 && size > limit && (n >= least || size > outboxEvenBytes) {
			break
		}
		marks = append(marks, mark{end: start + m.end - o.head, seq: m.seq})
		n++
	}
	if n > 0 {
		end := o.marks[n-1].end
		buf = append(buf, o.signals[o.head:end]...)
		o.head, o.marks = end, o.marks[:copy(o.marks, o.marks[n:])]
		if len(o.marks) == 0 {
			if o.signals, o.head = o.signals[:0], 0; cap(o.signals) > 4*outboxHigh {
				o.signals = nil
			}
		}
	}
	return buf, marks
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
