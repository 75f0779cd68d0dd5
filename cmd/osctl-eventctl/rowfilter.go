package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/osctl/eventd/cmd/internal/eventflags"
	"github.com/osctl/eventd/hub"
)

// stateStopped is the state of a stopped container.
const stateStopped = "stopped"

// rowFilter selects the rows of a list.
type rowFilter struct {
	selection
	states    []string
	noStopped bool // drop stopped containers
}

func (f *rowFilter) addFlags(cmd *cobra.Command, links bool) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.Pools, "pool", nil, "only rows of this `POOL`")
	flags.StringArrayVar(&f.IDs, "id", nil, "only rows of containers with this `ID`")
	flags.StringArrayVar(&f.states, "state", nil, "only rows in this `STATE`")
	if links {
		flags.StringArrayVar(&f.Names, "name", nil, "only interfaces with this `NAME` inside the container")
		flags.StringArrayVar(&f.Veths, "veth", nil, "only interfaces with this `NAME` on the host")
	}
}

// parse parses the arguments.
func (f *rowFilter) parse(args []string) (err error) {
	f.targets, err = parseTargets(args)
	return err
}

// resolve returns the filter with resolved targets. Targets may be interfaces if links is set.
func (f *rowFilter) resolve(names *nameTable, links bool) (*rowFilter, error) {
	resolved := *f
	var err error
	if resolved.targets, err = resolveTargets(f.targets, names); err != nil {
		return nil, err
	}
	for i, t := range resolved.targets {
		if t.name != "" && !links {
			return nil, fmt.Errorf("%q: expected a container as POOL:ID, like tank:101; use the command list for interfaces; "+slashHint, f.targets[i])
		}
	}
	return &resolved, nil
}

// serviceFilter returns the filter for the service. It passes more rows than covers does.
func (f *rowFilter) serviceFilter() (hub.Filter, error) {
	if len(f.Pools) > 0 || len(f.IDs) > 0 || len(f.targets) == 0 {
		filter := eventflags.Filter{Pools: f.Pools, IDs: f.IDs}
		return filter.Hub()
	}
	return poolsOf(f.targets)
}

// findUnknownFlags returns the values of the first flag with a value that matches no row. The targets
// and the flags before it restrict the rows.
func (f *rowFilter) findUnknownFlags(rows []rowFields) (unknown []string) {
	one := rowFilter{selection: selection{targets: f.targets}}
	for _, flag := range []struct {
		name   string
		given  []string
		values *[]string
	}{{"pool", f.Pools, &one.Pools}, {"id", f.IDs, &one.IDs}, {"name", f.Names, &one.Names}, {"veth", f.Veths, &one.Veths}} {
		for _, value := range flag.given {
			*flag.values = []string{value}
			if !slices.ContainsFunc(rows, one.covers) {
				unknown = append(unknown, fmt.Sprintf("--%s %q", flag.name, value))
			}
		}
		if len(unknown) > 0 {
			break
		}
		*flag.values = flag.given
	}
	return unknown
}

// rowFields are the fields of a row that a filter compares.
type rowFields struct{ pool, id, ctName, name, veth, state string }

// covers reports whether a resolved filter selects a row.
func (f *rowFilter) covers(row rowFields) bool {
	oneOf := func(values []string, value string) bool { return len(values) == 0 || slices.Contains(values, value) }
	if f.noStopped && row.state == stateStopped {
		return false
	}
	return oneOf(f.Pools, row.pool) && oneOf(f.IDs, row.id) && oneOf(f.Names, row.name) && oneOf(f.Veths, row.veth) &&
		oneOf(f.states, row.state) && (len(f.targets) == 0 || slices.ContainsFunc(f.targets, func(t target) bool {
		return t.pool == row.pool && t.id == row.id && (t.name == "" || t.name == row.name)
	}))
}
