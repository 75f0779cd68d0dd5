package top

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

const (
	firstCursor    = hub.CursorNewest + "200"
	refresh        = 2 * time.Second // interval of the lists
	sampleInterval = time.Second     // interval of the properties
	callTimeout    = 5 * time.Second
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
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return client.Watch(ctx, client.Watcher[hub.Interface]{
			Address: f.Address, List: (*client.Client).Interfaces, Cursor: firstCursor, Refresh: refresh, Pulse: f.Pulse,
		}, f.updateLinks)
	})
	group.Go(func() error {
		filter, err := hub.Filter{}.With("type", hub.TypeState, hub.TypeDB)
		if err != nil {
			return err
		}
		return client.Watch(ctx, client.Watcher[hub.Container]{
			Address: f.Address, List: (*client.Client).Containers, Events: filter, Refresh: refresh, Pulse: f.Pulse,
		}, func(w client.Watched[hub.Container]) error {
			if w.Listed {
				f.State.SetContainers(w.Rows)
			}
			return nil
		})
	})
	group.Go(func() error { return f.sampleProperties(ctx) })
	return group.Wait()
}

func (f *Feed) updateLinks(w client.Watched[hub.Interface]) error {
	switch {
	case w.Down != nil:
		f.State.SetOutage(f.Describe(w.Down))
	case w.Up:
		f.State.SetOutage("")
	}
	if w.Gone != nil {
		f.State.AddGap(w.Lost)
	}
	if w.Listed {
		f.State.SetLinks(w.Rows)
		if f.Answered != nil {
			f.Answered()
			f.Answered = nil
		}
	}
	f.State.AddEvents(w.Events)
	return nil
}

// sampleProperties reads the properties once a second. It ignores outages, because updateLinks
// reports them.
func (f *Feed) sampleProperties(ctx context.Context) error {
	tick := time.NewTicker(sampleInterval)
	defer tick.Stop()
	for {
		f.readProperties(ctx, tick.C)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// readProperties reads the properties at each tick, until its connection fails.
func (f *Feed) readProperties(ctx context.Context, tick <-chan time.Time) {
	c, err := client.Dial(ctx, f.Address)
	if err != nil {
		return
	}
	defer c.Close()
	for {
		bounded, cancel := context.WithTimeout(ctx, callTimeout)
		properties, err := c.Properties(bounded)
		cancel()
		if err != nil {
			return
		}
		f.State.SetProperties(properties, time.Now())
		select {
		case <-ctx.Done():
			return
		case <-c.Done():
			return
		case <-tick:
		}
	}
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
