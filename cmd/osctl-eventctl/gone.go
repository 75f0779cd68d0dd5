package main

import (
	"context"
	"time"

	"github.com/osctl/eventd/cmd/internal/eventflags"
	"github.com/osctl/eventd/hub"
)

// pastContainer is what the history says of a container.
type pastContainer struct {
	name, image string
	removed     time.Time // zero if it was not, or is there again
}

// pastContainers is a sink that notes which containers events are about. It is as large as the
// history at most.
type pastContainers struct {
	names      *nameTable // forgets no container
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
		return false, nil // an id of something else
	case e.Type == hub.TypeDB && e.Action == "remove":
		c.removed = e.Time
	}
	if name != "" {
		c.name = name
	}
	p.containers[ref] = c
	p.names.put(ref, name)
	return false, nil
}

func (p *pastContainers) flush(context.Context) error { return nil }

// askHistory looks in the history for a container that is not listed: by its id, by the name it had
// last, or by the beginning of its id.
func (a *app) askHistory(ctx context.Context, known *containerDetails) error {
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
