package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/osctl/eventd/cmd/internal/eventflags"
	"github.com/osctl/eventd/hub"
)

// target is a container or one of its interfaces, as given on the command line. Before resolve, id
// may also be the container's name or the beginning of its id.
type target struct {
	pool, id, name string // name of the interface inside; "" for the container itself
}

// slashHint ends an error that a slash in an id may have caused.
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

// resolve returns the target with the container's id in place of its name or the beginning of its
// id. If there is no such container yet, or no table, it returns the target itself. A target that
// looks like an interface may be a container whose name has a slash, as names of pods have. The error
// is an [ambiguousError].
func (t target) resolve(n *nameTable) (target, error) {
	if n == nil {
		return t, nil
	}
	if id, ok := n.owners[containerRef{t.pool, t.id + "/" + t.name}]; ok && t.name != "" {
		return target{t.pool, id, ""}, nil
	}
	id, err := n.resolve(t.pool, t.id)
	return target{t.pool, cmp.Or(id, t.id), t.name}, err
}

// resolveTargets resolves all targets.
func resolveTargets(targets []target, n *nameTable) ([]target, error) {
	resolved := make([]target, len(targets))
	for i, t := range targets {
		var err error
		if resolved[i], err = t.resolve(n); err != nil {
			return nil, err
		}
	}
	return resolved, nil
}

// poolsOf returns the filter for the pools of the targets.
func poolsOf(targets []target) (filter hub.Filter, err error) {
	if len(targets) == 0 || len(targets) > maxFilterValues {
		return filter, nil
	}
	var pools []string
	for _, t := range targets {
		pools = append(pools, t.pool)
	}
	return filter.With("pool", pools...)
}

// covers reports whether an event belongs to a resolved target. A rename belongs to both names.
func (t target) covers(e *hub.Event) bool {
	if e.Pool != t.pool || e.ID != t.id {
		return false
	}
	return t.name == "" || e.Type == hub.TypeNetif && (e.Options.Text("name") == t.name || e.Options.Text("new_name") == t.name)
}

// nameHelp is the part of the help that all commands share.
const nameHelp = `The ID of POOL:ID may also be the name of the container, or the first 4 or more
characters of its id. An id takes precedence over a name.`

// maxFilterValues limits the values of one key in a filter for the service.
const maxFilterValues = 64

// selection selects events, or rows of a list.
type selection struct {
	eventflags.Filter

	targets []target   // any may match; none for all
	names   *nameTable // resolves the targets; nil if all are ids
}

// setNames sets the table that resolves the targets. It sets none if each target is the id of a
// listed container, because such a target never names another container.
func (s *selection) setNames(names *nameTable) error {
	resolved, err := resolveTargets(s.targets, names)
	if err != nil {
		return err
	}
	s.names = nil
	for i, t := range resolved {
		if _, known := names.names[containerRef{t.pool, t.id}]; !known || t != s.targets[i] {
			s.names = names
		}
	}
	return nil
}

// filterWithNames returns the service's filter if names have to be resolved. It also passes events
// that change names.
func (s *selection) filterWithNames() (hub.Filter, error) {
	filter, err := poolsOf(s.targets)
	if err == nil && len(s.Types) > 0 {
		filter, err = filter.With("type", append(slices.Clone(s.Types), hub.TypeInfo, hub.TypeDB)...)
	}
	return filter, err
}

// filter returns the filter for the service. The service matches each key separately, so covers has
// to check the targets of passing events.
func (s *selection) filter() (hub.Filter, error) {
	if s.names != nil {
		return s.filterWithNames()
	}
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
	if len(s.targets) <= maxFilterValues {
		if len(asked.Pools) == 0 {
			asked.Pools = targetPools
		}
		if len(asked.IDs) == 0 {
			asked.IDs = targetIDs
		}
	}
	return asked.Hub()
}

// matches reports whether the selection contains an event that passed the filter, and updates the
// names. An event that changes a name, such as a removal, matches by the old and by the new name.
func (s *selection) matches(e *hub.Event) (wanted bool, err error) {
	if s.names == nil {
		return s.covers(e), nil
	}
	if !s.Match(e) {
		s.names.fold(e)
		return false, nil
	}
	if wanted, err = s.coversByName(e); err != nil {
		return false, err
	}
	s.names.fold(e)
	if wanted {
		return true, nil
	}
	return s.coversByName(e)
}

// coversByName is covers for targets that have to be resolved. If the event itself names its
// container, that name counts.
func (s *selection) coversByName(e *hub.Event) (bool, error) {
	name := e.Options.Text(hub.OptionName)
	for _, t := range s.targets {
		if e.Pool != t.pool {
			continue
		}
		resolved, err := t.resolve(s.names)
		if err != nil || resolved.covers(e) {
			return err == nil, err
		}
		named := target{t.pool, e.ID, t.name}
		if _, id := s.names.names[containerRef{t.pool, t.id}]; name == t.id && !id && named.covers(e) {
			return true, nil
		}
	}
	return false, nil
}

// covers reports whether an event belongs to one of the targets, which are ids.
func (s *selection) covers(e *hub.Event) bool {
	return len(s.targets) == 0 || slices.ContainsFunc(s.targets, func(t target) bool { return t.covers(e) })
}
