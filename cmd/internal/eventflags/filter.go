// Package eventflags has the flags by which all programs ask for events: which ones ([Filter]), and
// since when ([Moment]).
package eventflags

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/osctl/eventd/hub"
)

// Filter says which events, or rows of a list, are wanted: those with any of the values of each
// key that has some.
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

// typePattern is what the types of events match, see package hub. No event would ever
// match another one.
const typePattern = "[a-z][a-z0-9_]{0,63}"

var typeForm = regexp.MustCompile("^" + typePattern + "$") //nolint:gochecknoglobals // it does not change

// Check checks the values of the flags, and splits the types.
func (f *Filter) Check() error {
	if f.Types != nil {
		f.Types = strings.Split(strings.Join(f.Types, ","), ",")
	}
	for _, typ := range f.Types {
		if !typeForm.MatchString(typ) {
			return fmt.Errorf("--type %q: expected a type that matches %s, like %s", typ, typePattern, hub.TypeNetif)
		}
	}
	return nil
}

// Hub returns the filter as the hub and the service take it. The error is a [hub.InvalidFilterError].
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

// Match reports whether an event passes, for a caller that asked for more.
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
