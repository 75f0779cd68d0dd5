package top

import (
	"context"
	"time"

	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

const (
	firstCursor = hub.CursorNewest + "200"
	refresh     = 2 * time.Second // interval of the lists and the properties
	callTimeout = 5 * time.Second // of a history
)

// Feed reads from the service into a State.
type Feed struct {
	State    *State
	Address  string                 // of the bus
	Pulse    time.Duration          // see [client.Follower]
	Describe func(err error) string // of an outage
	Answered func()                 // called once, with the first list
}

// Run feeds the State until ctx is done, or the service refuses a call.
func (f *Feed) Run(ctx context.Context) error {
	var containers []hub.Container
	var properties hub.Options
	var read time.Time // when the properties were read
	return client.Watch(ctx, client.Watcher[hub.Interface]{
		Address: f.Address, Cursor: firstCursor, Refresh: refresh, Pulse: f.Pulse,
		List: func(c *client.Client, ctx context.Context, filter hub.Filter) (links []hub.Interface, cursor string, err error) {
			links, cursor, err = c.Interfaces(ctx, filter)
			if err == nil {
				containers, _, err = c.Containers(ctx, filter)
			}
			if err == nil { // last, because it does not start the service
				properties, err = c.Properties(ctx)
			}
			read = time.Now()
			return links, cursor, err
		},
	}, func(w client.Watched[hub.Interface]) error {
		f.handleUpdate(w.Update)
		if w.Listed {
			f.State.Set(w.Rows, containers, properties, read)
			if f.Answered != nil {
				f.Answered()
				f.Answered = nil
			}
		}
		return nil
	})
}

// handleUpdate handles what is not a list.
func (f *Feed) handleUpdate(u client.Update) {
	switch {
	case u.Down != nil:
		f.State.SetOutage(f.Describe(u.Down))
	case u.Up:
		f.State.SetOutage("")
	case u.Gone != nil:
		f.State.AddGap(u.Lost)
	}
	f.State.AddEvents(u.Events)
}

// History returns the newest kept events of a row's container, or else of its veth, oldest first.
func (f *Feed) History(ctx context.Context, row Row) ([]Event, error) {
	filter, err := row.filter()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := client.Dial(ctx, f.Address)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if _, err := c.Properties(ctx); err != nil { // the service was stopped, and WaitEvents would start it
		return nil, err
	}
	var all []Event
	for cursor := hub.CursorOldest; ; {
		next, events, err := c.WaitEvents(ctx, cursor, filter, 0, 0)
		if err != nil || len(events) == 0 {
			return all, err
		}
		all = append(all, f.State.Format(events)...)
		all = all[max(len(all)-maxEvents, 0):]
		cursor = next
	}
}
