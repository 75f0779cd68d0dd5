// Package eventflags has the flags that select events, for all programs: by their content ([Filter])
// and by time ([Moment]).
package eventflags

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/osctl/eventd/hub"
)

// Filter selects events, or rows of a list. A row passes if it has one of the values of each key;
// a key without values passes all.
type Filter struct {
	Types, Actions, Pools, IDs, Sources, Names, Veths, CtNames []string
}

// Add adds the flags that select events.
func (f *Filter) Add(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.Types, "type", nil, "only events of this `TYPE`, or of several types separated by commas")
	flags.StringArrayVar(&f.Actions, "action", nil, "only events with this `ACTION`, or with this state of a container")
	flags.StringArrayVar(&f.Pools, "pool", nil, "only events of containers of this `POOL`")
	flags.StringArrayVar(&f.IDs, "id", nil, "only events of the containers with this `ID`")
	flags.StringArrayVar(&f.Sources, "source", nil, "only events from this `SOURCE`: netlink or cgroup (seen by the service), or the reporter's unit or uid:N")
	flags.StringArrayVar(&f.Names, "name", nil, "only events of interfaces with this `NAME` inside the container")
	flags.StringArrayVar(&f.Veths, "veth", nil, "only events of interfaces with this `NAME` on the host")
	flags.StringArrayVar(&f.CtNames, "ct-name", nil, "only state and ct_netif events of containers that had this `NAME`")
}

// typePattern matches all types of events, see package hub.
const typePattern = "[a-z][a-z0-9_]{0,63}"

var typeForm = regexp.MustCompile("^" + typePattern + "$") //nolint:gochecknoglobals // it does not change

// Check splits the types at commas, and checks them.
func (f *Filter) Check() error {
	if len(f.Types) > 0 {
		f.Types = strings.Split(strings.Join(f.Types, ","), ",")
	}
	for _, typ := range f.Types {
		if !typeForm.MatchString(typ) {
			return fmt.Errorf("--type %q: expected a type that matches %s, like %s", typ, typePattern, hub.TypeNetif)
		}
	}
	return nil
}

// Hub returns the filter for the hub and the service. The error is a [hub.InvalidFilterError].
func (f *Filter) Hub() (filter hub.Filter, err error) {
	for _, key := range []struct {
		name   string
		values []string
	}{
		{"type", f.Types},
		{"action", f.Actions},
		{"pool", f.Pools},
		{"id", f.IDs},
		{"source", f.Sources},
		{"name", f.Names},
		{"veth", f.Veths},
		{hub.OptionName, f.CtNames},
	} {
		if len(key.values) == 0 {
			continue
		}
		if filter, err = filter.With(key.name, key.values...); err != nil {
			return filter, err
		}
	}
	return filter, nil
}

// Match reports whether an event passes. Callers use it if they asked the service for more events.
func (f *Filter) Match(e *hub.Event) bool {
	for _, key := range []struct {
		wanted []string
		value  string
	}{
		{f.Types, e.Type},
		{f.Actions, e.Action},
		{f.Pools, e.Pool},
		{f.IDs, e.ID},
		{f.Sources, e.Source},
		{f.Names, e.Options.Text("name")},
		{f.Veths, e.Options.Text("veth")},
		{f.CtNames, e.Options.Text(hub.OptionName)},
	} {
		if len(key.wanted) > 0 && !slices.Contains(key.wanted, key.value) {
			return false
		}
	}
	return true
}
