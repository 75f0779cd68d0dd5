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
	writeTimeout = 10 * time.Second // default of Config.WriteTimeout

	// writeBuffer is the size of the kernel's buffer for the bus, in bytes. It is small, because
	// replies in it have no turns, but large enough for fast signals.
	writeBuffer = 64 << 10

	callTimeout   = 5 * time.Second // for a call of the bus itself while connecting
	maxBusMessage = 64 << 10        // bytes of a message of the bus itself
)

// Handler handles calls. Several goroutines call its methods at a time.
type Handler interface {
	// Handle handles a call. It must copy arguments that it keeps: they are wiped when Handle
	// returns or, for a held call, when the call is finished.
	Handle(call *Call)
	// Refuse returns the error reply for a call that was refused with err.
	Refuse(m *wire.Message, err error) *wire.Error
}

// Config configures a [Bus].
type Config struct {
	Address string       // of the bus, see [wire.ResolveAddress]
	Name    string       // to own
	Log     *slog.Logger // its handler must not block, because the goroutine that reads calls logs
	Handler Handler
	// MaxBody is the size of the largest accepted body of a call, in bytes.
	MaxBody int
	// WriteTimeout is how long the bus may take no byte before the session ends; 10 s if 0.
	WriteTimeout time.Duration
	// Count adds n to a counter: CounterOverLimit or CounterIgnored.
	Count func(name string, n uint64)
}

// Bus is one session on a bus: from owning the name to losing it.
type Bus struct {
	config  Config
	conn    *wire.Conn
	out     *outbox
	queue   *queue
	control *control

	running sync.WaitGroup // goroutines of the connections

	mu        sync.Mutex
	replies   map[uint32]chan *wire.Message // to our own calls, by serial
	lateCalls uint64                        // calls without reply that were refused while stopping
	leaving   bool                          // Leave was called
}

// Connect connects to a bus and owns the name.
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
	b := startBus(config, conn, control)
	if err := b.requestName(ctx); err != nil {
		b.GiveUp(err)
		b.Close()
		return nil, err
	}
	return b, nil
}

// startBus starts a session that owns the connections.
func startBus(config Config, conn *wire.Conn, control *control) *Bus {
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
	return b
}

// requestName makes this connection the owner of the name.
func (b *Bus) requestName(ctx context.Context) error {
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
		if err := b.pingOwner(ctx); err != nil {
			return err
		}
		owner := "unknown"
		if d, err := b.call(ctx, "GetNameOwner", "s", func(e *wire.Encoder) { e.String(b.config.Name) }); err == nil {
			owner = d.String()
		}
		return fmt.Errorf("the name %s already has an owner, %s: is another osctl-eventd running?", b.config.Name, owner)
	}
	return nil
}

// pingOwner sends a message to the owner of the name, which may be an earlier connection of this process.
// While clients do not read replies, dbus-daemon does not read from the service, so it notices that a
// connection is closed only when it writes to it. Then it frees the name for the next attempt.
func (b *Bus) pingOwner(ctx context.Context) error {
	h := &wire.Header{
		Type: wire.TypeCall, Flags: wire.FlagNoReply | wire.FlagNoAutoStart, Serial: b.conn.NextSerial(),
		Path: wire.Path, Interface: "org.freedesktop.DBus.Peer", Member: "Ping", Destination: b.config.Name,
	}
	return b.out.addSignals(ctx, func(s *Signals) { s.add(h, 0, nil) })
}

// UniqueName returns the unique name of the service connection.
func (b *Bus) UniqueName() string { return b.conn.Name() }

// ControlName returns the unique name of the control connection.
func (b *Bus) ControlName() string { return b.control.bus.Names()[0] }

// Waiting returns the number of queued calls, the bytes of memory that these and the running calls
// take, and the bytes of queued signals.
func (b *Bus) Waiting() (calls, bytes, signals int) {
	calls, bytes = b.queue.waiting()
	return calls, bytes, b.out.signalsWaiting()
}

// Done returns a channel that is closed when the session ends, see Err.
func (b *Bus) Done() <-chan struct{} { return b.conn.Done() }

// Err returns why the session ended, nil before that.
func (b *Bus) Err() error { return b.conn.Err() }

// Alive checks that the bus answers.
func (b *Bus) Alive(ctx context.Context) error { return b.control.ping(ctx) }

// Stuck returns how long the slowest running call has taken so far, 0 while calls wait for the bus to
// take replies.
func (b *Bus) Stuck() time.Duration {
	if b.out.repliesFull() {
		return 0
	}
	return b.queue.longest()
}

// GiveUp ends the session with err. Only the first call counts.
func (b *Bus) GiveUp(err error) {
	b.conn.Interrupt(err)
	b.out.close(b.Err())
	b.control.wire.Interrupt(b.Err())
}

// Close ends the session, drops queued calls, and waits for all goroutines of the session.
func (b *Bus) Close() {
	b.GiveUp(wire.ErrClosed)
	for _, m := range b.queue.abandon() {
		m.Clear()
	}
	b.queue.dropHeld()
	b.running.Wait()
	b.queue.close()
	b.control.close()
	_ = b.conn.Close()
}

// read reads messages until the connection ends.
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

// errUnwanted refuses the bodies of ignored messages.
var errUnwanted = errors.New("bus: unwanted")

// admit returns an error if the body of a message must not be read.
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

// receive handles a message of the bus itself: a reply to a call of the service, or a signal.
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

// call calls the bus itself, after all queued signals.
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

// Signals queues signals, which add appends. While the queue is full, it waits until ctx is done.
func (b *Bus) Signals(ctx context.Context, add func(s *Signals)) error {
	return b.out.addSignals(ctx, add)
}

// Written returns the number of the last event whose signal was written completely.
func (b *Bus) Written() uint64 { return b.out.lastWritten() }
