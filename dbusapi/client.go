package dbusapi

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// clientMaxBody is the largest reply that a client reads, in bytes. It is what the
// system bus lets through by default.
const clientMaxBody = 32 << 20

// clientCalls is how many calls of a client are under way at a time, those of WaitEvents
// aside: they may take long, and no other call is to wait for them. Of these there are as
// many as the service lets a connection have, [MaxWaits]. Together they are as many as a
// dbus-daemon lets it have, see busLimit.
const clientCalls = busLimit - MaxWaits

// Client is a connection to the bus through which org.osctl.Eventd is called. It is
// safe for concurrent use: of many calls at a time some wait until others are answered, as
// the bus refuses too many. When the bus goes away it is of no more use, see Done. A call
// whose context is done already is not made. One whose context is done later is given up
// here; with the service, and so with the bus, which counts it, it stays until it is
// answered.
//
// Errors that the service or the bus replied with are [Error] values.
type Client struct {
	conn  *conn
	slots chan struct{} // one for each call that may be under way
	pulls chan struct{} // the same for WaitEvents
	flags byte          // of calls
}

// Dial connects to the bus at an address, see [ResolveAddress]. Whether the service
// is there shows with the first call.
func Dial(ctx context.Context, address string) (*Client, error) {
	c, err := dialConn(ctx, address, connConfig{maxBody: clientMaxBody, handle: refuse})
	if err != nil {
		return nil, err
	}
	return &Client{conn: c, slots: make(chan struct{}, clientCalls), pulls: make(chan struct{}, MaxWaits)}, nil
}

// Done is closed when the connection to the bus is lost.
func (c *Client) Done() <-chan struct{} { return c.conn.done }

// Close ends the connection. Calls under way return an error.
func (c *Client) Close() { c.conn.close() }

// asItIs returns a client of the same connection whose calls do not start the service.
func (c *Client) asItIs() *Client {
	return &Client{conn: c.conn, slots: c.slots, pulls: c.pulls, flags: wire.FlagNoAutoStart}
}

// call makes one call of the service and returns a decoder for the reply, whose
// body must be of type out.
func (c *Client) call(ctx context.Context, iface, member, in, out string, body func(e *wire.Encoder)) (*wire.Decoder, error) {
	m, err := c.send(ctx, &wire.Header{
		Flags: c.flags, Destination: Name, Path: Path, Interface: iface, Member: member, Signature: in,
	}, body)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", member, err)
	}
	d := m.decoder()
	switch {
	case m.Type == wire.TypeError:
		e := &Error{Name: m.ErrorName}
		if len(m.Signature) > 0 && m.Signature[0] == 's' {
			e.Message = d.String()
		}
		return nil, fmt.Errorf("call %s: %w", member, e)
	case m.tooBig:
		return nil, fmt.Errorf("call %s: the reply has %d bytes, more than %d", member, m.BodySize, clientMaxBody)
	case m.Signature != out:
		return nil, fmt.Errorf("call %s: the reply is of type %q, expected %q", member, m.Signature, out)
	}
	return d, nil
}

// send makes a call once it has a slot.
func (c *Client) send(ctx context.Context, h *wire.Header, body func(e *wire.Encoder)) (*message, error) {
	slots := c.slots
	if h.Member == "WaitEvents" {
		slots = c.pulls
	}
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.conn.done:
		return nil, c.conn.reason(errOutboxClosed)
	}
	return c.conn.call(ctx, h, body)
}

// check keeps from the bus what it would end the connection for: text that is not UTF-8.
func (r *Report) check() error {
	if !utf8.ValidString(r.Type) || strings.Contains(r.Type, "\x00") {
		return &hub.InvalidEventError{Type: r.Type, Got: "text that is not UTF-8, or with NUL", Expected: "a name"}
	}
	return r.Options.Check(r.Type)
}

// Report reports one event and returns its number. Options that cannot be sent are
// refused with a [hub.InvalidEventError] before anything is.
func (c *Client) Report(ctx context.Context, typ string, options hub.Options) (uint64, error) {
	if err := (&Report{Type: typ, Options: options}).check(); err != nil {
		return 0, err
	}
	d, err := c.call(ctx, Interface, "Report", "sa{sv}", "t", func(e *wire.Encoder) {
		e.String(typ)
		e.Options(options)
	})
	if err != nil {
		return 0, err
	}
	seq := d.Uint64()
	return seq, d.Finish()
}

// Report is an event to be reported.
type Report struct {
	Type    string
	Options hub.Options
}

// ReportBatch reports at most [MaxEvents] events, all or none, and returns the
// number of the first; the others follow consecutively.
func (c *Client) ReportBatch(ctx context.Context, reports []Report) (uint64, error) {
	for i := range reports {
		if err := reports[i].check(); err != nil {
			return 0, fmt.Errorf("event %d of the batch, counted from 0: %w", i, err)
		}
	}
	d, err := c.call(ctx, Interface, "ReportBatch", "a(sa{sv})", "at", func(e *wire.Encoder) {
		e.Array('(', func() {
			for i := range reports {
				e.Align(8)
				e.String(reports[i].Type)
				e.Options(reports[i].Options)
			}
		})
	})
	if err != nil {
		return 0, err
	}
	v := d.Value("at", 1)
	if err := d.Finish(); err != nil || len(v.Items()) == 0 {
		return 0, err
	}
	return v.Items()[0].Uint(), nil
}

// WaitEvents returns the events after cursor that pass the filter, at most limit
// (0 for as many as the service gives at a time), and the cursor to go on from. If
// there is none yet it waits up to timeout, in steps of a millisecond, at most a
// minute; 0 does not wait. The cursor is "" for from now on, [hub.CursorOldest], or
// what an earlier call returned. At most [MaxWaits] such calls of a client are under way;
// more wait until one of them is answered.
//
// The strings of all the events share memory: who keeps a few of them for long
// better copies these.
func (c *Client) WaitEvents(ctx context.Context, cursor string, filter hub.Filter, limit uint32, timeout time.Duration) (string, []*hub.Event, error) {
	msec := min(max(timeout.Milliseconds(), 0), MaxTimeout)
	d, err := c.call(ctx, Interface, "WaitEvents", "sa{sv}uu", "sa("+wire.EventType+")", func(e *wire.Encoder) {
		e.String(cursor)
		e.Filter(filter)
		e.Uint32(limit)
		e.Uint32(uint32(msec)) //nolint:gosec // at most MaxTimeout
	})
	if err != nil {
		return "", nil, err
	}
	next, events := d.String(), d.Events()
	return next, events, d.Finish()
}

// Interfaces lists the veths on the host, and the cursor that belongs to the list.
// The filter may name pool, id, name and veth.
func (c *Client) Interfaces(ctx context.Context, filter hub.Filter) ([]hub.Interface, string, error) {
	d, err := c.call(ctx, Interface, "ListInterfaces", "a{sv}", "sa"+interfaceType, func(e *wire.Encoder) { e.Filter(filter) })
	if err != nil {
		return nil, "", err
	}
	cursor := d.String()
	var rows []hub.Interface
	d.Structs(func() bool {
		rows = append(rows, hub.Interface{
			Ifindex: d.Uint32(), Veth: d.String(), Name: d.String(), Pool: d.String(), ID: d.String(),
			State: hub.LinkState(d.String()),
		})
		d.Value("a{sv}", maxReplyNesting)
		return d.Err() == nil
	})
	return rows, cursor, d.Finish()
}

// Containers lists the last reported state of each container, and the cursor that
// belongs to the list. The filter may name pool and id.
func (c *Client) Containers(ctx context.Context, filter hub.Filter) ([]hub.Container, string, error) {
	d, err := c.call(ctx, Interface, "ListContainers", "a{sv}", "sa"+containerType, func(e *wire.Encoder) { e.Filter(filter) })
	if err != nil {
		return nil, "", err
	}
	cursor := d.String()
	var rows []hub.Container
	d.Structs(func() bool {
		rows = append(rows, hub.Container{
			Pool: d.String(), ID: d.String(), State: d.String(),
			Time: time.UnixMicro(int64(d.Uint64())), //nolint:gosec // a time of this era
		})
		d.Value("a{sv}", maxReplyNesting)
		return d.Err() == nil
	})
	return rows, cursor, d.Finish()
}

// maxReplyNesting is how deep a reply of the service may nest.
const maxReplyNesting = 32

// Properties returns the properties of the service. It asks how the service is, so it does
// not start one that does not run.
func (c *Client) Properties(ctx context.Context) (hub.Options, error) {
	d, err := c.asItIs().call(ctx, "org.freedesktop.DBus.Properties", "GetAll", "s", "a{sv}", func(e *wire.Encoder) { e.String(Interface) })
	if err != nil {
		return nil, err
	}
	v := d.Value("a{sv}", maxReplyNesting)
	if err := d.Finish(); err != nil {
		return nil, err
	}
	var properties hub.Options
	for items := v.Items(); len(items) >= 2; items = items[2:] {
		properties = append(properties, hub.Option{Name: items[0].Text(), Value: items[1].Unwrap()})
	}
	return properties, nil
}
