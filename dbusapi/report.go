package dbusapi

import (
	"errors"
	"sync"

	"github.com/osctl/eventd/dbusapi/bus"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// maxCallBody is the size of the largest body of a call that is read, in bytes. It is a little more than
// that of the largest batch, so that a batch slightly above the limit gets its own error.
const maxCallBody = wire.MaxBatchBytes + 4096

// largeBody is the size from which on calls are decoded one at a time, in bytes. A call may take 60 times
// its size in memory until the hub has it.
const largeBody = 64 << 10

// report handles Report.
func (c *call) report() error {
	return c.commit(c.readReport, func(first uint64, _ int) {
		c.reply(func(e *wire.Encoder) { e.Uint64(first) })
	})
}

// reportBatch handles ReportBatch: all or none.
func (c *call) reportBatch() error {
	return c.commit(c.readBatch, func(first uint64, n int) {
		c.reply(func(e *wire.Encoder) {
			e.Array('t', func() {
				for i := range n {
					e.Uint64(first + uint64(i))
				}
			})
		})
	})
}

func (c *call) readReport() ([]*hub.Event, error) {
	source, err := c.source()
	if err != nil {
		return nil, err
	}
	d := c.Decoder()
	event, err := readEvent(d, source)
	return []*hub.Event{event}, checkArgs(d, err)
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
	return events, checkArgs(d, err)
}

// commit submits the events that read decodes, and returns; the reply follows the commit. Only this
// connection waits. If the hub's queue is full, commit drops the events, which take far more memory than
// the call, and decodes them again later.
func (c *call) commit(read func() ([]*hub.Event, error), answer func(first uint64, n int)) error {
	if c.BodySize > largeBody {
		c.service.largeCall.Lock()
		defer c.service.largeCall.Unlock()
	}
	events, err := read()
	if err != nil {
		return c.service.reportRefused(err)
	}
	n, resume := len(events), c.Hold()
	done := func(first uint64, err error) {
		resume(func() {
			if err != nil {
				c.fail(err)
				return
			}
			answer(first, n)
		})
	}
	err = c.service.Hub.Submit(hub.Batch{Events: events}, done)
	switch {
	case errors.Is(err, hub.ErrBusy):
		c.service.overflow.add(func() {
			events, _ := read() // it succeeded before
			done(c.service.Hub.Commit(hub.Batch{Events: events}))
		})
	case err != nil:
		done(0, err)
	}
	return nil
}

// overflow runs jobs one at a time, in a goroutine that exists while there are jobs. Closing the hub ends
// their waits.
type overflow struct {
	mu   sync.Mutex
	jobs []func() // at most one of each connection; the first one is running
}

func (o *overflow) add(job func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.jobs = append(o.jobs, job); len(o.jobs) == 1 {
		go o.run()
	}
}

func (o *overflow) run() {
	for {
		o.mu.Lock()
		job := o.jobs[0]
		o.mu.Unlock()
		job()
		o.mu.Lock()
		o.jobs[0] = nil
		o.jobs = o.jobs[1:]
		left := len(o.jobs)
		o.mu.Unlock()
		if left == 0 {
			return
		}
	}
}

// source returns the source of the caller's events. A reporter that left before it was identified is
// refused.
func (c *call) source() (string, error) {
	if !c.Peer.Known {
		return "", unknownPeer(c.Peer)
	}
	return c.Peer.Source, nil
}

// unknownPeer returns the error for an unidentified caller.
func unknownPeer(p *bus.Peer) error {
	if p.Left.Err() != nil {
		return wire.Errorf(wire.ErrAccessDenied, "the caller left the bus before it was identified")
	}
	return wire.Errorf(wire.ErrTimeout, "the bus did not identify the caller in time")
}

// reportRefused counts refused reports and passes the error on.
func (s *Service) reportRefused(err error) error {
	s.Hub.Count(hub.CounterRefused, 1)
	return err
}

// readEvent reads the type and the options of one event and makes it.
func readEvent(d *wire.Decoder, source string) (*hub.Event, error) {
	typ := d.String()
	options := d.Options(typ)
	if err := d.Err(); err != nil {
		return nil, err
	}
	event, err := hub.NewEvent(typ, options, source)
	if err != nil {
		return nil, err
	}
	// An event is larger than its options, and redaction may enlarge it.
	if size := len(wire.EncodeEvent(event)); size > wire.MaxEvent {
		return nil, &hub.TooLargeError{What: "bytes of one event", Got: size, Limit: wire.MaxEvent}
	}
	return event, nil
}
