package bus

import (
	"context"
	"sync"
	"time"

	"github.com/osctl/eventd/dbusapi/wire"
)

const (
	// repliesLimit is how many bytes of replies may wait for the socket before workers have to
	// wait. It is small, because users take turns before it and not in it.
	repliesLimit = 16 << 10

	// outboxLimit is how many bytes of signals may wait before the emitter has to wait. What is
	// added at once may go over either limit.
	outboxLimit = 256 << 10

	// signalShare is about how many bytes of signals go out after the replies of one write,
	// so that replies never stand behind many signals, and signals never starve.
	signalShare = 64 << 10
)

// socket is what the outbox writes to: a [wire.Conn], or a fake.
type socket interface {
	Write(b []byte, timeout time.Duration) (int, error)
	NextSerial() uint32
}

// outbox gathers whole messages and writes them with one goroutine. Each write takes all
// replies that wait, and then a share of the signals. Whoever adds to it waits while it is
// full, so that a bus that does not read slows us down and no memory grows.
type outbox struct {
	sock    socket
	timeout time.Duration

	mu      sync.Mutex
	change  sync.Cond // something was added, written, or the outbox closed
	replies []byte
	signals Signals
	writing bool
	written uint64 // number of the last event whose whole signal the socket took
	spare   []byte // the buffer of the last write, to be used again
	err     error
}

func newOutbox(sock socket, timeout time.Duration) *outbox {
	o := &outbox{sock: sock, timeout: timeout}
	o.signals.serial = sock.NextSerial
	o.change.L = &o.mu
	return o
}

// Signals are signals that wait for the socket.
type Signals struct {
	bytes  []byte
	ends   []end // of the messages in bytes
	serial func() uint32
}

// end says where a message ends, and which event it announces, 0 for none.
type end struct {
	at  int
	seq uint64
}

// Add appends a signal; body appends its arguments. seq is the number of the event that it
// announces.
func (s *Signals) Add(h *wire.Header, seq uint64, body func(e *wire.Encoder)) {
	h.Type, h.Serial = wire.TypeSignal, s.serial()
	s.add(h, seq, body)
}

func (s *Signals) add(h *wire.Header, seq uint64, body func(e *wire.Encoder)) {
	e := wire.NewEncoder(s.bytes)
	e.Message(h, body)
	s.bytes = e.Bytes
	s.ends = append(s.ends, end{len(s.bytes), seq})
}

// take moves whole messages of about so many bytes to buf, and returns where they end there.
func (s *Signals) take(buf []byte, about int) ([]byte, []end) {
	n, size := 0, 0
	for n < len(s.ends) && size < about {
		size = s.ends[n].at
		n++
	}
	offset := len(buf)
	taken := append([]end(nil), s.ends[:n]...)
	for i := range taken {
		taken[i].at += offset
	}
	buf = append(buf, s.bytes[:size]...)
	s.bytes = s.bytes[:copy(s.bytes, s.bytes[size:])]
	if len(s.bytes) == 0 && cap(s.bytes) > 2*outboxLimit {
		s.bytes = nil // see run
	}
	s.ends = s.ends[:copy(s.ends, s.ends[n:])]
	for i := range s.ends {
		s.ends[i].at -= size
	}
	return buf, taken
}

// addReply appends a message that goes out before all signals that wait. The error is that
// of the connection.
func (o *outbox) addReply(h *wire.Header, body func(e *wire.Encoder)) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.replies) >= repliesLimit && o.err == nil {
		o.change.Wait()
	}
	if o.err != nil {
		return o.err
	}
	e := wire.NewEncoder(o.replies)
	e.Message(h, body)
	o.replies = e.Bytes
	o.change.Broadcast()
	return nil
}

// addSignals appends signals, in order. It waits for room until ctx is done.
func (o *outbox) addSignals(ctx context.Context, add func(s *Signals)) error {
	stop := context.AfterFunc(ctx, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.change.Broadcast()
	})
	defer stop()
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.signals.bytes) >= outboxLimit && o.err == nil && ctx.Err() == nil {
		o.change.Wait()
	}
	if o.err != nil {
		return o.err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	add(&o.signals)
	o.change.Broadcast()
	return nil
}

// flush waits until all that was added is on the socket.
func (o *outbox) flush() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for (o.waiting() || o.writing) && o.err == nil {
		o.change.Wait()
	}
	return o.err
}

func (o *outbox) waiting() bool { return len(o.replies) > 0 || len(o.signals.bytes) > 0 }

func (o *outbox) signalsWaiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.signals.bytes)
}

func (o *outbox) lastWritten() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.written
}

// close releases everybody who waits; the first reason counts.
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
	for {
		for !o.waiting() && o.err == nil {
			o.change.Wait()
		}
		if o.err != nil {
			return o.err
		}
		buf := o.replies
		o.replies = o.spare[:0]
		buf, ends := o.signals.take(buf, signalShare)
		o.writing = true
		o.change.Broadcast()
		o.mu.Unlock()
		n, err := o.sock.Write(buf, o.timeout)
		o.mu.Lock()
		o.writing = false
		for _, e := range ends {
			if e.at <= n && e.seq > 0 {
				o.written = e.seq
			}
		}
		if o.spare = buf; cap(buf) > 2*outboxLimit {
			o.spare = nil // one large reply need not be paid for ever after
		}
		if err != nil && o.err == nil {
			o.err = err
		}
		o.change.Broadcast()
	}
}
