package client

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/osctl/eventd/hub"
)

// awaitRefresh is the interval at which [Await.Link] lists again, because there is no event if the name
// inside the container is found only after the interface came up.
const awaitRefresh = 5 * time.Second

// errReached ends a watch when the state is reached.
var errReached = errors.New("reached")

// Await waits for a state of one container, or of one of its interfaces.
type Await struct {
	Address  string        // of the bus, see [ResolveAddress]
	Pool, ID string        // of the container
	Pulse    time.Duration // see [Follower]
	// Notice, if not nil, is called when the service or the bus goes away (Down) and comes back
	// (Up).
	Notice func(Update)
}

// State waits until the container is in one of the states, and returns that state. The current state
// counts, and so does a short one, unless its event is among those that are lost. The container need not
// exist yet. The wait survives restarts of the service and of the bus, and ends when ctx is done;
// otherwise it fails like [Follow].
func (a Await) State(ctx context.Context, states ...string) (string, error) {
	rows, err := containerFilter(a.Pool, a.ID)
	if err != nil {
		return "", err
	}
	events, err := rows.With("type", hub.TypeState)
	if err == nil {
		events, err = events.With("action", states...)
	}
	if err != nil {
		return "", err
	}
	reached := ""
	err = Watch(ctx, Watcher[hub.Container]{
		Address: a.Address, List: (*Client).Containers, Rows: rows, Events: events, Pulse: a.Pulse,
	}, func(w Watched[hub.Container]) error {
		a.notify(w.Update)
		for _, row := range w.Rows {
			if slices.Contains(states, row.State) {
				reached = row.State
				return errReached
			}
		}
		if len(w.Events) > 0 {
			reached = w.Events[0].Action
			return errReached
		}
		return nil
	})
	return reached, ignoreReached(err)
}

// Link waits until the interface of the container with that name inside is up (administratively up, with
// carrier) or, if up is false, is not up or does not exist. If the interface passes to another container
// (handover) while Link waits for its end, Link continues to wait, because the interface still works.
// Otherwise Link is like [Await.State].
func (a Await) Link(ctx context.Context, name string, up bool) error {
	w := Watcher[hub.Interface]{Address: a.Address, List: (*Client).Interfaces, Pulse: a.Pulse}
	var err error
	if up { // for down, the rows of all owners count
		w.Refresh = awaitRefresh
		w.Rows, err = containerFilter(a.Pool, a.ID)
	}
	if err == nil {
		w.Events, err = w.Rows.With("type", hub.TypeNetif)
	}
	if err != nil {
		return err
	}
	links := upLinks{pool: a.Pool, id: a.ID}
	return ignoreReached(Watch(ctx, w, func(w Watched[hub.Interface]) error {
		a.notify(w.Update)
		if w.Listed {
			links.replace(w.Rows)
			if links.has(name) == up {
				return errReached
			}
		}
		for _, event := range w.Events {
			if links.apply(event); links.names != nil && links.has(name) == up {
				return errReached
			}
		}
		return nil
	}))
}

// notify calls Notice for an update about the service.
func (a Await) notify(u Update) {
	if a.Notice != nil && (u.Down != nil || u.Up) {
		a.Notice(u)
	}
}

// upLinks are the interfaces of a container that are up, including those that passed to another
// container and are still up.
type upLinks struct {
	pool, id string
	names    map[uint32]string // inside, by ifindex; nil before the first list
}

func (l *upLinks) has(name string) bool {
	for _, one := range l.names {
		if one == name {
			return true
		}
	}
	return false
}

// replace replaces the links with those of a list.
func (l *upLinks) replace(rows []hub.Interface) {
	names := map[uint32]string{}
	for _, row := range rows {
		name, known := l.names[row.Ifindex]
		if row.State == hub.LinkUp && (known || row.Pool == l.pool && row.ID == l.id) {
			names[row.Ifindex] = cmp.Or(row.Name, name)
		}
	}
	l.names = names
}

// apply updates the links with an event. It ignores reported events, which are not about the kernel's
// links.
func (l *upLinks) apply(e *hub.Event) {
	v, _ := e.Options.Get("ifindex")
	ifindex := uint32(v.Uint()) //nolint:gosec // the kernel numbers them with 31 bits
	if l.names == nil || e.Source != hub.SourceNetlink || ifindex == 0 {
		return
	}
	handover, _ := e.Options.Get("handover")
	_, known := l.names[ifindex]
	switch {
	case e.Action == "up" && e.Pool == l.pool && e.ID == l.id:
		l.names[ifindex] = e.Options.Text("name")
	case e.Action == "down" && !handover.Bool():
		delete(l.names, ifindex)
	case e.Action == "rename" && known:
		l.names[ifindex] = e.Options.Text("new_name")
	}
}

func containerFilter(pool, id string) (hub.Filter, error) {
	f, err := hub.Filter{}.With("pool", pool)
	if err != nil {
		return f, err
	}
	return f.With("id", id)
}

func ignoreReached(err error) error {
	if errors.Is(err, errReached) {
		return nil
	}
	return err
}
