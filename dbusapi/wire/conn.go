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

// MaxHeader is the largest message header that is read, in bytes. A message with a larger
// one is passed over without an answer, because its sender stands in the header.
const MaxHeader = 1 << 20

var (
	// ErrClosed is why a connection ended that its owner closed.
	ErrClosed = errors.New("dbus: the connection is closed")
	// ErrBusClosed says that the bus ended the connection.
	ErrBusClosed = errors.New("the bus closed the connection")
)

// Message is a message that was read from a bus.
type Message struct {
	*Header
	// Size is how many bytes of memory the message holds.
	Size int
	// Refused is why the body was not read; nil if it was.
	Refused error

	frame []byte // the whole message; nil if Refused
	body  int    // where the body begins
}

// Decoder returns a decoder for the body. Its strings share memory with the message: who
// keeps one of them copies it.
func (m *Message) Decoder() *Decoder {
	return &Decoder{body: alias(m.frame[m.body:]), big: m.BigEndian}
}

// Frame returns the bytes of a message whose body was read.
func (m *Message) Frame() []byte { return m.frame }

// Clear wipes the body, which may hold secrets. The message, and strings that were decoded
// from it, must not be used any more.
func (m *Message) Clear() {
	clear(m.frame[m.body:])
	m.frame, m.body = nil, 0
}

// Conn is one connection to a bus: a stream of whole messages each way. One goroutine at a
// time reads, one writes. No file descriptors are ever negotiated, so that the bus lets
// nobody send us any.
type Conn struct {
	sock   net.Conn
	in     *reader
	name   string
	serial atomic.Uint32

	done chan struct{} // closed by Interrupt
	mu   sync.Mutex
	err  error // why Interrupt was called; nil until then
}

// NewConn returns a connection over a socket on which nothing was said yet. Most callers
// want [Dial].
func NewConn(sock net.Conn) *Conn {
	return &Conn{sock: sock, in: newReader(sock), done: make(chan struct{})}
}

// Name returns our unique name on the bus, once [Dial] or Hello returned it.
func (c *Conn) Name() string { return c.name }

// NextSerial returns the serial of the next message; 0 is not a valid one.
func (c *Conn) NextSerial() uint32 {
	for {
		if n := c.serial.Add(1); n != 0 {
			return n
		}
	}
}

// Raw returns the stream of bytes before the first message.
func (c *Conn) Raw() io.Reader { return c.in }

// Read reads the next message. It asks admit, after the header and before any memory for
// the body is taken, whether the body is wanted; an error of admit becomes Refused.
// Messages whose header is larger than [MaxHeader] or malformed are passed over. The error
// is that of [Conn.Err], of the socket, or [ErrHeader] where the stream cannot be followed any
// further.
func (c *Conn) Read(admit func(*Message) error) (*Message, error) {
	for {
		m, err := c.read(admit)
		if m != nil || err != nil {
			return m, c.reason(err)
		}
	}
}

// read returns nil for a message that is passed over.
func (c *Conn) read(admit func(*Message) error) (*Message, error) {
	fixed, err := c.in.peek(FixedSize)
	if err != nil {
		return nil, err
	}
	header, body, err := Sizes(fixed)
	if err != nil {
		return nil, err
	}
	if header > MaxHeader {
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
	// The header is held twice: in the frame, and by the strings of h.
	m := &Message{Header: h, Size: 2*header + body, body: header}
	if m.Refused = admit(m); m.Refused != nil {
		m.Size, m.body = header, 0
		return m, c.in.skip(body)
	}
	m.frame = append(frame, make([]byte, body)...)
	return m, c.in.readFull(m.frame[header:])
}

// reason prefers that we interrupted the connection over what followed from it.
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

// Write writes b and returns how much of it the socket took. It fails once the bus has
// taken nothing at all for timeout, and with [Conn.Err].
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

// setWriteDeadline must not take back the deadline that Interrupt sets.
func (c *Conn) setWriteDeadline(timeout time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	return c.sock.SetWriteDeadline(time.Now().Add(timeout))
}

// Interrupt ends Read and Write, also those under way, for good. They fail with why; the first
// reason counts.
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

// Done is closed once the connection was interrupted, see Err.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err returns why the connection was interrupted, nil if it was not.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// SetWriteBuffer sets how many bytes the kernel keeps for the bus. That it cannot be set is no
// harm.
func (c *Conn) SetWriteBuffer(bytes int) {
	if sock, ok := c.sock.(*net.UnixConn); ok {
		_ = sock.SetWriteBuffer(bytes)
	}
}

// CloseWrite says that nothing more will be written. Reading goes on: a unix socket that is
// closed while there is something to read loses what the bus has not read yet.
func (c *Conn) CloseWrite() error {
	if sock, ok := c.sock.(interface{ CloseWrite() error }); ok {
		return sock.CloseWrite()
	}
	return errors.New("dbus: this socket cannot be closed one way")
}

// Close closes the socket. Nothing may be reading or writing.
func (c *Conn) Close() error { return c.sock.Close() }
