package top

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

const (
	begin   = hub.CursorNewest + "200" // where the events begin
	refresh = 2 * time.Second          // how often the lists are fetched anew
	sample  = time.Second              // how often the properties are
	patient = 5 * time.Second          // how long the properties may take
)

// Feed brings what the service says into a State.
type Feed struct {
	State    *State
	Address  string                 // of the bus
	Pulse    time.Duration          // see [client.Follower]
	Describe func(err error) string // of an outage
	Answered func()                 // called once, with the first list
}

// Run feeds until ctx is done, or the service refuses.
func (f *Feed) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return client.Watch(ctx, client.Watcher[hub.Interface]{
			Address: f.Address, List: (*client.Client).Interfaces, Cursor: begin, Refresh: refresh, Pulse: f.Pulse,
		}, f.takeLinks)
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

func (f *Feed) takeLinks(w client.Watched[hub.Interface]) error {
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

// sampleProperties asks for the properties once a second. That the service does not answer is told
// by the events.
func (f *Feed) sampleProperties(ctx context.Context) error {
	tick := time.NewTicker(sample)
	defer tick.Stop()
	for {
		f.askProperties(ctx, tick.C)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// askProperties asks over one connection for as long as that lasts.
func (f *Feed) askProperties(ctx context.Context, tick <-chan time.Time) {
	c, err := client.Dial(ctx, f.Address)
	if err != nil {
		return
	}
	defer c.Close()
	for {
		asking, cancel := context.WithTimeout(ctx, patient)
		properties, err := c.Properties(asking)
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

// History returns the newest events that are kept of a row's container, or veth, oldest first.
func (f *Feed) History(ctx context.Context, row Row) ([]Event, error) {
	filter, err := row.filter()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	c, err := client.Dial(ctx, f.Address)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var all []Event
	for cursor := hub.CursorOldest; ; {
		next, events, err := c.WaitEvents(ctx, cursor, filter, 0, 0)
		if err != nil || len(events) == 0 {
			return all, err
		}
		all = append(all, f.State.Show(events)...)
		all = all[max(len(all)-mostEvents, 0):]
		cursor = next
	}
}
