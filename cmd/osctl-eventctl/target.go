package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/osctl/eventd/cmd/internal/eventflags"
	"github.com/osctl/eventd/hub"
)

// target is a container, or one interface of it, as named on the command line.
type target struct {
	pool, id, name string // name inside; "" for the container itself
}

// slashHint ends an error that may come of a slash that was not meant to begin the name
// of an interface.
const slashHint = "if the id has a slash, name the container by --pool and --id"

// parseTarget reads POOL:ID or POOL:ID/INTERFACE.
func parseTarget(arg string) (target, error) {
	pool, rest, ok := strings.Cut(arg, ":")
	id, name, slash := rest, "", false
	if i := strings.LastIndexByte(rest, '/'); i >= 0 {
		id, name, slash = rest[:i], rest[i+1:], true
	}
	if !ok || pool == "" || id == "" || slash && name == "" {
		return target{}, fmt.Errorf("%q: expected a container as POOL:ID, like tank:101, or its interface as POOL:ID/INTERFACE, like tank:101/eth0; "+slashHint, arg)
	}
	return target{pool, id, name}, nil
}

func parseTargets(args []string) ([]target, error) {
	targets := make([]target, len(args))
	for i, arg := range args {
		var err error
		if targets[i], err = parseTarget(arg); err != nil {
			return nil, err
		}
	}
	return targets, nil
}

func (t target) String() string {
	if t.name == "" {
		return t.pool + ":" + t.id
	}
	return t.pool + ":" + t.id + "/" + t.name
}

// covers reports whether an event is about the target. A rename is about both names.
func (t target) covers(e *hub.Event) bool {
	if e.Pool != t.pool || e.ID != t.id {
		return false
	}
	return t.name == "" || e.Type == hub.TypeNetif && (e.Options.Text("name") == t.name || e.Options.Text("new_name") == t.name)
}

// maxAsked is how many values of one key the service is asked to filter by.
const maxAsked = 64

// selection says which events, or rows of a list, are wanted.
type selection struct {
	eventflags.Filter

	targets []target // any of them; none for all
}

// filter returns the filter that the service applies. It matches each key by itself, so covers
// still has to check the targets of the events that pass.
func (s *selection) filter() (hub.Filter, error) {
	asked := s.Filter
	links := len(s.targets) > 0
	var targetPools, targetIDs []string
	for _, t := range s.targets {
		targetPools, targetIDs = append(targetPools, t.pool), append(targetIDs, t.id)
		links = links && t.name != ""
	}
	if links && len(asked.Types) == 0 {
		asked.Types = []string{hub.TypeNetif}
	}
	if len(s.targets) <= maxAsked {
		if len(asked.Pools) == 0 {
			asked.Pools = targetPools
		}
		if len(asked.IDs) == 0 {
			asked.IDs = targetIDs
		}
	}
	return asked.Hub()
}

// covers reports whether an event that passed the filter is wanted.
func (s *selection) covers(e *hub.Event) bool {
	return len(s.targets) == 0 || slices.ContainsFunc(s.targets, func(t target) bool { return t.covers(e) })
}
