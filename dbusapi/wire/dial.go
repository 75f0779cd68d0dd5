package wire

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Names of the bus itself.
const (
	BusName      = "org.freedesktop.DBus"
	BusPath      = "/org/freedesktop/DBus"
	BusInterface = BusName
)

const (
	dialTimeout = 5 * time.Second // for connecting, authentication and Hello together
	maxLine     = 4096            // bytes of a line during authentication
)

// ErrTurnedAway says that the bus closed the connection at once. dbus-daemon does that with users that
// its configuration does not admit.
var ErrTurnedAway = errors.New("the bus closed the connection at once")

// Dial connects to a bus, authenticates as the user of this process, and calls Hello. It takes five
// seconds at most. Only unix sockets are supported.
func Dial(ctx context.Context, address string) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	sock, err := DialSocket(ctx, address)
	if err != nil {
		return nil, err
	}
	c := NewConn(sock)
	stop := context.AfterFunc(ctx, func() { c.Interrupt(ctx.Err()) })
	err = c.begin()
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err == nil {
		return c, nil
	}
	_ = c.Close()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return nil, DialError(address, err)
}

// DialError wraps an error of connecting to a bus.
func DialError(address string, err error) error {
	if errors.Is(err, ErrBusClosed) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		err = ErrTurnedAway
	}
	return fmt.Errorf("bus %s: %w", address, err)
}

func (c *Conn) begin() error {
	if err := c.authenticate(); err != nil {
		return c.reason(fmt.Errorf("authentication: %w", err))
	}
	return c.hello()
}

// authenticate uses the mechanism EXTERNAL, which every bus on Linux supports: the kernel tells the
// bus the user of this process.
func (c *Conn) authenticate() error {
	uid := hex.EncodeToString([]byte(strconv.Itoa(os.Geteuid())))
	if _, err := c.Write([]byte("\x00AUTH EXTERNAL "+uid+"\r\n"), dialTimeout); err != nil {
		return err
	}
	line, err := c.readLine()
	if err != nil {
		return err
	}
	if !strings.HasPrefix(line, "OK ") {
		return fmt.Errorf("the bus answers %.80q", line)
	}
	_, err = c.Write([]byte("BEGIN\r\n"), dialTimeout)
	return err
}

func (c *Conn) readLine() (string, error) {
	var line []byte
	for len(line) < maxLine {
		var one [1]byte
		if err := c.in.readFull(one[:]); err != nil {
			return "", err
		}
		if one[0] == '\n' {
			return strings.TrimSuffix(string(line), "\r"), nil
		}
		line = append(line, one[0])
	}
	return "", fmt.Errorf("the bus answers with more than %d bytes", maxLine)
}

// hello registers with the bus, which replies with the unique name. It sends no message before that.
func (c *Conn) hello() error {
	e := NewEncoder(nil)
	h := BusCall("Hello", "")
	h.Serial = c.NextSerial()
	e.Message(h, nil)
	if _, err := c.Write(e.Bytes, dialTimeout); err != nil {
		return err
	}
	m, err := c.Read(func(*Message) error { return nil })
	if err != nil {
		return err
	}
	d := m.Decoder()
	text := d.String()
	switch {
	case m.Type == TypeError:
		return fmt.Errorf("hello: %w", &Error{Name: m.ErrorName, Message: text})
	case m.Type != TypeReply || m.ReplySerial != h.Serial || d.Finish() != nil:
		return errors.New("hello: the bus sent something else before its answer")
	}
	c.name = strings.Clone(text)
	return nil
}

// BusCall returns the header of a call of the bus itself, with arguments of type sig.
func BusCall(member, sig string) *Header {
	return &Header{
		Type: TypeCall, Destination: BusName, Path: BusPath, Interface: BusInterface, Member: member, Signature: sig,
	}
}

// DialSocket connects to the first reachable socket of an address, which may list
// several, separated by semicolons.
func DialSocket(ctx context.Context, address string) (net.Conn, error) {
	var problems []error
	for one := range strings.SplitSeq(address, ";") {
		path, err := socketPath(one)
		if err == nil {
			var d net.Dialer
			var sock net.Conn
			if sock, err = d.DialContext(ctx, "unix", path); err == nil {
				return sock, nil
			}
		}
		problems = append(problems, err)
	}
	return nil, fmt.Errorf("connect to bus %s: %w", address, errors.Join(problems...))
}
