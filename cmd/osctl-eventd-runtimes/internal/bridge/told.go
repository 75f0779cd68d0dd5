package bridge

import (
	"context"

	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

// exitKey tells exits apart.
type exitKey struct {
	id       string
	occurred uint64 // microseconds
}

// told is what the service knows of the containers of a pool: what need not be told again. The
// history and the list of the service bound it.
type told struct {
	exits   map[exitKey]bool
	added   map[string]bool   // ids: no two containers have the same one
	removed map[string]bool   // the same
	health  map[string]string // by id
	infos   map[string]info   // by id, of all containers that are listed; the name may be ""
}

// readTold reads it from the history and the list of the service.
func readTold(ctx context.Context, c *client.Client, pool string) (*told, error) {
	t := &told{
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
		t.infos[row.ID] = info{name: row.Name, image: row.Image}
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
			return t, nil
		}
		for _, e := range events {
			t.fold(e)
		}
		cursor = next
	}
}

// note notes what was told of a container, without its labels: nothing is compared with them.
func (t *told) note(id string, i info) { t.infos[id] = info{name: i.name, image: i.image} }

// fold notes an event of the history.
func (t *told) fold(e *hub.Event) {
	switch {
	case e.Type == hub.TypeExit:
		occurred, _ := e.Options.Get(optionOccurred)
		t.exits[exitKey{e.ID, occurred.Uint()}] = true
	case e.Type == hub.TypeHealth:
		t.health[e.ID] = e.Options.Text("health")
	case e.Options.Text("object") != "container":
	case e.Action == "add":
		t.added[e.ID] = true
	case e.Action == "remove":
		t.removed[e.ID] = true
		delete(t.health, e.ID)
	}
}
