package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

const (
	// writeTimeout is how long the bus may take nothing before the connection is given up.
	writeTimeout = 10 * time.Second

	// writeBuffer is how many bytes the kernel keeps for the bus: not many, because replies wait
	// there without taking turns, and enough for signals to go out fast.
	writeBuffer = 64 << 10

	// callTimeout bounds a call of the bus itself while connecting.
	callTimeout = 5 * time.Second

	// maxBusMessage is the largest message of the bus itself that is read here, in bytes.
	maxBusMessage = 64 << 10
)

// Handler handles calls. Its methods are called by several goroutines at a time.
type Handler interface {
	// Handle handles a call. What it keeps of the call's arguments it must copy: they are
	// wiped when Handle returns, or when a call that it holds is finished.
	Handle(call *Call)
	// Refuse returns the error reply for a call that is not handled.
	Refuse(m *wire.Message, err error) *wire.Error
}

// Config configures a [Bus].
type Config struct {
	Address string // of the bus, as [wire.ResolveAddress] gives it
	Name    string // to own
	Log     *slog.Logger
	Handler Handler
	// MaxBody is the largest body of a call that is read, in bytes.
	MaxBody int
	// WriteTimeout is how long the bus may take nothing before it is given up; 10 s if 0.
	WriteTimeout time.Duration
	// Count counts what happens: CounterOverLimit, CounterIgnored.
	Count func(name string, n uint64)
}

// Bus is one session on a bus: from owning the name to losing it.
type Bus struct {
	config  Config
	conn    *wire.Conn
	out     *outbox
	queue   *queue
	control *control

	running sync.WaitGroup // reader and writer

	mu      sync.Mutex
	replies map[uint32]chan *wire.Message // to our own calls, by serial
	late    uint64                        // calls without reply that came while stopping
	leaving bool                          // we give up the name ourselves
}

// Connect connects to a bus and owns the name. The error says which of it failed.
func Connect(ctx context.Context, config Config) (*Bus, error) {
	if config.WriteTimeout == 0 {
		config.WriteTimeout = writeTimeout
	}
	control, err := dialControl(ctx, config.Address)
	if err != nil {
		return nil, err
	}
	conn, err := wire.Dial(ctx, config.Address)
	if err != nil {
		control.close()
		return nil, err
	}
	conn.SetWriteBuffer(writeBuffer)
	b := &Bus{
		config: config, conn: conn, control: control, out: newOutbox(conn, config.WriteTimeout),
		replies: map[uint32]chan *wire.Message{},
	}
	b.queue = newQueue(maxWaiting, b.handle, control, &refusals{log: config.Log, count: config.Count})
	b.queue.start()
	b.running.Go(func() { b.GiveUp(b.read()) })
	b.running.Go(func() {
		if err := b.out.run(); !errors.Is(err, errLeft) {
			b.GiveUp(err)
		}
	})
	b.running.Go(func() {
		select {
		case <-control.wire.Done():
			b.GiveUp(control.wire.Err())
		case <-b.Done():
		}
	})
	if err := b.own(ctx); err != nil {
		b.GiveUp(err)
		b.Close()
		return nil, err
	}
	return b, nil
}

// own requests the name.
func (b *Bus) own(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	const doNotQueue, primaryOwner = 4, 1 // D-Bus specification, "org.freedesktop.DBus.RequestName"
	d, err := b.call(ctx, "RequestName", "su", func(e *wire.Encoder) {
		e.String(b.config.Name)
		e.Uint32(doNotQueue)
	})
	if err != nil {
		return fmt.Errorf("own the name %s: %w", b.config.Name, err)
	}
	if answer := d.Uint32(); answer != primaryOwner {
		owner := "unknown"
		if d, err := b.call(ctx, "GetNameOwner", "s", func(e *wire.Encoder) { e.String(b.config.Name) }); err == nil {
			owner = d.String()
		}
		return fmt.Errorf("the name %s already has an owner, %s: is another osctl-eventd running?", b.config.Name, owner)
	}
	return nil
}

// UniqueName returns our unique name on the bus.
func (b *Bus) UniqueName() string { return b.conn.Name() }

// ControlName returns the unique name of the control connection.
func (b *Bus) ControlName() string { return b.control.bus.Names()[0] }

// Waiting returns how many calls wait for their turn, how many bytes of memory they and
// those being handled take, and how many bytes of signals wait for the socket.
func (b *Bus) Waiting() (calls, bytes, signals int) {
	calls, bytes = b.queue.waiting()
	return calls, bytes, b.out.signalsWaiting()
}

// Done is closed when the session has ended, see Err.
func (b *Bus) Done() <-chan struct{} { return b.conn.Done() }

// Err returns why the session ended, once Done is closed.
func (b *Bus) Err() error { return b.conn.Err() }

// Alive asks the bus whether it answers.
func (b *Bus) Alive(ctx context.Context) error { return b.control.ping(ctx) }

// Stuck returns for how long the slowest call has been running in a worker.
func (b *Bus) Stuck() time.Duration { return b.queue.longest() }

// GiveUp ends the session; the first reason counts.
func (b *Bus) GiveUp(err error) {
	b.conn.Interrupt(err)
	b.out.close(b.Err())
	b.control.wire.Interrupt(b.Err())
}

// Close ends the session and returns when nothing of it runs any more. Calls that wait are
// dropped: after a lost connection there is nobody to answer.
func (b *Bus) Close() {
	b.GiveUp(wire.ErrClosed)
	for _, m := range b.queue.abandon() {
		m.Clear()
	}
	b.queue.drop()
	b.running.Wait()
	b.queue.close()
	b.control.close()
	_ = b.conn.Close()
}

// read reads what the bus sends until the connection ends.
func (b *Bus) read() error {
	for {
		m, err := b.conn.Read(b.admit)
		if err != nil {
			return err
		}
		switch {
		case m.Sender == wire.BusName:
			b.receive(m)
		case m.Type != wire.TypeCall:
			b.config.Count(CounterIgnored, 1)
		case m.Refused != nil:
			b.refuse(m, m.Refused)
		default:
			if err := b.queue.push(m); err != nil {
				b.refuse(m, err)
			}
		}
	}
}

// errUnwanted refuses the bodies of messages that nobody looks at.
var errUnwanted = errors.New("bus: unwanted")

// admit says whether the body of a message is to be read.
func (b *Bus) admit(m *wire.Message) error {
	switch {
	case m.Sender == wire.BusName && m.BodySize <= maxBusMessage:
		return nil
	case m.Type != wire.TypeCall:
		return errUnwanted
	case m.BodySize > b.config.MaxBody:
		return &hub.TooLargeError{What: "bytes of one call", Got: m.BodySize, Limit: b.config.MaxBody}
	}
	return b.queue.admit(m)
}

// receive takes a message of the bus itself: a reply to a call of ours, or a signal.
func (b *Bus) receive(m *wire.Message) {
	if m.Refused != nil {
		return
	}
	if m.Type == wire.TypeSignal {
		b.mu.Lock()
		leaving := b.leaving
		b.mu.Unlock()
		if m.Member == "NameLost" && !leaving && m.Decoder().String() == b.config.Name {
			b.GiveUp(errors.New("the name " + b.config.Name + " was taken away"))
		}
		return
	}
	b.mu.Lock()
	reply := b.replies[m.ReplySerial]
	delete(b.replies, m.ReplySerial)
	b.mu.Unlock()
	if reply != nil {
		reply <- m
	}
}

// call calls the bus itself, behind all signals that were queued before.
func (b *Bus) call(ctx context.Context, member, sig string, body func(e *wire.Encoder)) (*wire.Decoder, error) {
	h := wire.BusCall(member, sig)
	h.Serial = b.conn.NextSerial()
	reply := make(chan *wire.Message, 1)
	b.mu.Lock()
	b.replies[h.Serial] = reply
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.replies, h.Serial)
	}()
	if err := b.out.addSignals(ctx, func(s *Signals) { s.add(h, 0, body) }); err != nil {
		return nil, err
	}
	select {
	case m := <-reply:
		if m.Type == wire.TypeError {
			return nil, &wire.Error{Name: m.ErrorName, Message: m.Decoder().String()}
		}
		return m.Decoder(), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-b.Done():
		return nil, b.Err()
	}
}

// Signals queues signals; add appends them. It waits while too many wait, until ctx is done.
func (b *Bus) Signals(ctx context.Context, add func(s *Signals)) error {
	return b.out.addSignals(ctx, add)
}

// Written returns the number of the last event whose whole signal the socket took.
func (b *Bus) Written() uint64 { return b.out.lastWritten() }
