package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/osctl/eventd/hub"
)

// stateStopped is the state of a container that does not run.
const stateStopped = "stopped"

// rowFilter says which rows of a list are wanted.
type rowFilter struct {
	selection
	states    []string
	noStopped bool // containers that are stopped are not wanted
}

func (f *rowFilter) flags(cmd *cobra.Command, links bool) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.pools, "pool", nil, "only those of this `POOL`")
	flags.StringArrayVar(&f.ids, "id", nil, "only those of the containers with this `ID`")
	flags.StringArrayVar(&f.states, "state", nil, "only those in this `STATE`")
	if links {
		flags.StringArrayVar(&f.names, "name", nil, "only those with this `NAME` inside")
		flags.StringArrayVar(&f.veths, "veth", nil, "only those with this `NAME` on the host")
	}
}

// parse takes the arguments, which may name interfaces where links is set.
func (f *rowFilter) parse(args []string, links bool) (err error) {
	if f.targets, err = parseTargets(args); err != nil {
		return err
	}
	for _, t := range f.targets {
		if t.name != "" && !links {
			return fmt.Errorf("%q: expected a container as POOL:ID, like tank:101; interfaces are listed by the command list; "+slashHint, t)
		}
	}
	return nil
}

// asked returns what the service is asked to leave out.
func (f *rowFilter) asked() (hub.Filter, error) {
	byContainer := selection{pools: f.pools, ids: f.ids}
	byContainer.targets = slices.Clone(f.targets)
	for i := range byContainer.targets {
		byContainer.targets[i].name = ""
	}
	return byContainer.filter()
}

// rowFields are what a filter looks at in a row.
type rowFields struct{ pool, id, name, veth, state string }

// covers reports whether a row is wanted.
func (f *rowFilter) covers(row rowFields) bool {
	oneOf := func(values []string, value string) bool { return len(values) == 0 || slices.Contains(values, value) }
	return (!f.noStopped || row.state != stateStopped) && oneOf(f.pools, row.pool) && oneOf(f.ids, row.id) && oneOf(f.names, row.name) && oneOf(f.veths, row.veth) &&
		oneOf(f.states, row.state) && (len(f.targets) == 0 || slices.ContainsFunc(f.targets, func(t target) bool {
		return t.pool == row.pool && t.id == row.id && (t.name == "" || t.name == row.name)
	}))
}
