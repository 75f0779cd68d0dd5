package wire

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// maxHeader is the size of the largest message header that is read, in bytes. A message with a larger
// header is skipped, and gets no reply, because its header has the sender.
const maxHeader = 1 << 20

var (
	// ErrClosed is the error of a connection that its owner closed.
	ErrClosed = errors.New("dbus: the connection is closed")
	// ErrBusClosed is the error of a connection that the bus closed.
	ErrBusClosed = errors.New("the bus closed the connection")
)

// Message is a message that was read from a bus.
type Message struct {
	*Header
	// Size is the memory that the message holds, in bytes.
	Size int
	// Refused is the error of admit, for which the body was not read; nil if it was read.
	Refused error

	frame []byte // the whole message; nil if Refused
	body  int    // offset of the body
}

// Decoder returns a decoder for the body. Its strings share memory with the message; clone those that
// outlive it.
func (m *Message) Decoder() *Decoder {
	return &Decoder{body: alias(m.frame[m.body:]), big: m.BigEndian}
}

// Frame returns the bytes of the whole message, nil if Refused.
func (m *Message) Frame() []byte { return m.frame }

// Clear wipes the body, which may hold secrets. After that, the message and strings decoded from it
// must not be used.
func (m *Message) Clear() {
	clear(m.frame[m.body:])
	m.frame, m.body = nil, 0
}

// Conn is a connection to a bus: a stream of whole messages each way. One goroutine may read while
// another one writes. Conn does not negotiate file descriptors, so the bus lets no peer send any.
type Conn struct {
	sock   net.Conn
	in     *reader
	name   string
	serial atomic.Uint32

	done chan struct{} // closed by Interrupt
	mu   sync.Mutex
	err  error // argument of Interrupt; nil until then
}

// NewConn returns a connection over a new socket. Most callers want [Dial].
func NewConn(sock net.Conn) *Conn {
	return &Conn{sock: sock, in: newReader(sock), done: make(chan struct{})}
}

// Name returns the unique name of the connection on the bus, after [Dial].
func (c *Conn) Name() string { return c.name }

// NextSerial returns the serial of the next message. It is never 0, which is not valid.
func (c *Conn) NextSerial() uint32 {
	for {
		if n := c.serial.Add(1); n != 0 {
			return n
		}
	}
}

// Raw returns the stream of bytes before the first message.
func (c *Conn) Raw() io.Reader { return c.in }

// Read reads the next message. It calls admit after the header, before it allocates memory for the
// body; an error of admit becomes Refused. Messages whose header is malformed or larger than 1 MiB are
// skipped. Read returns [Conn.Err], the error of the socket, or an error about a header after which it
// cannot find the next message.
func (c *Conn) Read(admit func(*Message) error) (*Message, error) {
	for {
		m, err := c.read(admit)
		if m != nil || err != nil {
			return m, c.reason(err)
		}
	}
}

// read returns nil for a skipped message.
func (c *Conn) read(admit func(*Message) error) (*Message, error) {
	fixed, err := c.in.peek(fixedSize)
	if err != nil {
		return nil, err
	}
	header, body, err := Sizes(fixed)
	if err != nil {
		return nil, err
	}
	if header > maxHeader {
		return nil, c.in.skip(header + body)
	}
	frame := make([]byte, header)
	if err := c.in.readFull(frame); err != nil {
		return nil, err
	}
	h, err := ParseHeader(frame)
	if err != nil {
		return nil, c.in.skip(body)
	}
	// The header is in memory twice: in the frame, and in the strings of h.
	m := &Message{Header: h, Size: 2*header + body, body: header}
	if m.Refused = admit(m); m.Refused != nil {
		m.Size, m.body = header, 0
		return m, c.in.skip(body)
	}
	m.frame = append(frame, make([]byte, body)...)
	return m, c.in.readFull(m.frame[header:])
}

// reason returns the error of Interrupt instead of errors that follow from it.
func (c *Conn) reason(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil && c.err != nil:
		return c.err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ErrBusClosed
	}
	return err
}

// Write writes b and returns how many bytes the socket took. It fails if the bus takes nothing at all
// for timeout, and with [Conn.Err].
func (c *Conn) Write(b []byte, timeout time.Duration) (int, error) {
	written := 0
	for written < len(b) {
		if err := c.setWriteDeadline(timeout); err != nil {
			return written, err
		}
		n, err := c.sock.Write(b[written:])
		written += n
		switch {
		case err == nil, errors.Is(err, os.ErrDeadlineExceeded) && n > 0:
		case errors.Is(err, os.ErrDeadlineExceeded) && c.Err() == nil:
			return written, fmt.Errorf("the bus took nothing for %v", timeout)
		default:
			return written, c.reason(err)
		}
	}
	return written, nil
}

// setWriteDeadline sets the deadline of the next write, unless Interrupt has set one.
func (c *Conn) setWriteDeadline(timeout time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	return c.sock.SetWriteDeadline(time.Now().Add(timeout))
}

// Interrupt makes all current and further calls of Read and Write fail with why. Only the first call
// of Interrupt counts.
func (c *Conn) Interrupt(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = why
	_ = c.sock.SetDeadline(time.Unix(1, 0))
	close(c.done)
}

// Done returns a channel that is closed when the connection is interrupted, see Err.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err returns the argument of [Conn.Interrupt], nil before that.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// SetWriteBuffer sets the size of the kernel's buffer for writes, in bytes. It ignores errors.
func (c *Conn) SetWriteBuffer(bytes int) {
	if sock, ok := c.sock.(*net.UnixConn); ok {
		_ = sock.SetWriteBuffer(bytes)
	}
}

// CloseWrite ends the writing. Read to the end before [Conn.Close], because closing a unix socket with
// unread data discards the data that the bus has not read yet.
func (c *Conn) CloseWrite() error {
	if sock, ok := c.sock.(interface{ CloseWrite() error }); ok {
		return sock.CloseWrite()
	}
	return errors.New("dbus: this socket cannot be closed one way")
}

// Close closes the socket. No other method may be running.
func (c *Conn) Close() error { return c.sock.Close() }
