package forward

import (
	"context"
	"fmt"
	"time"

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

func (e *eventd) call(ctx context.Context, do func(context.Context, *client.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if e.client != nil {
		select {
		case <-e.client.Done():
			e.close()
		default:
		}
	}
	if e.client == nil {
		c, err := client.Dial(ctx, e.address)
		if err != nil {
			return err
		}
		e.client = c
	}
	return do(ctx, e.client)
}

func (e *eventd) close() {
	if e.client != nil {
		e.client.Close()
		e.client = nil
	}
}

// history returns what is kept now. It does not start a service that does not run.
func (e *eventd) history(ctx context.Context) (h history, err error) {
	err = e.call(ctx, func(ctx context.Context, c *client.Client) error {
		p, err := c.Properties(ctx)
		if err != nil {
			return err
		}
		oldest, _ := p.Get("OldestSequence")
		last, _ := p.Get("LastSequence")
		durable, _ := p.Get("Durable")
		h = history{p.Text("Epoch"), max(oldest.Uint(), 1), last.Uint(), durable.Bool()}
		return nil
	})
	return h, err
}

// oldestCursor returns the cursor before the oldest event that is kept.
func (e *eventd) oldestCursor(ctx context.Context) (string, error) {
	h, err := e.history(ctx)
	return hub.FormatCursor(h.epoch, h.oldest-1), err
}

// checkHead compares the event that the head names with the one of that number here. The error
// is a [FenceError] if they are not the same event. What is no longer kept cannot be compared:
// following from the head says that it is gone. But a head from another epoch must be one that this
// bridge has written before (known): else another machine may have, which has our machine-id.
func (e *eventd) checkHead(ctx context.Context, cursor string, at time.Time, known bool) error {
	epoch, seq, err := hub.ParseCursor(cursor)
	if err != nil {
		return err
	}
	h, err := e.history(ctx)
	switch {
	case err != nil:
		return err
	case epoch != h.epoch && !known:
		return otherHistory("it began with another epoch, and the state file knows nothing of that")
	case epoch != h.epoch, seq == 0, seq < h.oldest:
		return nil
	}
	return e.call(ctx, func(ctx context.Context, c *client.Client) error {
		_, events, err := c.WaitEvents(ctx, hub.FormatCursor(epoch, seq-1), hub.Filter{}, 1, 0)
		switch {
		case client.HasName(err, client.ErrGone):
			return nil
		case err != nil && !client.HasName(err, client.ErrInvalidCursor):
			return err
		case err != nil || len(events) == 0:
			return otherHistory(fmt.Sprintf("its event %d does not exist here", seq))
		case !at.IsZero() && hub.Micros(events[0].Time) != hub.Micros(at):
			return otherHistory(fmt.Sprintf("its event %d is another one here", seq))
		}
		return nil
	})
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
