package dbusapi

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/osctl/eventd/dbusapi/wire"
)

// outboxHigh is how many bytes may wait for the socket before those who write
// more have to wait, too. One message may go over it by its own size.
const outboxHigh = 256 << 10

// errOutboxClosed is returned for messages that come after the end.
var errOutboxClosed = errors.New("dbusapi: the connection is closed")

// outbox gathers whole messages and writes them with one goroutine, as many at a
// time as have come together. Writers wait while it is full, so that a bus that
// does not read slows them down and no memory grows.
type outbox struct {
	sock    net.Conn
	timeout time.Duration // for one write to make it to the socket

	mu     sync.Mutex
	change sync.Cond // something was added, written, or closed
	buf    []byte
	marks  []mark
	busy   bool // the writer has bytes in hand
	err    error
	sent   uint64 // the last mark that is on the socket
}

// mark says which event's signal ends at an offset of the buffer.
type mark struct {
	end int
	seq uint64
}

func newOutbox(sock net.Conn, timeout time.Duration) *outbox {
	o := &outbox{sock: sock, timeout: timeout}
	o.change.L = &o.mu
	return o
}

// add appends whole messages. The error is that of the connection.
func (o *outbox) add(message func(e *wire.Encoder)) error {
	return o.addUnless(func() error { return nil }, message)
}

// addWithin is add for who does not wait any longer than ctx.
func (o *outbox) addWithin(ctx context.Context, message func(e *wire.Encoder)) error {
	stop := context.AfterFunc(ctx, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.change.Broadcast()
	})
	defer stop()
	return o.addUnless(ctx.Err, message)
}

// addUnless waits for room until given up.
func (o *outbox) addUnless(givenUp func() error, message func(e *wire.Encoder)) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.buf) >= outboxHigh && o.err == nil {
		if err := givenUp(); err != nil {
			return err
		}
		o.change.Wait()
	}
	if o.err != nil {
		return o.err
	}
	e := wire.NewEncoder(o.buf)
	message(e)
	o.buf = e.Bytes
	o.change.Broadcast()
	return nil
}

// mark notes that the signal of event seq ends here. Called from within add.
func (o *outbox) mark(e *wire.Encoder, seq uint64) {
	o.marks = append(o.marks, mark{end: len(e.Bytes), seq: seq})
}

// flush waits until everything added so far is on the socket.
func (o *outbox) flush() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for (len(o.buf) > 0 || o.busy) && o.err == nil {
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
	var spare []byte
	var spareMarks []mark
	for {
		o.mu.Lock()
		for len(o.buf) == 0 && o.err == nil {
			o.change.Wait()
		}
		if o.err != nil {
			defer o.mu.Unlock()
			return o.err
		}
		buf, marks := o.buf, o.marks
		o.buf, o.marks, o.busy = spare[:0], spareMarks[:0], true
		o.change.Broadcast()
		o.mu.Unlock()

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
		o.change.Broadcast()
		o.mu.Unlock()
		spare, spareMarks = buf, marks
		if cap(spare) > 4*outboxHigh {
			spare = nil // one large reply need not be paid for ever after
		}
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
