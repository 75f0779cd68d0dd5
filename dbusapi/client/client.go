package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// Limits of the pending calls of a client: maxWaits of WaitEvents, as many as the service allows, and
// maxCalls of all other calls. They are separate, because WaitEvents takes long. Together they are the
// 128 pending calls that dbus-daemon allows a connection of the system bus
// (max_replies_per_connection).
const (
	maxCalls = 128 - maxWaits
	maxWaits = wire.MaxWaits
)

// Client calls org.osctl.Eventd over one connection to a bus. It is safe for concurrent use; calls
// beyond the limits of the bus wait until others are answered. Once the bus is lost, all calls fail:
// see Done, close the Client, and dial again.
//
// A call whose context is done already is not sent. A call whose context ends later stays pending at
// the service and the bus until it is answered.
//
// Errors in replies of the service or the bus are [Error] values.
type Client struct {
	conn  *conn
	calls chan struct{} // slots of pending calls
	waits chan struct{} // slots of pending WaitEvents calls
	flags byte          // of calls
}

// Dial connects to the bus at an address, see [ResolveAddress]. It takes 5 s at most. It does not
// check that the service runs; the first call does. The caller closes the Client.
func Dial(ctx context.Context, address string) (*Client, error) {
	w, err := wire.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	return newClient(w), nil
}

// newClient returns a client that owns the connection.
func newClient(w *wire.Conn) *Client {
	return &Client{conn: startConn(w), calls: make(chan struct{}, maxCalls), waits: make(chan struct{}, maxWaits)}
}

// Name returns the unique name of the client on the bus.
func (c *Client) Name() string { return c.conn.wire.Name() }

// Done returns a channel that is closed when the connection to the bus is lost.
func (c *Client) Done() <-chan struct{} { return c.conn.wire.Done() }

// Close ends the connection. Pending calls fail. Close may be called more than once.
func (c *Client) Close() { c.conn.close() }

// withoutStart returns a client of the same connection whose calls do not start the service.
func (c *Client) withoutStart() *Client {
	return &Client{conn: c.conn, calls: c.calls, waits: c.waits, flags: wire.FlagNoAutoStart}
}

// call calls the service and returns a decoder for the reply, whose body must be
// of type out.
func (c *Client) call(ctx context.Context, iface, member, in, out string, body func(e *wire.Encoder)) (*wire.Decoder, error) {
	m, err := c.send(ctx, &wire.Header{
		Flags: c.flags, Destination: wire.Name, Path: wire.Path, Interface: iface, Member: member, Signature: in,
	}, body)
	if err != nil {
		return nil, &callError{member, err}
	}
	if errors.Is(m.Refused, errTooLarge) {
		return nil, fmt.Errorf("call %s: the reply has %d bytes, more than %d", member, m.BodySize, maxReply)
	}
	d := m.Decoder()
	switch {
	case m.Type == wire.TypeError:
		e := &Error{Name: m.ErrorName}
		if len(m.Signature) > 0 && m.Signature[0] == 's' {
			e.Message = d.String()
		}
		return nil, &callError{member, e}
	case m.Signature != out:
		return nil, fmt.Errorf("call %s: the reply is of type %q, expected %q", member, m.Signature, out)
	}
	return d, nil
}

// send waits for a slot and makes a call.
func (c *Client) send(ctx context.Context, h *wire.Header, body func(e *wire.Encoder)) (*wire.Message, error) {
	slots := c.calls
	if h.Member == "WaitEvents" {
		slots = c.waits
	}
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.conn.wire.Done():
		return nil, c.conn.wire.Err()
	}
	return c.conn.call(ctx, h, body)
}

// check refuses text that is not UTF-8, because a bus disconnects its sender.
func (r *Report) check() error {
	if !utf8.ValidString(r.Type) || strings.Contains(r.Type, "\x00") {
		return &hub.InvalidEventError{Type: r.Type, Got: "text that is not UTF-8, or with NUL", Expected: "a name"}
	}
	return r.Options.Check(r.Type)
}

// Report reports one event and returns its number. Options that cannot be sent are refused with a
// [hub.InvalidEventError] before the call. If ctx ends first, or the service goes away, the event may
// have been reported or not.
func (c *Client) Report(ctx context.Context, typ string, options hub.Options) (uint64, error) {
	if err := (&Report{Type: typ, Options: options}).check(); err != nil {
		return 0, err
	}
	d, err := c.call(ctx, wire.Interface, "Report", "sa{sv}", "t", func(e *wire.Encoder) {
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

// ReportBatch reports at most [MaxEvents] events, all or none. It returns the number of the first, 0 if
// there is none; the others follow consecutively. If an event is invalid, the error is an
// [InvalidEventError].
func (c *Client) ReportBatch(ctx context.Context, reports []Report) (uint64, error) {
	for i := range reports {
		if err := reports[i].check(); err != nil {
			return 0, &InvalidEventError{Index: i, Err: err}
		}
	}
	d, err := c.call(ctx, wire.Interface, "ReportBatch", "a(sa{sv})", "at", func(e *wire.Encoder) {
		e.Array('(', func() {
			for i := range reports {
				e.Align(8)
				e.String(reports[i].Type)
				e.Options(reports[i].Options)
			}
		})
	})
	if err != nil {
		return 0, findIndex(err, len(reports))
	}
	seqs := d.Value("at", 1).Items()
	switch err := d.Finish(); {
	case err != nil:
		return 0, err
	case len(seqs) != len(reports):
		return 0, fmt.Errorf("call ReportBatch: the reply has %d numbers for %d events", len(seqs), len(reports))
	case len(seqs) == 0:
		return 0, nil
	}
	return seqs[0].Uint(), nil
}

// WaitEvents returns the events after cursor that pass the filter, at most limit
// (0 for the limit of the service), and the cursor to continue from. If there is
// none, it waits up to timeout, with a resolution of a millisecond, at most a
// minute; 0 does not wait. The cursor is "" for now, [hub.CursorOldest], or one
// from an earlier call. At most 64 such calls of a client are pending; further
// ones wait.
//
// The strings of all events share memory: clone (strings.Clone) those that you
// keep for long.
func (c *Client) WaitEvents(ctx context.Context, cursor string, filter hub.Filter, limit uint32, timeout time.Duration) (string, []*hub.Event, error) {
	msec := min(max(timeout.Milliseconds(), 0), wire.MaxTimeout)
	d, err := c.call(ctx, wire.Interface, "WaitEvents", "sa{sv}uu", "sa("+wire.EventType+")", func(e *wire.Encoder) {
		e.String(cursor)
		e.Filter(filter)
		e.Uint32(limit)
		e.Uint32(uint32(msec)) //nolint:gosec // at most wire.MaxTimeout
	})
	if err != nil {
		return "", nil, err
	}
	next, events := d.String(), d.Events()
	return next, events, d.Finish()
}

// Interfaces lists the veths on the host, and returns the cursor that belongs to the list. Since is the
// zero Time if it is not known; BoundBy and Announced are not set. The filter may have the keys pool,
// id, name, veth and ct_name.
func (c *Client) Interfaces(ctx context.Context, filter hub.Filter) ([]hub.Interface, string, error) {
	return list(ctx, c, "ListInterfaces", wire.InterfaceType, filter, func(d *wire.Decoder) hub.Interface {
		row := hub.Interface{
			Ifindex: d.Uint32(), Veth: d.String(), Name: d.String(), Pool: d.String(), ID: d.String(),
			State: hub.LinkState(d.String()),
		}
		more := d.Dict()
		row.ContainerName, row.Image = more.Text("name"), more.Text("image")
		if since, ok := more.Get("since"); ok {
			row.Since = time.UnixMicro(int64(since.Uint())) //nolint:gosec // a time of this era
		}
		return row
	})
}

// Containers lists the last state of each container, and returns the cursor that
// belongs to the list. The filter may have the keys pool, id and ct_name.
func (c *Client) Containers(ctx context.Context, filter hub.Filter) ([]hub.Container, string, error) {
	return list(ctx, c, "ListContainers", wire.ContainerType, filter, func(d *wire.Decoder) hub.Container {
		row := hub.Container{
			Pool: d.String(), ID: d.String(), State: d.String(),
			Time: time.UnixMicro(int64(d.Uint64())), //nolint:gosec // a time of this era
		}
		more := d.Dict()
		row.Source, row.Name, row.Image = more.Text("source"), more.Text("name"), more.Text("image")
		return row
	})
}

// list calls a method that returns a list; readRow reads a row.
func list[Row any](
	ctx context.Context, c *Client, member, rowType string, filter hub.Filter, readRow func(*wire.Decoder) Row,
) ([]Row, string, error) {
	d, err := c.call(ctx, wire.Interface, member, "a{sv}", "sa"+rowType, func(e *wire.Encoder) { e.Filter(filter) })
	if err != nil {
		return nil, "", err
	}
	cursor := d.String()
	var rows []Row
	d.Structs(func() bool {
		rows = append(rows, readRow(d))
		return true
	})
	return rows, cursor, d.Finish()
}

// Properties returns the properties of the service. It does not start the service, because it asks for
// its current state.
func (c *Client) Properties(ctx context.Context) (hub.Options, error) {
	d, err := c.withoutStart().call(ctx, "org.freedesktop.DBus.Properties", "GetAll", "s", "a{sv}", func(e *wire.Encoder) { e.String(wire.Interface) })
	if err != nil {
		return nil, err
	}
	properties := d.Dict()
	return properties, d.Finish()
}
