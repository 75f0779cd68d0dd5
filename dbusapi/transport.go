package dbusapi

import (
	"errors"
	"io"

	"github.com/osctl/eventd/dbusapi/wire"
)

// transport is the side of a conn that godbus sees.
type transport conn

// Read gives godbus what the bus answers it, and handles all other messages on
// the way. It is called by one goroutine of godbus, which thus is our reader.
func (t *transport) Read(p []byte) (int, error) {
	c := (*conn)(t)
	if !c.begun.Load() {
		return c.in.Read(p)
	}
	c.reading.Lock()
	defer c.reading.Unlock()
	for len(c.rest) == 0 {
		select {
		case <-c.done:
			return 0, c.reason(errOutboxClosed)
		default:
		}
		m, err := c.readFrame()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errBusClosed
			}
			c.fail(err)
			return 0, err
		}
		if m != nil {
			c.receive(m)
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// Write takes what godbus sends: lines during authentication, then whole messages,
// one a call.
func (t *transport) Write(p []byte) (int, error) {
	c := (*conn)(t)
	if string(p) == "BEGIN\r\n" {
		defer c.begun.Store(true)
	}
	err := c.out.add(func(e *wire.Encoder) { e.Bytes = append(e.Bytes, p...) })
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close ends the connection; conn.close closes the socket.
func (t *transport) Close() error {
	(*conn)(t).fail(errOutboxClosed)
	return nil
}

// serials gives godbus serials from the same source as our own messages.
type serials struct{ c *conn }

func (s serials) GetSerial() uint32 { return s.c.nextSerial() }

func (s serials) RetireSerial(uint32) {}
