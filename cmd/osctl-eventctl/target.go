package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"

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
	types, actions, pools, ids, sources, names, veths []string

	targets []target // any of them; none for all
}

// addFlags adds the flags that select events.
func (s *selection) addFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&s.types, "type", nil, "only events of this `TYPE`, or of several, separated by commas")
	f.StringArrayVar(&s.actions, "action", nil, "only events with this `ACTION`, or with this new state of a container")
	f.StringArrayVar(&s.pools, "pool", nil, "only events of containers of this `POOL`")
	f.StringArrayVar(&s.ids, "id", nil, "only events of the containers with this `ID`")
	f.StringArrayVar(&s.sources, "source", nil, "only events from this `SOURCE`: netlink or cgroup (seen by the service), or\nthe unit or uid:N that reported them")
	f.StringArrayVar(&s.names, "name", nil, "only events of interfaces with this `NAME` inside the container")
	f.StringArrayVar(&s.veths, "veth", nil, "only events of interfaces with this `NAME` on the host")
}

// typePattern is what the types of events match, see package hub. No event would ever
// match another one.
const typePattern = "[a-z][a-z0-9_]{0,63}"

var typeForm = regexp.MustCompile("^" + typePattern + "$") //nolint:gochecknoglobals // it does not change

// check checks the values of the flags, and splits the types.
func (s *selection) check() error {
	if s.types != nil {
		s.types = strings.Split(strings.Join(s.types, ","), ",")
	}
	for _, typ := range s.types {
		if !typeForm.MatchString(typ) {
			return fmt.Errorf("--type %q: expected a type that matches %s, like %s", typ, typePattern, hub.TypeNetif)
		}
	}
	return nil
}

// filter returns the filter that the service applies. It matches each key by itself, so covers
// still has to check the targets of the events that pass.
func (s *selection) filter() (hub.Filter, error) {
	types, pools, ids := s.types, s.pools, s.ids
	links := len(s.targets) > 0
	var targetPools, targetIDs []string
	for _, t := range s.targets {
		targetPools, targetIDs = append(targetPools, t.pool), append(targetIDs, t.id)
		links = links && t.name != ""
	}
	if links && len(types) == 0 {
		types = []string{hub.TypeNetif}
	}
	if len(s.targets) <= maxAsked {
		if len(pools) == 0 {
			pools = targetPools
		}
		if len(ids) == 0 {
			ids = targetIDs
		}
	}
	var filter hub.Filter
	for _, key := range []struct {
		name   string
		values []string
	}{
		{"type", types}, {"action", s.actions}, {"pool", pools}, {"id", ids}, {"source", s.sources}, {"name", s.names}, {"veth", s.veths},
	} {
		if len(key.values) == 0 {
			continue
		}
		var err error
		if filter, err = filter.With(key.name, key.values...); err != nil {
			return filter, err
		}
	}
	return filter, nil
}

// covers reports whether an event that passed the filter is wanted.
func (s *selection) covers(e *hub.Event) bool {
	return len(s.targets) == 0 || slices.ContainsFunc(s.targets, func(t target) bool { return t.covers(e) })
}
