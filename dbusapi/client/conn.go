package client

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/osctl/eventd/dbusapi/wire"
)

const (
	writeTimeout = 10 * time.Second // for a bus that takes no byte
	maxReply     = 32 << 20         // bytes of a reply; the default limit of the system bus
	maxWrite     = 64 << 10         // bytes of calls in one write
)

// errUnwanted refuses the bodies of messages without a pending call. Any peer on the bus may send
// them.
var errUnwanted = errors.New("client: unwanted")

// errTooLarge refuses replies beyond maxReply.
var errTooLarge = errors.New("client: too large")

// conn makes calls over one connection to a bus.
type conn struct {
	wire    *wire.Conn
	out     chan []byte // messages to write
	running sync.WaitGroup

	mu    sync.Mutex
	calls map[uint32]chan *wire.Message // by serial
}

// startConn starts the reader and the writer of a connection. The conn owns w.
func startConn(w *wire.Conn) *conn {
	c := &conn{wire: w, out: make(chan []byte), calls: map[uint32]chan *wire.Message{}}
	c.running.Go(func() { w.Interrupt(c.read()) })
	c.running.Go(func() { w.Interrupt(c.write()) })
	return c
}

// close ends the connection and waits for its goroutines.
func (c *conn) close() {
	c.wire.Interrupt(wire.ErrClosed)
	c.running.Wait()
	_ = c.wire.Close()
}

func (c *conn) read() error {
	for {
		m, err := c.wire.Read(c.admit)
		if err != nil {
			return err
		}
		switch {
		case m.Type == wire.TypeReply || m.Type == wire.TypeError:
			c.receive(m)
		case m.Type == wire.TypeCall && m.Flags&wire.FlagNoReply == 0:
			c.refuse(m)
		}
	}
}

// admit admits the replies to pending calls.
func (c *conn) admit(m *wire.Message) error {
	if m.Type != wire.TypeReply && m.Type != wire.TypeError {
		return errUnwanted
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch _, waiting := c.calls[m.ReplySerial]; {
	case !waiting:
		return errUnwanted
	case m.BodySize > maxReply:
		return errTooLarge
	}
	return nil
}

func (c *conn) receive(m *wire.Message) {
	if errors.Is(m.Refused, errUnwanted) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if reply, ok := c.calls[m.ReplySerial]; ok {
		delete(c.calls, m.ReplySerial)
		reply <- m // the channel has room
	}
}

// refuse answers a call with an error, because a client has no methods. It blocks the reader until the
// bus takes the answer, so answers need no queue.
func (c *conn) refuse(m *wire.Message) {
	h := &wire.Header{
		Type: wire.TypeError, Serial: c.wire.NextSerial(), ReplySerial: m.Serial, Destination: m.Sender,
		ErrorName: wire.ErrUnknownObject, Signature: "s",
	}
	e := wire.NewEncoder(nil)
	e.Message(h, func(e *wire.Encoder) { e.String("this is a client without methods, call " + wire.Name) })
	select {
	case c.out <- e.Bytes:
	case <-c.wire.Done():
	}
}

// write writes messages, several at a time if they are ready.
func (c *conn) write() error {
	for {
		var buf []byte
		select {
		case buf = <-c.out:
		case <-c.wire.Done():
			return wire.ErrClosed
		}
		for more := true; more && len(buf) < maxWrite; {
			select {
			case next := <-c.out:
				buf = append(buf, next...)
			default:
				more = false
			}
		}
		if _, err := c.wire.Write(buf, writeTimeout); err != nil {
			return err
		}
	}
}

// call makes a call and returns the reply, which may be an error message. The error is that of ctx or
// of the connection. If ctx is done already, call sends nothing.
func (c *conn) call(ctx context.Context, h *wire.Header, body func(e *wire.Encoder)) (*wire.Message, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	reply := make(chan *wire.Message, 1)
	h.Type, h.Serial = wire.TypeCall, c.wire.NextSerial()
	c.mu.Lock()
	c.calls[h.Serial] = reply
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.calls, h.Serial)
		c.mu.Unlock()
	}()
	e := wire.NewEncoder(nil)
	e.Message(h, body)
	out := c.out
	for {
		select {
		case out <- e.Bytes:
			out = nil // sent; wait for the reply
		case m := <-reply:
			return m, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.wire.Done():
			return nil, c.wire.Err()
		}
	}
}
