package dbusapi

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
)

// rawConn is a cheap connection for benchmarks: it counts messages, and does not decode them.
type rawConn struct {
	*wire.Conn
	typ  byte // of the counted messages
	last atomic.Pointer[wire.Message]

	n, target atomic.Int64
	wake      chan struct{}
}

// dialRaw returns a connection that counts the messages of a type.
func dialRaw(tb testing.TB, bus *bustest.Bus, typ byte) *rawConn {
	tb.Helper()
	conn, err := wire.Dial(apitest.Bounded(tb), bus.Address())
	if err != nil {
		tb.Fatal(err)
	}
	c := &rawConn{Conn: conn, typ: typ, wake: make(chan struct{}, 1)}
	var reading sync.WaitGroup
	reading.Go(c.read)
	tb.Cleanup(func() {
		conn.Interrupt(wire.ErrClosed)
		reading.Wait()
		_ = conn.Close()
	})
	return c
}

func (c *rawConn) read() {
	for {
		m, err := c.Read(func(*wire.Message) error { return nil })
		if err != nil {
			return
		}
		c.last.Store(m)
		if m.Type == c.typ && c.n.Add(1) == c.target.Load() {
			c.wake <- struct{}{}
		}
	}
}

// wait waits until n messages have arrived.
func (c *rawConn) wait(tb testing.TB, n int64) {
	c.target.Store(n)
	if c.n.Load() >= n {
		select {
		case <-c.wake:
		default:
		}
		return
	}
	select {
	case <-c.wake:
	case <-time.After(time.Minute):
		tb.Fatalf("only %d of %d messages arrived", c.n.Load(), n)
	}
}

// send sends a message and returns its serial.
func (c *rawConn) send(tb testing.TB, h *wire.Header, body func(e *wire.Encoder)) uint32 {
	h.Serial = c.NextSerial()
	e := wire.NewEncoder(nil)
	e.Message(h, body)
	if _, err := c.Write(e.Bytes, time.Minute); err != nil {
		tb.Fatal(err)
	}
	return h.Serial
}

// callBus calls the bus and waits for the reply. No other message may arrive.
func (c *rawConn) callBus(tb testing.TB, member, sig string, body func(e *wire.Encoder)) *wire.Message {
	tb.Helper()
	serial := c.send(tb, wire.BusCall(member, sig), body)
	var m *wire.Message
	apitest.Eventually(tb, member+" is answered", func() bool {
		m = c.last.Load()
		return m != nil && m.ReplySerial == serial
	})
	return m
}

// match subscribes to the signals of the service.
func (c *rawConn) match(tb testing.TB) {
	tb.Helper()
	c.callBus(tb, "AddMatch", "s", func(e *wire.Encoder) { e.String("type='signal',interface='" + wire.Interface + "'") })
}
