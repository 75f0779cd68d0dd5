package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/osctl/eventd/cmd/internal/line"
	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

const (
	// shortest is how long the beginning of an id has to be to stand for it.
	shortest = 4
	// maxNames is how many containers a nameTable keeps. Beyond that it forgets one of them: the
	// service lists fewer, so only events of more containers can make that necessary.
	maxNames = 2 * hub.MaxContainers
	// maxCandidates is how many containers an ambiguousError names.
	maxCandidates = 10
)

// containerRef names a container by its id, by its name, or by the beginning of its id.
type containerRef struct{ pool, text string }

// nameTable knows which containers there are and what they are called, as of the events that it
// was shown last. It is the one place where an argument becomes an id.
type nameTable struct {
	names  map[containerRef]string // of containers by id; "" if there is none
	owners map[containerRef]string // ids by name
	held   map[containerRef]string // ids by beginning, of what was resolved before
	cache  map[containerRef]string // ids by any text, since the last change
}

// newNameTable makes a table of the rows of the service's lists.
func newNameTable(containers []hub.Container, links []hub.Interface) *nameTable {
	n := &nameTable{held: map[containerRef]string{}}
	n.set(containers, links)
	return n
}

// set replaces what the table knows.
func (n *nameTable) set(containers []hub.Container, links []hub.Interface) {
	n.names, n.owners = map[containerRef]string{}, map[containerRef]string{}
	for i := range links {
		n.put(containerRef{links[i].Pool, links[i].ID}, links[i].ContainerName)
	}
	for i := range containers {
		n.put(containerRef{containers[i].Pool, containers[i].ID}, containers[i].Name)
	}
	n.cache = map[containerRef]string{}
}

// put notes a container, and its name unless that is "". Another container loses the name.
func (n *nameTable) put(ref containerRef, name string) {
	before, known := n.names[ref]
	if ref.text == "" || known && (name == "" || name == before) {
		return
	}
	n.cache = map[containerRef]string{}
	if name != "" {
		owned := containerRef{ref.pool, name}
		if owner, ok := n.owners[owned]; ok {
			n.names[containerRef{ref.pool, owner}] = ""
		}
		delete(n.owners, containerRef{ref.pool, before})
		n.owners[owned] = ref.text
	}
	n.names[ref] = name
	for other := range n.names {
		if len(n.names) <= maxNames {
			break
		}
		n.remove(other)
	}
}

func (n *nameTable) remove(ref containerRef) {
	delete(n.owners, containerRef{ref.pool, n.names[ref]})
	delete(n.names, ref)
	n.cache = map[containerRef]string{}
}

// fold takes an event into the table.
func (n *nameTable) fold(e *hub.Event) {
	ref := containerRef{e.Pool, e.ID}
	switch {
	case e.Type == hub.TypeInfo:
		n.put(ref, e.Options.Text("name"))
	case e.Type == hub.TypeState, e.Type == hub.TypeNetif:
		n.put(ref, e.Options.Text(hub.OptionName))
	case e.Type != hub.TypeDB || e.Options.Text("object") != "container":
	case e.Action == "add":
		n.put(ref, "")
	case e.Action == "remove":
		n.remove(ref)
	}
}

// resolve returns the id of the container that text stands for: as an id, else as a name, else as
// the only id that begins with it. It returns "" if there is none. A beginning that stood for a
// container goes on to stand for it while that is there. The error is an [ambiguousError].
func (n *nameTable) resolve(pool, text string) (id string, err error) {
	ref := containerRef{pool, text}
	if _, known := n.names[ref]; known {
		return text, nil
	}
	if id, ok := n.owners[ref]; ok {
		return id, nil
	}
	if id, ok := n.cache[ref]; ok {
		return id, nil
	}
	if id, err = n.complete(ref); err == nil {
		n.cache[ref] = id
	}
	return id, err
}

// complete returns the id that begins with a text.
func (n *nameTable) complete(ref containerRef) (string, error) {
	if len(ref.text) < shortest {
		return "", nil
	}
	if id, ok := n.held[ref]; ok {
		if _, known := n.names[containerRef{ref.pool, id}]; known {
			return id, nil
		}
		delete(n.held, ref)
	}
	var candidates []string
	for known := range n.names {
		if known.pool == ref.pool && strings.HasPrefix(known.text, ref.text) {
			candidates = append(candidates, known.text)
		}
	}
	switch len(candidates) {
	case 0:
		return "", nil
	case 1:
		n.held[ref] = candidates[0]
		return candidates[0], nil
	}
	slices.Sort(candidates)
	err := &ambiguousError{ref: ref, more: max(0, len(candidates)-maxCandidates)}
	for _, id := range candidates[:min(len(candidates), maxCandidates)] {
		text := ref.pool + ":" + id
		if name := n.names[containerRef{ref.pool, id}]; name != "" {
			text += " (" + line.Word(name) + ")"
		}
		err.candidates = append(err.candidates, text)
	}
	return "", err
}

// ambiguousError says that the beginning of an id is that of several containers.
type ambiguousError struct {
	ref        containerRef
	candidates []string // some of them, with their names
	more       int      // how many further ones there are
}

func (e *ambiguousError) Error() string {
	text := fmt.Sprintf("%s:%s: this could be any of %s", e.ref.pool, e.ref.text, strings.Join(e.candidates, ", "))
	if e.more > 0 {
		text += fmt.Sprintf(" and %d more", e.more)
	}
	return text
}

// listBoth lists interfaces and containers. The cursor belongs to the list of interfaces; the
// containers may be newer.
func listBoth(ctx context.Context, c *client.Client, filter hub.Filter) (links []hub.Interface, containers []hub.Container, cursor string, err error) {
	if links, cursor, err = c.Interfaces(ctx, filter); err != nil {
		return nil, nil, "", err
	}
	containers, _, err = c.Containers(ctx, filter)
	return links, containers, cursor, err
}

// askNames asks the service for the containers in the pools of targets, and returns the cursor
// after which events change them.
func (a *app) askNames(ctx context.Context, targets []target) (names *nameTable, cursor string, err error) {
	filter, err := poolsOf(targets)
	if err != nil {
		return nil, "", err
	}
	err = a.call(ctx, func(ctx context.Context, c *client.Client) error {
		links, containers, at, err := listBoth(ctx, c, filter)
		names, cursor = newNameTable(containers, links), at
		return err
	})
	return names, cursor, err
}
