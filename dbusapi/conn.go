package dbusapi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/osctl/eventd/dbusapi/wire"
)

const (
	busName      = "org.freedesktop.DBus"
	busPath      = "/org/freedesktop/DBus"
	busInterface = "org.freedesktop.DBus"

	// writeTimeout is how long the bus may take nothing from us before the
	// connection is thrown away.
	writeTimeout = 10 * time.Second

	// dialTimeout bounds connecting, authentication and Hello together.
	dialTimeout = 5 * time.Second

	// maxHeader is the largest message header that is read, in bytes. Messages with a
	// larger one, as of a call on an object path of a megabyte, are passed over
	// without an answer: who sent them stands in the header.
	maxHeader = 1 << 20

	readBuffer = 64 << 10
)

// message is a message from somebody other than the bus itself.
type message struct {
	*wire.Header
	body    string // not read if tooBig or refused
	tooBig  bool   // the body is over the limit of the connection
	refused error  // why the connection does not want the message
	size    int    // of what was read, in bytes
}

// decoder returns a decoder for the body.
func (m *message) decoder() *wire.Decoder { return wire.NewDecoder(m.body, m.BigEndian) }

// connConfig says how a connection treats what arrives.
type connConfig struct {
	maxBody int                   // larger bodies are passed over unread
	admit   func(*message) error  // asked before the body is read; may be nil
	handle  func(*conn, *message) // called in order by the reader; may be nil
	timeout time.Duration         // writeTimeout if 0
	strain  func() strain         // see outbox; may be nil
}

// conn is one connection to a bus. It owns the byte stream: what the bus itself
// answers goes to godbus, which does the authentication and the talk with the bus;
// everything else is handled here. So a message from a stranger never reaches
// godbus, no file descriptors are negotiated, calls stay in order, and a bus that
// does not read cannot block us for longer than the write timeout.
type conn struct {
	connConfig
	sock   net.Conn
	in     *bufio.Reader
	out    *outbox
	bus    *dbus.Conn
	name   string // our unique name
	serial atomic.Uint32
	begun  atomic.Bool // authentication is over, messages follow

	reading sync.Mutex // held while a message is read and handled
	frame   []byte     // guarded by reading, as is rest
	rest    []byte     // of a frame that godbus has not taken yet

	mu    sync.Mutex
	calls map[uint32]chan *message // replies that somebody waits for; nil once closed
	err   error

	done   chan struct{} // closed when the connection is dead
	writer chan struct{} // closed when the writer has ended
}

var (
	errBusClosed = errors.New("the bus closed the connection")
	// errTurnedAway is what dbus-daemon has for users that its configuration does not
	// allow to connect, like those of another session.
	errTurnedAway = errors.New("the bus closed the connection at once")
)

// dialConn connects to a bus, authenticates and says Hello.
func dialConn(ctx context.Context, address string, config connConfig) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	sock, err := dialSocket(ctx, address)
	if err != nil {
		return nil, err
	}
	if config.timeout == 0 {
		config.timeout = writeTimeout
	}
	c := &conn{
		connConfig: config, sock: sock, in: bufio.NewReaderSize(sock, readBuffer), out: newOutbox(sock, config.timeout),
		calls: map[uint32]chan *message{}, done: make(chan struct{}), writer: make(chan struct{}),
	}
	c.out.strain = config.strain
	go func() {
		defer close(c.writer)
		c.fail(c.out.run())
	}()
	if err := c.hello(ctx); err != nil {
		c.close()
		if errors.Is(err, errBusClosed) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
			err = errTurnedAway
		}
		return nil, fmt.Errorf("bus %s: %w", address, err)
	}
	return c, nil
}

// hello lets godbus authenticate and register us. It takes no context, so the end
// of ctx is made felt through the socket.
func (c *conn) hello(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { c.fail(ctx.Err()) })
	defer stop()
	var err error
	c.bus, err = dbus.NewConn((*transport)(c), dbus.WithSerialGenerator(serials{c}))
	if err != nil {
		return err
	}
	uid := strconv.Itoa(os.Geteuid())
	if err := c.bus.Auth([]dbus.Auth{dbus.AuthExternal(uid)}); err != nil {
		return c.reason(fmt.Errorf("authentication: %w", err))
	}
	if err := c.bus.Hello(); err != nil {
		return c.reason(fmt.Errorf("hello: %w", err))
	}
	c.name = c.bus.Names()[0]
	return nil
}

// reason prefers why the connection died over what followed from it.
func (c *conn) reason(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	return err
}

// fail ends the connection. The first reason stays.
func (c *conn) fail(err error) {
	c.mu.Lock()
	if c.calls == nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	c.calls = nil
	c.mu.Unlock()
	c.out.close(err)
	_ = c.sock.SetDeadline(time.Unix(1, 0)) // ends what blocks on the socket
	close(c.done)
}

// close ends the connection. When it returns, nothing is written any more and the
// handler does not run and will not again. The handler must not call it.
func (c *conn) close() {
	c.fail(errOutboxClosed)
	if c.bus != nil {
		_ = c.bus.Close() // closes the socket through transport.Close
	}
	<-c.writer
	c.reading.Lock() // the reader has left: the deadline of fail got it out
	defer c.reading.Unlock()
	_ = c.sock.Close()
}

// send sends one message with the next serial; body may be nil.
func (c *conn) send(h *wire.Header, body func(e *wire.Encoder)) error {
	return c.out.add(func(e *wire.Encoder) { c.append(e, h, body) })
}

// sendFairly is send that waits while others go first: much is on its way to the
// receiver already.
func (c *conn) sendFairly(h *wire.Header, signals due, body func(e *wire.Encoder)) error {
	return c.out.addReply(h.Destination, signals, func(e *wire.Encoder) { c.append(e, h, body) })
}

// append appends one message to the outbox, from within add.
func (c *conn) append(e *wire.Encoder, h *wire.Header, body func(e *wire.Encoder)) {
	if h.Serial == 0 {
		h.Serial = c.nextSerial()
	}
	e.Begin(h)
	start := e.BodyStart()
	if body != nil {
		body(e)
	}
	e.End(start)
}

// nextSerial returns a serial for a message; 0 is not a valid one.
func (c *conn) nextSerial() uint32 {
	for {
		if n := c.serial.Add(1); n != 0 {
			return n
		}
	}
}

// call sends a method call and waits for its reply, which it returns also if it
// is an error. The error is that of ctx or of the connection. Where ctx is done already
// nothing is sent.
func (c *conn) call(ctx context.Context, h *wire.Header, body func(e *wire.Encoder)) (*message, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	reply := make(chan *message, 1)
	h.Type, h.Serial = wire.TypeCall, c.nextSerial()
	c.mu.Lock()
	if c.calls == nil {
		defer c.mu.Unlock()
		return nil, c.err
	}
	c.calls[h.Serial] = reply
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.calls, h.Serial)
		c.mu.Unlock()
	}()
	if err := c.out.addWithin(ctx, func(e *wire.Encoder) { c.append(e, h, body) }); err != nil {
		return nil, err
	}
	select {
	case m := <-reply:
		return m, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.done:
		return nil, c.reason(errOutboxClosed)
	}
}

// receive handles one message that did not come from the bus.
func (c *conn) receive(m *message) {
	if m.Type == wire.TypeReply || m.Type == wire.TypeError {
		c.mu.Lock()
		reply, ok := c.calls[m.ReplySerial]
		delete(c.calls, m.ReplySerial)
		c.mu.Unlock()
		if ok {
			reply <- m
			return
		}
	}
	if c.handle != nil {
		c.handle(c, m)
	}
}

// readFrame reads the next message. One from the bus that godbus waits for is left
// in c.frame and nil is returned.
func (c *conn) readFrame() (*message, error) {
	fixed, err := c.in.Peek(wire.FixedSize)
	if err != nil {
		return nil, err
	}
	header, body, err := wire.Sizes(fixed)
	if err != nil {
		return nil, err
	}
	if header > maxHeader {
		_, err := c.in.Discard(header + body)
		return nil, err
	}
	if cap(c.frame) < header {
		c.frame = make([]byte, header, header+4096)
	}
	c.frame = c.frame[:header]
	if _, err := io.ReadFull(c.in, c.frame); err != nil {
		return nil, err
	}
	m := &message{size: header}
	if m.Header, err = wire.ParseHeader(c.frame); err != nil {
		_, err = c.in.Discard(body)
		return nil, err
	}
	m.tooBig = body > c.maxBody
	if !m.tooBig {
		m.size += body
	}
	if c.admit != nil {
		m.refused = c.admit(m)
	}
	if m.tooBig || m.refused != nil {
		_, err = c.in.Discard(body)
		return m, err
	}
	total := header + body
	if cap(c.frame) < total {
		c.frame = append(make([]byte, 0, total), c.frame...)
	}
	c.frame = c.frame[:total]
	if _, err := io.ReadFull(c.in, c.frame[header:]); err != nil {
		return nil, err
	}
	if m.Sender == busName && (m.Type == wire.TypeReply || m.Type == wire.TypeError) && !c.waiting(m.ReplySerial) {
		c.rest = c.frame
		return nil, nil
	}
	m.body = string(c.frame[header:])
	return m, nil
}

// waiting reports whether a call of ours waits for the reply to that serial. The bus
// itself answers a call whose destination is not there.
func (c *conn) waiting(serial uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.calls[serial]
	return ok
}
