package bus

import (
	"context"
	"slices"
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

	usualSignal = 512 // bytes of a signal with its header
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
	queue  []message
	size   int // bytes of all messages
	serial func() uint32
}

// message is an encoded message, and the number of the event that it announces, 0 for none.
type message struct {
	bytes []byte
	seq   uint64
}

// Add appends a signal for event seq; body appends its arguments.
func (s *Signals) Add(h *wire.Header, seq uint64, body func(e *wire.Encoder)) {
	h.Type, h.Serial = wire.TypeSignal, s.serial()
	s.add(h, seq, body)
}

func (s *Signals) add(h *wire.Header, seq uint64, body func(e *wire.Encoder)) {
	e := wire.NewEncoder(make([]byte, 0, usualSignal))
	e.Message(h, body)
	s.queue = append(s.queue, message{e.Bytes, seq})
	s.size += len(e.Bytes)
}

// take removes messages of about so many bytes.
func (s *Signals) take(about int) (taken []message, size int) {
	n := 0
	for ; n < len(s.queue) && size < about; n++ {
		size += len(s.queue[n].bytes)
	}
	taken, s.queue = s.queue[:n:n], s.queue[n:]
	s.size -= size
	return taken, size
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
	for o.signals.size >= outboxLimit && o.err == nil && ctx.Err() == nil {
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

func (o *outbox) hasPending() bool { return len(o.replies) > 0 || o.signals.size > 0 }

func (o *outbox) repliesFull() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.replies) >= repliesLimit
}

func (o *outbox) signalsWaiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.signals.size
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
		taken, size := o.signals.take(signalShare)
		end := len(o.replies)
		buf := slices.Grow(o.replies, size)
		o.replies = nil
		for _, m := range taken {
			buf = append(buf, m.bytes...)
		}
		o.writing = true
		o.changed.Broadcast()
		o.mu.Unlock()
		n, err := o.sock.Write(buf, o.timeout)
		o.mu.Lock()
		o.writing = false
		for _, m := range taken {
			if end += len(m.bytes); end <= n && m.seq > 0 {
				o.written = m.seq
			}
		}
		clear(taken) // the array of the queue would keep them
		if err != nil && o.err == nil {
			o.err = err
		}
		o.changed.Broadcast()
	}
}
