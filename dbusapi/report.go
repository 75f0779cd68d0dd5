package dbusapi

import (
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// maxCallBody is the largest body of a call that is read, in bytes: that of the largest
// batch, and a little more, so that a batch that is somewhat too large gets its own error.
const maxCallBody = wire.MaxBatchBytes + 4096

// report handles Report.
func (c *call) report() error {
	source, err := c.source()
	if err != nil {
		return c.service.reportRefused(err)
	}
	d := c.Decoder()
	event, err := readEvent(d, source)
	if err = args(d, err); err != nil {
		return c.service.reportRefused(err)
	}
	c.commit([]*hub.Event{event}, func(first uint64) {
		c.Reply("t", func(e *wire.Encoder) { e.Uint64(first) })
	})
	return nil
}

// reportBatch handles ReportBatch: all or none.
func (c *call) reportBatch() error {
	events, err := c.readBatch()
	if err != nil {
		return c.service.reportRefused(err)
	}
	c.commit(events, func(first uint64) {
		c.Reply("at", func(e *wire.Encoder) {
			e.Array('t', func() {
				for i := range events {
					e.Uint64(first + uint64(i))
				}
			})
		})
	})
	return nil
}

func (c *call) readBatch() (events []*hub.Event, err error) {
	if c.BodySize > wire.MaxBatchBytes {
		return nil, &hub.TooLargeError{What: "bytes of one batch", Got: c.BodySize, Limit: wire.MaxBatchBytes}
	}
	source, err := c.source()
	if err != nil {
		return nil, err
	}
	d := c.Decoder()
	d.Structs(func() bool {
		if len(events) == wire.MaxEvents {
			err = &hub.TooLargeError{What: "events in one batch", Got: wire.MaxEvents + 1, Limit: wire.MaxEvents}
			return false
		}
		var event *hub.Event
		if event, err = readEvent(d, source); err != nil {
			known := toError(err)
			err = wire.Errorf(known.Name, "event %d: %s", len(events), known.Message)
			return false
		}
		events = append(events, event)
		return true
	})
	return events, args(d, err)
}

// commit commits events and then answers. It does not wait: until the commit is back, and
// the disk may be slow, further calls of this connection wait, and nobody else's.
func (c *call) commit(events []*hub.Event, answer func(first uint64)) {
	resume := c.Hold()
	go func() {
		first, err := c.service.Hub.Commit(hub.Batch{Events: events})
		resume(func() {
			if err != nil {
				c.fail(err)
				return
			}
			answer(first)
		})
	}()
}

// source returns the source of the events that the caller reports. A reporter that has left
// before anybody could ask who it is cannot be named, so it is refused.
func (c *call) source() (string, error) {
	if !c.Peer.Known {
		return "", wire.Errorf(wire.ErrAccessDenied, "the bus does not say who reports: the reporter may have left it")
	}
	return c.Peer.Source, nil
}

// reportRefused counts refused reports and passes the error on.
func (s *Service) reportRefused(err error) error {
	s.Hub.Count(hub.CounterRefused, 1)
	return err
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
