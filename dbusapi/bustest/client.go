package bustest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Name, path and interface of the bus itself.
const (
	DriverName = "org.freedesktop.DBus"
	DriverPath = "/org/freedesktop/DBus"
)

const backlog = 4096 // messages for Receive

// errClosed is the error of a closed client.
var errClosed = errors.New("bustest: client is closed")

// Client is a connection to a bus. It reads all the time: replies go to their Call,
// other messages to Receive, in order. It holds 4096 messages for Receive, and drops
// further ones. The kernel closes received file descriptors. Several goroutines may
// call its methods. For a client that does not read, use [Bus.DialAs].
type Client struct {
	conn   *net.UnixConn
	serial atomic.Uint32
	queue  chan *Message // closed by the reader when it ends
	done   chan struct{} // closed before that

	writing sync.Mutex // held while a message is written

	mu      sync.Mutex
	name    string
	pending map[uint32]chan *Message // by serial; nil when the connection is dead
	err     error                    // of the dead connection
}

// newClient returns a client that owns an authenticated connection. Call Hello first.
func newClient(conn *net.UnixConn) *Client {
	c := &Client{
		conn:    conn,
		queue:   make(chan *Message, backlog),
		done:    make(chan struct{}),
		pending: map[uint32]chan *Message{},
	}
	go c.read()
	return c
}

// ClientAs connects like [Bus.DialAs] and calls Hello. The client is closed when the
// test ends. The first message for Receive is NameAcquired.
func (b *Bus) ClientAs(tb testing.TB, uid uint32, options ...DialOption) *Client {
	tb.Helper()
	c := newClient(b.DialAs(tb, uid, options...))
	tb.Cleanup(func() { _ = c.Close() })
	ctx, cancel := context.WithTimeout(tb.Context(), deadline)
	defer cancel()
	if err := c.hello(ctx); err != nil {
		tb.Fatalf("bustest: Hello to %v as uid %d: %v", b.kind, uid, err)
	}
	return c
}

// RemoteError is an error reply.
type RemoteError struct {
	Name string // as org.freedesktop.DBus.Error.AccessDenied
	Text string // for people: the buses differ
}

func (e *RemoteError) Error() string { return e.Name + ": " + e.Text }

// ErrorName returns the name of the [RemoteError] in err, or "".
func ErrorName(err error) string {
	if remote, ok := errors.AsType[*RemoteError](err); ok {
		return remote.Name
	}
	return ""
}

// hello asks the bus for a unique name. It must be the first call.
func (c *Client) hello(ctx context.Context) error {
	reply, err := c.CallDriver(ctx, "Hello", "", nil)
	if err != nil {
		return err
	}
	name, err := reply.FirstString()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.name = name
	return err
}

// Name is the unique name of the client.
func (c *Client) Name() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.name
}

// NextSerial returns a serial that no other message of this client has.
func (c *Client) NextSerial() uint32 { return c.serial.Add(1) }

// CallDriver calls a method of the bus itself.
func (c *Client) CallDriver(ctx context.Context, member, signature string, body *Body) (*Message, error) {
	m := MethodCall(DriverName, DriverPath, DriverName, member)
	if body != nil {
		m.Signature, m.Body, m.BigEndian = signature, body.Bytes(), body.BigEndian
	}
	return c.Call(ctx, m)
}

// Call sends a message, with a new serial if it has none, and returns the reply. The
// error of an error reply is a [RemoteError].
func (c *Client) Call(ctx context.Context, m *Message) (*Message, error) {
	if m.Serial == 0 {
		withSerial := *m
		withSerial.Serial = c.NextSerial()
		m = &withSerial
	}
	reply := make(chan *Message, 1)
	if err := c.expect(m.Serial, reply); err != nil {
		return nil, err
	}
	defer c.forget(m.Serial)
	if err := c.Send(ctx, m.Marshal()); err != nil {
		return nil, err
	}
	select {
	case answer := <-reply:
		return answer, answer.remoteError()
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.done:
	}
	select { // it may have been the last that was read
	case answer := <-reply:
		return answer, answer.remoteError()
	default:
		return nil, c.Err()
	}
}

func (m *Message) remoteError() error {
	if m.Type != TypeError {
		return nil
	}
	text, _ := m.FirstString() // it need not have one
	return &RemoteError{Name: m.ErrorName, Text: text}
}

// Send writes any bytes. If ctx ends first, because the bus does not read, a part may
// have been written, and the client cannot be used any more.
func (c *Client) Send(ctx context.Context, raw []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.conn.SetWriteDeadline(time.Time{}); err != nil {
		return err
	}
	cut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(cut)
		_ = c.conn.SetWriteDeadline(time.Unix(1, 0))
	})
	defer func() {
		if !stop() {
			<-cut // so that it does not cut off the next write
		}
	}()
	if _, err := c.conn.Write(raw); err != nil {
		return errors.Join(ctx.Err(), err)
	}
	return nil
}

// Receive returns the next message that is no reply to a Call. After the end of the
// connection it returns the remaining messages, then the error.
func (c *Client) Receive(ctx context.Context) (*Message, error) {
	select {
	case m, ok := <-c.queue:
		if !ok {
			return nil, c.Err()
		}
		return m, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Done is closed when the connection is dead: closed by the bus, or by Close.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err returns the error of a dead connection, io.EOF or ECONNRESET if the bus closed
// it. It returns nil while the connection is alive.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close closes the connection and waits for its goroutines.
func (c *Client) Close() error {
	c.fail(errClosed)
	err := c.conn.Close()
	<-c.done
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// read reads messages until the connection ends.
func (c *Client) read() {
	defer close(c.queue)
	defer close(c.done)
	r := bufio.NewReader(c.conn)
	for {
		m, err := ReadMessage(r)
		if err != nil {
			c.fail(err)
			return
		}
		if c.deliver(m) {
			continue
		}
		select {
		case c.queue <- m:
		default: // dropped, see Client
		}
	}
}

// expect registers a channel for the reply to a serial.
func (c *Client) expect(serial uint32, reply chan *Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.pending == nil:
		return c.err
	case c.pending[serial] != nil:
		return fmt.Errorf("bustest: a call with serial %d is pending", serial)
	}
	c.pending[serial] = reply
	return nil
}

func (c *Client) forget(serial uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pending, serial)
}

// deliver reports whether m was the reply to a pending call. It never blocks: each
// channel takes the one reply it is for.
func (c *Client) deliver(m *Message) bool {
	if m.Type != TypeReturn && m.Type != TypeError {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	reply := c.pending[m.ReplySerial]
	if reply == nil {
		return false
	}
	delete(c.pending, m.ReplySerial)
	reply <- m
	return true
}

// fail records the first error of the connection.
func (c *Client) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
	c.pending = nil
}
