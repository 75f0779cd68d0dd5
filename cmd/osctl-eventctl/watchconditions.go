package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

// containerRefresh is how often a wait lists again. Events alone would fill its list with containers that
// the service has dropped.
const containerRefresh = time.Minute

// errReached ends a watch once all conditions have been met.
var errReached = errors.New("reached")

// knownState holds the containers and interfaces as of the last event folded in.
type knownState struct {
	names      *nameTable
	containers []hub.Container
	links      []hub.Interface
}

// set replaces the state by new lists.
func (w *knownState) set(containers []hub.Container, links []hub.Interface) {
	w.names.set(containers, links)
	w.containers, w.links = containers, links
}

// fold applies an event. At a handover it ignores the down of the old owner, because the interface
// keeps working; the up of the new owner updates the row.
func (w *knownState) fold(e *hub.Event) {
	w.names.fold(e)
	w.containers = foldContainer(w.containers, e)
	if handover, _ := e.Options.Get("handover"); e.Action != "down" || !handover.Bool() {
		w.links = foldLink(w.links, e)
	}
}

// watchConditions waits until each condition has been met, and stores the states in reached.
func (a *app) watchConditions(ctx context.Context, conditions []condition, reached []string) error {
	address, err := a.address()
	if err != nil {
		return err
	}
	rows, events, refresh, err := a.findFilters(ctx, conditions)
	if err != nil {
		return err
	}
	w := knownState{names: newNameTable(nil, nil)}
	var containers []hub.Container
	err = client.Watch(ctx, client.Watcher[hub.Interface]{
		Address: address, Rows: rows, Events: events, Refresh: refresh, Pulse: pulse,
		List: func(c *client.Client, ctx context.Context, filter hub.Filter) (links []hub.Interface, cursor string, err error) {
			links, containers, cursor, err = listBoth(ctx, c, filter)
			return links, cursor, err
		},
	}, func(u client.Watched[hub.Interface]) error {
		a.warnOutage(u.Update)
		if u.Listed {
			w.set(containers, u.Rows)
			if err := updateReached(conditions, reached, &w); err != nil {
				return err
			}
		}
		for _, e := range u.Events {
			w.fold(e)
			if err := updateReached(conditions, reached, &w); err != nil {
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

// findFilters returns the filters for rows and events of the conditions, and how often to list the
// rows again.
func (a *app) findFilters(ctx context.Context, conditions []condition) (rows, events hub.Filter, refresh time.Duration, err error) {
	var s selection
	refresh = containerRefresh
	anyContainer := false // a handover may move the interface to any container
	for i := range conditions {
		s.targets = append(s.targets, conditions[i].target)
		if conditions[i].name != "" {
			refresh = listRefresh
		}
		anyContainer = anyContainer || conditions[i].name != "" && slices.Contains(conditions[i].states, "down")
	}
	names, _, err := a.askNames(ctx, s.targets)
	if err == nil {
		err = s.setNames(names)
	}
	if err != nil {
		return rows, events, 0, err
	}
	if rows, err = poolsOf(s.targets); err != nil {
		return rows, events, 0, err
	}
	if anyContainer {
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

// updateReached stores the states of conditions that are met now. It returns errReached once all
// conditions have been met.
func updateReached(conditions []condition, reached []string, w *knownState) (err error) {
	for i := range conditions {
		if reached[i] == "" {
			if reached[i], err = conditions[i].reachedState(w); err != nil {
				return err
			}
		}
	}
	if slices.Contains(reached, "") {
		return nil
	}
	return errReached
}

// reachedState returns the state that the target has reached, "" for none.
func (c *condition) reachedState(w *knownState) (string, error) {
	t, err := c.resolve(w.names)
	if err != nil {
		return "", err
	}
	if t.name != "" {
		return c.reachedLinkState(t, w.links), nil
	}
	for _, row := range w.containers {
		if row.Pool == t.pool && row.ID == t.id && slices.Contains(c.states, row.State) {
			return row.State, nil
		}
	}
	return "", nil
}

// reachedLinkState is reachedState for an interface.
func (c *condition) reachedLinkState(t target, links []hub.Interface) string {
	exists, up := false, map[uint32]bool{}
	for _, row := range links {
		own := row.Pool == t.pool && row.ID == t.id && row.Name == t.name
		exists = exists || own
		if row.State == hub.LinkUp && (own || c.up[row.Ifindex] && (row.Name == t.name || row.Name == "")) {
			up[row.Ifindex] = true
		}
	}
	c.up = up
	for _, state := range c.states {
		if state == "up" && len(up) > 0 || state == "down" && len(up) == 0 || state == "gone" && !exists {
			return state
		}
	}
	return ""
}
