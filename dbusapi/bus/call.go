package bus

import (
	"errors"

	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// Call is a method call for a [Handler].
type Call struct {
	*wire.Message
	Peer *Peer // the caller

	bus  *Bus
	conn *connection
}

// Reply sends the reply; body appends its arguments of type sig.
func (c *Call) Reply(sig string, body func(e *wire.Encoder)) {
	c.bus.reply(c.Message, &wire.Header{Type: wire.TypeReply, Signature: sig}, body)
}

// Fail sends an error reply.
func (c *Call) Fail(err *wire.Error) { c.bus.replyError(c.Message, err) }

// Hold keeps the call open after Handle returns; the connection gets no further turns. Call resume exactly
// once; it never blocks and may come before Handle returns. A worker then runs finish, and the call ends.
// Until then the call counts against its user's quota, and its arguments stay.
func (c *Call) Hold() (resume func(finish func())) {
	return c.bus.queue.hold(c.conn)
}

// reply queues the reply to m, unless its sender wants none. It ignores the error of the outbox,
// because without the connection the caller cannot get an answer.
func (b *Bus) reply(m *wire.Message, h *wire.Header, body func(e *wire.Encoder)) {
	if m.Flags&wire.FlagNoReply == 0 {
		h.ReplySerial, h.Destination, h.Serial = m.Serial, m.Sender, b.conn.NextSerial()
		_ = b.out.addReply(h, body)
	}
}

func (b *Bus) replyError(m *wire.Message, err *wire.Error) {
	b.reply(m, &wire.Header{Type: wire.TypeError, ErrorName: err.Name, Signature: "s"},
		func(e *wire.Encoder) { e.String(err.Message) })
}

// handle runs the handler for a message.
func (b *Bus) handle(conn *connection, m *wire.Message) {
	b.config.Handler.Handle(&Call{Message: m, Peer: conn.peer, bus: b, conn: conn})
}

// refuse answers a refused call with an error, and wipes it.
func (b *Bus) refuse(m *wire.Message, err error) {
	defer m.Clear()
	b.replyError(m, b.config.Handler.Refuse(m, err))
	if m.Flags&wire.FlagNoReply != 0 && errors.Is(err, hub.ErrClosed) {
		b.mu.Lock()
		b.lateCalls++
		b.mu.Unlock()
	}
}
