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
	// minPrefix is the minimum length of an id's beginning that stands for the id.
	minPrefix = 4
	// maxNames limits the containers in a nameTable. It exceeds the limit of the service's lists, so
	// only events can fill the table; it then drops arbitrary containers.
	maxNames = 2 * hub.MaxContainers
	// maxCandidates is how many containers an ambiguousError names.
	maxCandidates = 10
)

// containerRef refers to a container by its id, its name, or the beginning of its id.
type containerRef struct{ pool, text string }

// nameTable holds the containers and their names as of the last event folded in. It resolves
// arguments to ids.
type nameTable struct {
	names    map[containerRef]string // names by id; "" for a container without a name
	owners   map[containerRef]string // ids by name
	resolved map[containerRef]string // ids by beginning, as resolved before
	cache    map[containerRef]string // ids by any text, cleared by each change
}

// newNameTable returns a table of the containers in the service's lists.
func newNameTable(containers []hub.Container, links []hub.Interface) *nameTable {
	n := &nameTable{resolved: map[containerRef]string{}}
	n.set(containers, links)
	return n
}

// set replaces the containers.
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

// put adds a container, and sets its name unless that is "". Another container loses the name.
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

// fold applies an event to the table.
func (n *nameTable) fold(e *hub.Event) {
	ref := containerRef{strings.Clone(e.Pool), strings.Clone(e.ID)} // those of e share the memory of a whole reply
	switch {
	case e.Type == hub.TypeInfo:
		n.put(ref, strings.Clone(e.Options.Text("name")))
	case e.Type == hub.TypeState, e.Type == hub.TypeNetif:
		n.put(ref, strings.Clone(e.Options.Text(hub.OptionName)))
	case e.Type != hub.TypeDB || e.Options.Text("object") != "container":
	case e.Action == "add":
		n.put(ref, "")
	case e.Action == "remove":
		n.remove(ref)
	}
}

// resolve returns the id of the container that text names: by its id, its name, or the beginning of
// its id, in this order. It returns "" if there is none. A beginning keeps its container while that
// exists, even if it becomes ambiguous. The error is an [ambiguousError].
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
	if id, err = n.resolvePrefix(ref); err == nil {
		n.cache[ref] = id
	}
	return id, err
}

// resolvePrefix returns the id that begins with a text.
func (n *nameTable) resolvePrefix(ref containerRef) (string, error) {
	if len(ref.text) < minPrefix {
		return "", nil
	}
	if id, ok := n.resolved[ref]; ok {
		if _, known := n.names[containerRef{ref.pool, id}]; known {
			return id, nil
		}
		delete(n.resolved, ref)
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
		n.resolved[ref] = candidates[0]
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

// ambiguousError is returned for a beginning that several ids share.
type ambiguousError struct {
	ref        containerRef
	candidates []string // some of them, with their names
	more       int      // number of further candidates
}

func (e *ambiguousError) Error() string {
	text := fmt.Sprintf("%s:%s is ambiguous: it could be any of %s", e.ref.pool, e.ref.text, strings.Join(e.candidates, ", "))
	if e.more > 0 {
		text += fmt.Sprintf(" and %d more", e.more)
	}
	return text
}

// listBoth lists interfaces and containers. The cursor is that of the interfaces; the list of
// containers may be newer.
func listBoth(ctx context.Context, c *client.Client, filter hub.Filter) (links []hub.Interface, containers []hub.Container, cursor string, err error) {
	if links, cursor, err = c.Interfaces(ctx, filter); err != nil {
		return nil, nil, "", err
	}
	containers, _, err = c.Containers(ctx, filter)
	return links, containers, cursor, err
}

// askNames reads the containers in the pools of targets. Events after the cursor may change them.
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
