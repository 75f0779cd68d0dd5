package forward

import (
	"context"
	"fmt"
	"time"

	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleet"
	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

// eventd queries osctl-eventd, and connects when needed. Each query takes at most callTimeout.
type eventd struct {
	address string
	client  *client.Client // nil for none
}

const callTimeout = 10 * time.Second

// history is the state of osctl-eventd's history.
type history struct {
	epoch        string
	oldest, last uint64 // numbers of events; oldest is last + 1 for an empty history
	durable      bool
}

// connect returns a client with a working connection.
func (e *eventd) connect(ctx context.Context) (*client.Client, error) {
	if e.client != nil {
		select {
		case <-e.client.Done():
			e.close()
		default:
			return e.client, nil
		}
	}
	c, err := client.Dial(ctx, e.address)
	if err != nil {
		return nil, err
	}
	e.client = c
	return c, nil
}

func (e *eventd) close() {
	if e.client != nil {
		e.client.Close()
		e.client = nil
	}
}

// history returns the present history. It does not start a stopped service.
func (e *eventd) history(ctx context.Context) (history, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := e.connect(ctx)
	if err != nil {
		return history{}, err
	}
	p, err := c.Properties(ctx)
	if err != nil {
		return history{}, err
	}
	oldest, _ := p.Get("OldestSequence")
	last, _ := p.Get("LastSequence")
	durable, _ := p.Get("Durable")
	return history{p.Text("Epoch"), max(oldest.Uint(), 1), last.Uint(), durable.Bool()}, nil
}

// checkHead compares the event at the head with the event of the same number here. The error is a
// [FenceError] if they differ. An event that is no longer kept cannot be compared; following from the
// head reports it as gone. If osctl-eventd has begun a new epoch, the head must be from the epoch in the
// state file (own). Otherwise a machine with a copy of this machine-id may have written it.
func (e *eventd) checkHead(ctx context.Context, head fleet.Head, own string) error {
	epoch, seq, err := hub.ParseCursor(head.Cursor)
	if err != nil {
		return err
	}
	known, _, _ := hub.ParseCursor(own)
	h, err := e.history(ctx)
	switch {
	case err != nil:
		return err
	case epoch != h.epoch && epoch != known:
		return otherHistoryError("it has another epoch, which is not in the state file")
	case epoch != h.epoch, seq == 0, seq < h.oldest:
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := e.connect(ctx)
	if err != nil {
		return err
	}
	_, events, err := c.WaitEvents(ctx, hub.FormatCursor(epoch, seq-1), hub.Filter{}, 1, 0)
	switch {
	case client.HasName(err, client.ErrGone):
		return nil
	case err != nil && !client.HasName(err, client.ErrInvalidCursor):
		return err
	case err != nil || len(events) == 0:
		return otherHistoryError(fmt.Sprintf("its event %d does not exist here", seq))
	case !head.Time.IsZero() && hub.Micros(events[0].Time) != hub.Micros(head.Time):
		return otherHistoryError(fmt.Sprintf("its event %d is another one here", seq))
	}
	return nil
}

// otherHistoryError returns the error for a head from a copy of this history.
func otherHistoryError(how string) error {
	return &FenceError{"another copy of this host's history wrote to the stream: " + how +
		". Either two machines use copies of one disk, or this machine went back to an older copy. Give a clone its own" +
		" machine-id and name, and remove /var/lib/osctl-eventd and /var/lib/osctl-eventd-nats while both services are stopped." +
		" To continue under this name on this machine, run once with --take-over"}
}

// otherMachineError returns the error for a head of another machine.
func otherMachineError(subject, machine string) error {
	const form = "another machine (%s) forwards to %s: give each host its own name (--host)." +
		" If this machine replaces the other one, for example after a reinstallation, run once with --take-over"
	return &FenceError{fmt.Sprintf(form, machine, subject)}
}
