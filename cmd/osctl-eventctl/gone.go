package main

import (
	"context"
	"time"

	"github.com/osctl/eventd/cmd/internal/eventflags"
	"github.com/osctl/eventd/hub"
)

// pastContainer is a container in the history.
type pastContainer struct {
	name, image string
	removed     time.Time // zero unless the container is gone
}

// pastContainers is a sink that collects the containers of events. The history bounds its size.
type pastContainers struct {
	names      *nameTable // with removed containers
	containers map[containerRef]pastContainer
}

func (p *pastContainers) event(_ context.Context, e *hub.Event, _ string) (handled bool, err error) {
	ref, name := containerRef{e.Pool, e.ID}, e.Options.Text(hub.OptionName)
	c := p.containers[ref]
	switch {
	case e.Type == hub.TypeInfo:
		name, c.image, c.removed = e.Options.Text("name"), e.Options.Text("image"), time.Time{}
	case e.Type == hub.TypeState:
		c.removed = time.Time{}
	case e.Type == hub.TypeDB && e.Options.Text("object") != "container":
		return false, nil // the id of another object
	case e.Type == hub.TypeDB && e.Action == "remove":
		c.removed = e.Time
	case e.Type == hub.TypeDB && e.Action == "add" && !c.removed.IsZero():
		c = pastContainer{} // another container with the id
		p.names.remove(ref)
	}
	if name != "" {
		c.name = name
	}
	p.containers[ref] = c
	p.names.put(ref, name)
	return false, nil
}

func (p *pastContainers) flush(context.Context) error { return nil }

// readHistory looks for an unlisted container in the history: by its id, by its last name, or by the
// beginning of its id.
func (a *app) readHistory(ctx context.Context, known *containerDetails) error {
	past := &pastContainers{newNameTable(nil, nil), map[containerRef]pastContainer{}}
	if err := a.readEvents(ctx, past, eventflags.Filter{Pools: []string{known.pool}}, 0); err != nil {
		return err
	}
	resolved, err := known.resolve(past.names)
	if err != nil {
		return err
	}
	c := past.containers[containerRef{resolved.pool, resolved.id}]
	known.target, known.removed = resolved, c.removed
	if c.name != "" || c.image != "" {
		known.known = &hub.Container{Name: c.name, Image: c.image}
	}
	return nil
}
