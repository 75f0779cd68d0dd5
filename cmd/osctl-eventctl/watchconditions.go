package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

// awaitRefresh is how often a wait for interfaces lists them again though no event came: not every
// change of an interface is an event.
const awaitRefresh = linkRefresh

// errReached ends a watch once all conditions were met.
var errReached = errors.New("reached")

// world is what is known of containers and interfaces, as of the events so far.
type world struct {
	names      *nameTable
	containers []hub.Container
	links      []hub.Interface
}

// set replaces all by what was listed.
func (w *world) set(containers []hub.Container, links []hub.Interface) {
	w.names.set(containers, links)
	w.containers, w.links = containers, links
}

// fold takes an event. An interface that passes to another container works on, and its row moves with
// the event that says who has it now.
func (w *world) fold(e *hub.Event) {
	w.names.fold(e)
	w.containers = foldContainer(w.containers, e)
	if handover, _ := e.Options.Get("handover"); e.Action != "down" || !handover.Bool() {
		w.links = foldLink(w.links, e)
	}
}

// watchConditions waits until each condition was met, and notes the states that were reached.
func (a *app) watchConditions(ctx context.Context, conditions []condition, reached []string) error {
	address, err := a.address()
	if err != nil {
		return err
	}
	rows, events, refresh, err := a.conditionFilters(ctx, conditions)
	if err != nil {
		return err
	}
	w := world{names: newNameTable(nil, nil)}
	var containers []hub.Container
	err = client.Watch(ctx, client.Watcher[hub.Interface]{
		Address: address, Rows: rows, Events: events, Refresh: refresh, Pulse: pulse,
		List: func(c *client.Client, ctx context.Context, filter hub.Filter) (links []hub.Interface, cursor string, err error) {
			links, containers, cursor, err = listBoth(ctx, c, filter)
			return links, cursor, err
		},
	}, func(u client.Watched[hub.Interface]) error {
		a.sayDown(u.Update)
		if u.Listed {
			w.set(containers, u.Rows)
			if err := noteReached(conditions, reached, &w); err != nil {
				return err
			}
		}
		for _, e := range u.Events {
			w.fold(e)
			if err := noteReached(conditions, reached, &w); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, errReached) {
		return nil
	}
	return err
}

// conditionFilters returns which rows and events conditions are about, and how often to list the rows
// again.
func (a *app) conditionFilters(ctx context.Context, conditions []condition) (rows, events hub.Filter, refresh time.Duration, err error) {
	var s selection
	everywhere := false // an interface that is not down yet may pass to any container
	for i := range conditions {
		s.targets = append(s.targets, conditions[i].target)
		if conditions[i].name != "" {
			refresh = awaitRefresh
		}
		everywhere = everywhere || conditions[i].name != "" && slices.Contains(conditions[i].states, "down")
	}
	names, _, err := a.askNames(ctx, s.targets)
	if err == nil {
		err = s.resolveBy(names)
	}
	if err != nil {
		return rows, events, 0, err
	}
	if rows, err = poolsOf(s.targets); err != nil {
		return rows, events, 0, err
	}
	if everywhere {
		rows = hub.Filter{}
	} else if s.names == nil {
		var ids []string
		for _, t := range s.targets {
			ids = append(ids, t.id)
		}
		if rows, err = rows.With("id", ids...); err != nil {
			return rows, events, 0, err
		}
	}
	events, err = rows.With("type", hub.TypeState, hub.TypeNetif, hub.TypeDB, hub.TypeInfo)
	return rows, events, refresh, err
}

// noteReached notes which conditions are met. It returns errReached once all of them were.
func noteReached(conditions []condition, reached []string, w *world) (err error) {
	for i := range conditions {
		if reached[i] == "" {
			if reached[i], err = conditions[i].met(w); err != nil {
				return err
			}
		}
	}
	if slices.Contains(reached, "") {
		return nil
	}
	return errReached
}

// met returns the state of a condition that is reached, "" if none is.
func (c *condition) met(w *world) (string, error) {
	t, err := c.resolve(w.names)
	if err != nil {
		return "", err
	}
	if t.name != "" {
		return c.metLink(t, w.links), nil
	}
	for _, row := range w.containers {
		if row.Pool == t.pool && row.ID == t.id && slices.Contains(c.states, row.State) {
			return row.State, nil
		}
	}
	return "", nil
}

// metLink is met for an interface.
func (c *condition) metLink(t target, links []hub.Interface) string {
	there, up := false, map[uint32]bool{}
	for _, row := range links {
		own := row.Pool == t.pool && row.ID == t.id && row.Name == t.name
		there = there || own
		if row.State == hub.LinkUp && (own || c.up[row.Ifindex] && (row.Name == t.name || row.Name == "")) {
			up[row.Ifindex] = true
		}
	}
	c.up = up
	for _, state := range c.states {
		if state == "up" && len(up) > 0 || state == "down" && len(up) == 0 || state == "gone" && !there {
			return state
		}
	}
	return ""
}
