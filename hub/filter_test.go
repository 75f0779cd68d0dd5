package hub

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func netif(tb testing.TB) *Event {
	tb.Helper()
	e, err := NewEvent("ct_netif", opts("pool", "tank", "id", "101", "action", "up", "name", "eth0", "veth", "veth1", "ct_name", "web"), SourceNetlink)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func TestFilterKeys(t *testing.T) {
	e := netif(t)
	for key, value := range map[string]string{
		"type": "ct_netif", "action": "up", "pool": "tank", "id": "101", "source": "netlink", "name": "eth0", "veth": "veth1",
		"ct_name": "web",
	} {
		for _, c := range []struct {
			values []string
			want   bool
		}{
			{[]string{value}, true},
			{[]string{"other"}, false},
			{[]string{""}, false},
			{[]string{value + "x"}, false},
			{[]string{"zz", value, "a"}, true},
			{[]string{value, value}, true},
			{[]string{"zz", "b", "a"}, false},
		} {
			f, err := Filter{}.With(key, c.values...)
			if err != nil {
				t.Fatal(err)
			}
			if got := f.Match(e); got != c.want {
				t.Errorf("%s in %q matches: %v, want %v", key, c.values, got, c.want)
			}
			if f.Empty() || !slices.Equal(f.Keys(), []string{key}) {
				t.Errorf("filter on %s: Empty %v, Keys %q", key, f.Empty(), f.Keys())
			}
		}
	}
}

func TestFilterIsConjunction(t *testing.T) {
	e := netif(t)
	var all Filter
	pairs := []string{"type", "ct_netif", "action", "up,down", "pool", "tank,dozer", "id", "101", "source", "netlink", "name", "eth0", "veth", "veth0,veth1", "ct_name", "web"}
	all = only(t, pairs...)
	if !all.Match(e) {
		t.Error("the filter of all keys does not match")
	}
	for i := 1; i < len(pairs); i += 2 {
		changed := slices.Clone(pairs)
		changed[i] = "other"
		if f := only(t, changed...); f.Match(e) {
			t.Errorf("matches although %s differs", pairs[i-1])
		}
	}
	all.Values("pool")[0] = "changed" // the copy
	if got := all.Values("pool"); !slices.Equal(got, []string{"dozer", "tank"}) {
		t.Errorf("values of pool are %q", got)
	}
	if all.Values("bogus") != nil || (&Filter{}).Values("pool") != nil {
		t.Error("Values returns values for a key without a condition")
	}
	if got := strings.Join(all.Keys(), " "); got != "type action pool id source name veth ct_name" {
		t.Errorf("keys are %q", got)
	}
}

func TestEmptyFilter(t *testing.T) {
	var f Filter
	if !f.Empty() || !f.Match(netif(t)) || !f.Match(newEvent(t, "open")) || f.Keys() != nil {
		t.Error("the zero filter does not pass everything")
	}
	// "" matches events without the option, or with an empty one.
	noPool := only(t, "pool", "")
	if noPool.Match(netif(t)) || !noPool.Match(newEvent(t, "open")) || !noPool.Match(newEvent(t, "open", opt("pool", ""))) {
		t.Error("the empty value does not match exactly the events without a pool")
	}
}

func TestFilterErrors(t *testing.T) {
	many := make([]string, MaxFilterValues+1)
	for i := range many {
		many[i] = strconv.Itoa(i)
	}
	pool := only(t, "pool", "tank")
	for name, c := range map[string]struct {
		filter Filter
		key    string
		values []string
		reason string
	}{
		"unknown":          {Filter{}, "ifindex", []string{"1"}, "unknown; the keys are type, action, pool, id, source, name, veth"},
		"upper case":       {Filter{}, "Type", []string{"x"}, "unknown; "},
		"empty key":        {Filter{}, "", []string{"x"}, "unknown; "},
		"twice":            {pool, "pool", []string{"tank"}, "named twice"},
		"no value":         {Filter{}, "type", nil, "no value; "},
		"too many":         {Filter{}, "type", many, "more than 256 values in all"},
		"too many with it": {pool, "type", many[1:], "more than 256 values in all"},
	} {
		f, err := c.filter.With(c.key, c.values...)
		var invalid *InvalidFilterError
		if !errors.As(err, &invalid) || invalid.Key != c.key || !strings.HasPrefix(invalid.Reason, c.reason) {
			t.Errorf("%s: error is %v, want reason %q", name, err, c.reason)
			continue
		}
		if want := fmt.Sprintf("filter key %q: %s", c.key, invalid.Reason); err.Error() != want {
			t.Errorf("%s: message is %q, want %q", name, err, want)
		}
		if !slices.Equal(f.Keys(), c.filter.Keys()) {
			t.Errorf("%s: an error changed the filter", name)
		}
	}
	if _, err := (Filter{}).With("id", many[1:]...); err != nil {
		t.Errorf("%d values: %v", MaxFilterValues, err)
	}
}

func TestFilterIsImmutable(t *testing.T) {
	values := []string{"b", "a"}
	base := only(t, "type", "x")
	one, err := base.With("pool", values...)
	if err != nil {
		t.Fatal(err)
	}
	if values[0] != "b" {
		t.Error("the caller's values were sorted")
	}
	values[1] = "changed"
	if !slices.Equal(one.Values("pool"), []string{"a", "b"}) {
		t.Error("the filter shares the caller's values")
	}
	if len(base.Keys()) != 1 {
		t.Error("With changed its receiver")
	}
}
