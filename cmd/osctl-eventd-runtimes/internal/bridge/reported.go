package bridge

import (
	"context"

	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

// exitKey identifies an exit.
type exitKey struct {
	id       string
	occurred uint64 // microseconds
}

// reported is what osctl-eventd has about the containers of a pool, which a session does not report again. Its
// size is bounded by the history and the list of osctl-eventd.
type reported struct {
	exits   map[exitKey]bool
	added   map[string]bool   // ids, which are never used again
	removed map[string]bool   // ids
	health  map[string]string // by id
	infos   map[string]info   // by id, of all listed containers; the name may be ""
}

// readReported reads the history and the list of osctl-eventd.
func readReported(ctx context.Context, c *client.Client, pool string) (*reported, error) {
	r := &reported{
		exits: map[exitKey]bool{}, added: map[string]bool{}, removed: map[string]bool{},
		health: map[string]string{}, infos: map[string]info{},
	}
	filter, err := hub.Filter{}.With("pool", pool)
	if err != nil {
		return nil, err
	}
	rows, _, err := c.Containers(ctx, filter)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		r.infos[row.ID] = info{name: row.Name, image: row.Image}
	}
	if filter, err = filter.With("type", hub.TypeExit, hub.TypeDB, hub.TypeHealth); err != nil {
		return nil, err
	}
	for cursor := hub.CursorOldest; ; {
		next, events, err := c.WaitEvents(ctx, cursor, filter, 0, 0)
		if err != nil {
			return nil, err
		}
		if len(events) == 0 {
			return r, nil
		}
		for _, e := range events {
			r.fold(e)
		}
		cursor = next
	}
}

// setInfo stores the reported info of a container, without the labels, which are never compared.
func (r *reported) setInfo(id string, i info) { r.infos[id] = info{name: i.name, image: i.image} }

// fold applies an event of the history.
func (r *reported) fold(e *hub.Event) {
	switch {
	case e.Type == hub.TypeExit:
		occurred, _ := e.Options.Get(optionOccurred)
		r.exits[exitKey{e.ID, occurred.Uint()}] = true
	case e.Type == hub.TypeHealth:
		r.health[e.ID] = e.Options.Text("health")
	case e.Options.Text("object") != "container":
	case e.Action == "add":
		r.added[e.ID] = true
	case e.Action == "remove":
		r.removed[e.ID] = true
		delete(r.health, e.ID)
	}
}
