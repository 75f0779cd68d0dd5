package forward

import (
	"context"
	"fmt"
	"time"

	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleet"
	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

// eventd asks osctl-eventd questions, each within callTime. It connects where it needs to.
type eventd struct {
	address string
	client  *client.Client // nil for none
}

const callTime = 10 * time.Second

// history is what osctl-eventd keeps.
type history struct {
	epoch        string
	oldest, last uint64 // numbers of events; oldest is last + 1 while there is none
	durable      bool
}

// connect returns a client with a connection that is not lost.
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

// history returns what is kept now. It does not start a service that does not run.
func (e *eventd) history(ctx context.Context) (history, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
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

// checkHead compares the event that the head names with the one of that number here. The error
// is a [FenceError] if they are not the same event. What is no longer kept cannot be compared:
// following from the head says that it is gone. But a head from another epoch must be one that this
// bridge has written before, as its own cursor says: else another machine may have, which has our
// machine-id.
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
		return otherHistory("it began with another epoch, and the state file knows nothing of that")
	case epoch != h.epoch, seq == 0, seq < h.oldest:
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
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
		return otherHistory(fmt.Sprintf("its event %d does not exist here", seq))
	case !head.Time.IsZero() && hub.Micros(events[0].Time) != hub.Micros(head.Time):
		return otherHistory(fmt.Sprintf("its event %d is another one here", seq))
	}
	return nil
}

// otherHistory is the error where two machines share an epoch.
func otherHistory(how string) error {
	return &FenceError{"the stream was written from another copy of this host's history: " + how +
		". Two machines use copies of one disk, or this one went back to an older copy. On a clone: give it a" +
		" machine-id and a name of its own, and remove /var/lib/osctl-eventd and /var/lib/osctl-eventd-nats while both services are stopped." +
		" If this machine shall go on under the name: run once with --take-over"}
}

// otherMachine is the error where another machine wrote the last message.
func otherMachine(subject, machine string) error {
	const form = "another machine (%s) forwards to %s: give each host a name of its own (--host)." +
		" If this machine takes its place, for example after it was installed anew: run once with --take-over"
	return &FenceError{fmt.Sprintf(form, machine, subject)}
}
