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
	// dialTimeout bounds connecting, authentication and Hello together.
	dialTimeout = 5 * time.Second

	// maxLine is the longest line that the bus may say while we authenticate, in bytes.
	maxLine = 4096
)

// ErrTurnedAway says that the bus ended the connection at once, as dbus-daemon does with
// users whom its configuration does not let in.
var ErrTurnedAway = errors.New("the bus closed the connection at once")

// Dial connects to a bus, authenticates as the user of this process, and says Hello. It
// takes 5 s at most.
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

// DialError wraps the reason why a connection to a bus could not be made.
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

// authenticate speaks the part of the D-Bus authentication protocol that every bus on
// Linux knows: EXTERNAL, by which the kernel says who we are.
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

// hello registers with the bus, which gives us our unique name. Nothing else comes before
// the answer.
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

// BusCall returns the header of a call of the bus itself, whose arguments are of type sig.
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
