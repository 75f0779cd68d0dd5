package dbusapi

import (
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// call is one method call that is being handled.
type call struct {
	*message
	service *Service
	session *session
	due     due // what the events that it made are to bring
}

// reply sends the reply; body appends its arguments, which are of type sig.
func (c *call) reply(sig string, body func(e *wire.Encoder)) {
	if c.Flags&wire.FlagNoReply != 0 {
		return
	}
	h := &wire.Header{Type: wire.TypeReply, ReplySerial: c.Serial, Destination: c.Sender, Signature: sig}
	// A connection that is lost takes its callers with it, so there is nobody to
	// tell of an error here.
	_ = c.session.conn.sendFairly(h, c.due, body)
}

// fail sends an error reply.
func (c *call) fail(err error) {
	if c.Flags&wire.FlagNoReply == 0 {
		h, body := errorReply(c.message, toError(err))
		_ = c.session.conn.sendFairly(h, due{}, body)
	}
}

// errorReply makes the arguments of send for an error reply to m.
func errorReply(m *message, err *Error) (*wire.Header, func(e *wire.Encoder)) {
	h := &wire.Header{
		Type: wire.TypeError, ErrorName: err.Name, ReplySerial: m.Serial, Destination: m.Sender, Signature: "s",
	}
	return h, func(e *wire.Encoder) { e.String(err.Message) }
}

// method is one method of an interface.
type method struct {
	in, out string // signatures
	handle  func(*call) error
}

// methods returns the methods that are served, by interface and member.
func methods() map[string]map[string]method {
	return map[string]map[string]method{
		Interface: {
			"Report":         {"sa{sv}", "t", (*call).report},
			"ReportBatch":    {"a(sa{sv})", "at", (*call).reportBatch},
			"WaitEvents":     {"sa{sv}uu", "sa(" + wire.EventType + ")", (*call).waitEvents},
			"ListInterfaces": {"a{sv}", "sa" + interfaceType, (*call).listInterfaces},
			"ListContainers": {"a{sv}", "sa" + containerType, (*call).listContainers},
		},
		"org.freedesktop.DBus.Properties": {
			"Get":    {"ss", "v", (*call).getProperty},
			"GetAll": {"s", "a{sv}", (*call).getAllProperties},
			"Set":    {"ssv", "", (*call).setProperty},
		},
		"org.freedesktop.DBus.Introspectable": {"Introspect": {"", "s", (*call).introspect}},
		"org.freedesktop.DBus.Peer": {
			"Ping":         {"", "", (*call).ping},
			"GetMachineId": {"", "s", (*call).machineID},
		},
	}
}

// find returns the method that a call is for. The interface may be left out.
func (s *Service) find(m *message) (method, error) {
	known, ok := s.methods[m.Interface]
	if m.Interface == "" {
		for _, members := range s.methods {
			if _, has := members[m.Member]; has {
				known, ok = members, true
			}
		}
	}
	found, has := known[m.Member]
	switch {
	case !ok && m.Interface != "":
		return method{}, errorf(errUnknownInterface, "there is no interface %.80q here", m.Interface)
	case !has:
		return method{}, errorf(errUnknownMethod, "there is no method %.80q of interface %.80q", m.Member, m.Interface)
	case m.Path != Path && m.Interface != "org.freedesktop.DBus.Introspectable" && m.Interface != "org.freedesktop.DBus.Peer":
		return method{}, errorf(errUnknownObject, "there is no object %.80q, the service is at %s", m.Path, Path)
	case m.tooBig:
		return method{}, &hub.TooLargeError{What: "bytes of one call", Got: m.BodySize, Limit: maxCallBody}
	case m.Signature != found.in:
		return method{}, errorf(errInvalidArgs, "%s takes arguments of type %q, got %.80q", m.Member, found.in, m.Signature)
	}
	return found, nil
}

// isReport reports whether a call is meant for one of the reporting methods.
func (m *message) isReport() bool {
	return (m.Interface == Interface || m.Interface == "") && (m.Member == "Report" || m.Member == "ReportBatch")
}

// args turns what was found wrong with the arguments of a call into an error for
// the caller: err if it is set, else what the decoder has to say.
func args(d *wire.Decoder, err error) error {
	if err == nil {
		err = d.Finish()
	}
	if err == nil {
		return nil
	}
	if known := toError(err); known.Name != errFailed {
		return known
	}
	return errorf(errInvalidArgs, "malformed arguments: %v", err)
}

// report handles Report.
func (c *call) report() error {
	who, err := c.caller()
	if err != nil {
		return err
	}
	d := c.decoder()
	event, err := readEvent(d, who.source)
	if err = args(d, err); err != nil {
		return c.reportRefused(err)
	}
	seq, err := c.service.hub.Commit(hub.Batch{Events: []*hub.Event{event}})
	if err != nil {
		return err
	}
	c.due = dueFor(1, c.BodySize)
	c.reply("t", func(e *wire.Encoder) { e.Uint64(seq) })
	return nil
}

// reportBatch handles ReportBatch: all or none.
func (c *call) reportBatch() error {
	if c.BodySize > MaxBatchBytes {
		return c.reportRefused(&hub.TooLargeError{What: "bytes of one batch", Got: c.BodySize, Limit: MaxBatchBytes})
	}
	who, err := c.caller()
	if err != nil {
		return err
	}
	var events []*hub.Event
	d := c.decoder()
	d.Structs(func() bool {
		if len(events) == MaxEvents {
			err = &hub.TooLargeError{What: "events in one batch", Got: MaxEvents + 1, Limit: MaxEvents}
			return false
		}
		var event *hub.Event
		if event, err = readEvent(d, who.source); err != nil {
			err = batchError(len(events), err)
			return false
		}
		events = append(events, event)
		return true
	})
	if err = args(d, err); err != nil {
		return c.reportRefused(err)
	}
	first, err := c.service.hub.Commit(hub.Batch{Events: events})
	if err != nil {
		return err
	}
	c.due = dueFor(len(events), c.BodySize)
	c.reply("at", func(e *wire.Encoder) {
		e.Array('t', func() {
			for i := range events {
				e.Uint64(first + uint64(i))
			}
		})
	})
	return nil
}

// batchError says which event of a batch is at fault.
func batchError(index int, err error) error {
	known := toError(err)
	return errorf(known.Name, "event %d of the batch, counted from 0: %s", index, known.Message)
}

// readEvent reads the type and the options of one event and makes it.
func readEvent(d *wire.Decoder, source string) (*hub.Event, error) {
	typ := d.String()
	start := d.Offset()
	options := d.Options(typ)
	if err := d.Err(); err != nil {
		return nil, err
	}
	size := d.Offset() - start
	event, err := hub.NewEvent(typ, options, source)
	if err != nil {
		return nil, err
	}
	// Pool, id and action stand in the event once more, beside its options.
	size += len(typ) + len(event.Action) + len(event.Pool) + len(event.ID) + len(source) + eventOverhead
	if size > wire.MaxEvent/redactedGrowth {
		size = len(wire.EncodeEvent(event))
	}
	if size > wire.MaxEvent {
		return nil, &hub.TooLargeError{What: "bytes of one event", Got: size, Limit: wire.MaxEvent}
	}
	return event, nil
}

// redactedGrowth is more than what an event can grow by as its secrets are replaced:
// an empty array of strings takes 4 bytes, and 19 with the word in it.
const redactedGrowth = 8

// eventOverhead is at least what the lengths, ends and padding of the strings of an
// event, its number and its time take, in bytes.
const eventOverhead = 5*(4+1+3) + 2*8 + 8

// reportRefused counts refused reports and passes the error on.
func (c *call) reportRefused(err error) error {
	c.service.hub.Count(hub.CounterRefused, 1)
	return err
}

// caller returns who calls.
func (c *call) caller() (*caller, error) {
	return c.session.callers.get(c.session.ctx, c.Sender)
}

// waitEvents handles WaitEvents: it answers at once if it can, else a goroutine
// waits and answers.
func (c *call) waitEvents() error {
	if c.BodySize > maxWaitBytes {
		return &hub.TooLargeError{What: "bytes of one WaitEvents call", Got: c.BodySize, Limit: maxWaitBytes}
	}
	d := c.decoder()
	cursor, filter, limit, timeout := d.String(), d.Filter(), d.Uint32(), d.Uint32()
	if err := args(d, nil); err != nil {
		return err
	}
	if limit == 0 || limit > MaxEvents {
		limit = MaxEvents
	}
	w := &wait{call: c, limit: int(limit)}
	n, err := w.begin(filter, cursor)
	switch {
	case err != nil:
		return err
	case n > 0 || timeout == 0:
		w.answer()
		return nil
	}
	who, err := c.caller()
	if err != nil {
		return err
	}
	return c.session.waits.start(w, who, min(timeout, MaxTimeout))
}
