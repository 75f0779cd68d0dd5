package bus

import (
	"context"
	"sync"
	"time"

	"github.com/osctl/eventd/dbusapi/wire"
)

const (
	// repliesLimit is the size of the queue of replies, in bytes. While it is full, workers
	// wait. It is small, because this queue has no turns.
	repliesLimit = 16 << 10

	// outboxLimit is the size of the queue of signals, in bytes. While it is full, the emitter
	// waits. One addition may exceed either limit.
	outboxLimit = 256 << 10

	// signalShare is about the size of the signals in one write, in bytes. So replies never wait
	// behind many signals, and signals never starve.
	signalShare = 64 << 10
)

// socket is the destination of the outbox: a [wire.Conn], or a fake.
type socket interface {
	Write(b []byte, timeout time.Duration) (int, error)
	NextSerial() uint32
}

// outbox queues whole messages, and writes them in one goroutine. Each write takes all queued replies,
// then a share of the signals. While the outbox is full, senders wait, so a slow bus slows them down
// instead of filling memory.
type outbox struct {
	sock    socket
	timeout time.Duration

	mu      sync.Mutex
	changed sync.Cond // after an addition, a write, and close
	replies []byte
	signals Signals
	writing bool
	written uint64 // number of the last event whose signal was written completely
	spare   []byte // buffer of the last write, for reuse
	err     error
}

func newOutbox(sock socket, timeout time.Duration) *outbox {
	o := &outbox{sock: sock, timeout: timeout}
	o.signals.serial = sock.NextSerial
	o.changed.L = &o.mu
	return o
}

// Signals are queued signals.
type Signals struct {
	bytes  []byte
	ends   []messageEnd // of the messages in bytes
	serial func() uint32
}

// messageEnd is the end of a message, and the number of the event that it announces, 0 for none.
type messageEnd struct {
	at  int
	seq uint64
}

// Add appends a signal for event seq; body appends its arguments.
func (s *Signals) Add(h *wire.Header, seq uint64, body func(e *wire.Encoder)) {
	h.Type, h.Serial = wire.TypeSignal, s.serial()
	s.add(h, seq, body)
}

func (s *Signals) add(h *wire.Header, seq uint64, body func(e *wire.Encoder)) {
	e := wire.NewEncoder(s.bytes)
	e.Message(h, body)
	s.bytes = e.Bytes
	s.ends = append(s.ends, messageEnd{len(s.bytes), seq})
}

// take moves whole messages of about so many bytes to buf, and returns their ends in buf.
func (s *Signals) take(buf []byte, about int) ([]byte, []messageEnd) {
	n, size := 0, 0
	for n < len(s.ends) && size < about {
		size = s.ends[n].at
		n++
	}
	offset := len(buf)
	taken := append([]messageEnd(nil), s.ends[:n]...)
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

// addReply appends a message ahead of all queued signals. The error is that of the connection.
func (o *outbox) addReply(h *wire.Header, body func(e *wire.Encoder)) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.replies) >= repliesLimit && o.err == nil {
		o.changed.Wait()
	}
	if o.err != nil {
		return o.err
	}
	e := wire.NewEncoder(o.replies)
	e.Message(h, body)
	o.replies = e.Bytes
	o.changed.Broadcast()
	return nil
}

// addSignals appends signals. It waits for room until ctx is done.
func (o *outbox) addSignals(ctx context.Context, add func(s *Signals)) error {
	stop := context.AfterFunc(ctx, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.changed.Broadcast()
	})
	defer stop()
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.signals.bytes) >= outboxLimit && o.err == nil && ctx.Err() == nil {
		o.changed.Wait()
	}
	if o.err != nil {
		return o.err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	add(&o.signals)
	o.changed.Broadcast()
	return nil
}

// flush waits until all queued messages are written.
func (o *outbox) flush() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for (o.hasPending() || o.writing) && o.err == nil {
		o.changed.Wait()
	}
	return o.err
}

func (o *outbox) hasPending() bool { return len(o.replies) > 0 || len(o.signals.bytes) > 0 }

func (o *outbox) repliesFull() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.replies) >= repliesLimit
}

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

// close makes all methods fail with err. Only the first call counts.
func (o *outbox) close(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
	o.changed.Broadcast()
}

// run writes until the outbox is closed or a write fails, and returns the error.
func (o *outbox) run() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		for !o.hasPending() && o.err == nil {
			o.changed.Wait()
		}
		if o.err != nil {
			return o.err
		}
		buf := o.replies
		o.replies = o.spare[:0]
		buf, ends := o.signals.take(buf, signalShare)
		o.writing = true
		o.changed.Broadcast()
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
			o.spare = nil // free the memory of a large reply
		}
		if err != nil && o.err == nil {
			o.err = err
		}
		o.changed.Broadcast()
	}
}
