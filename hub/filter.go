package hub

import (
	"fmt"
	"slices"
	"strings"
)

// The keys of a filter, in the order of filterKeys.
const (
	keyType = iota
	keyAction
	keyPool
	keyID
	keySource
	keyName
	keyVeth
	keyCtName
	numKeys
)

// filterKeys returns the names of the keys, by index.
func filterKeys() [numKeys]string {
	return [numKeys]string{"type", "action", "pool", "id", "source", "name", "veth", OptionName}
}

// MaxFilterValues is how many values a filter may have over all of its keys.
const MaxFilterValues = 256

// Filter selects events: for each key of the filter, the event's value must be one of the listed
// ones. The zero Filter passes everything. Filters are immutable and may be shared. They share no
// memory with the strings they were made from.
type Filter struct {
	values [numKeys][]string // nil for any value
	total  int
}

// With returns f with one more condition: the key must have one of values. The keys are type, action,
// pool, id, source, and name, veth and ct_name for the options of these names. The error is an
// [InvalidFilterError] if the key is unknown or repeated, if there is no value, or if there are more
// than [MaxFilterValues] in all.
func (f Filter) With(key string, values ...string) (Filter, error) {
	keys := filterKeys()
	i := slices.Index(keys[:], key)
	switch {
	case i < 0:
		return f, &InvalidFilterError{Key: key, Reason: "unknown; the keys are " + strings.Join(keys[:], ", ")}
	case f.values[i] != nil:
		return f, &InvalidFilterError{Key: key, Reason: "named twice"}
	case len(values) == 0:
		return f, &InvalidFilterError{Key: key, Reason: "no value; leave the key out to let any pass"}
	case f.total+len(values) > MaxFilterValues:
		return f, &InvalidFilterError{Key: key, Reason: fmt.Sprintf("more than %d values in all", MaxFilterValues)}
	}
	unique := slices.Clone(values)
	slices.Sort(unique)
	unique = slices.Compact(unique)
	for j := range unique {
		unique[j] = strings.Clone(unique[j])
	}
	f.values[i] = unique
	f.total += len(f.values[i])
	return f, nil
}

// Empty reports whether f passes everything.
func (f *Filter) Empty() bool { return f.total == 0 }

// Match reports whether e passes.
func (f *Filter) Match(e *Event) bool { return f.total == 0 || f.matchKeys(&e.keys) }

func (f *Filter) matchKeys(keys *[numKeys]string) bool {
	for i := range f.values {
		if f.values[i] == nil {
			continue
		}
		if len(f.values[i]) == 1 {
			if f.values[i][0] != keys[i] {
				return false
			}
			continue
		}
		if _, ok := slices.BinarySearch(f.values[i], keys[i]); !ok {
			return false
		}
	}
	return true
}

// Values returns the values of a key that pass; nil if any value does.
func (f *Filter) Values(key string) []string {
	keys := filterKeys()
	if i := slices.Index(keys[:], key); i >= 0 {
		return slices.Clone(f.values[i])
	}
	return nil
}

// Keys returns the keys that f has a condition on.
func (f *Filter) Keys() []string {
	var named []string
	for i, key := range filterKeys() {
		if f.values[i] != nil {
			named = append(named, key)
		}
	}
	return named
}
