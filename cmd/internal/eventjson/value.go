// Package eventjson parses events from JSON, as [hub.Event.AppendJSON] or people write them.
package eventjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/osctl/eventd/hub"
)

// Value parses the value of an option from JSON. null becomes the zero Value, which means that the
// option is missing.
func Value(text string) (hub.Value, error) {
	v, err := decodeJSON([]byte(text))
	if err != nil || v == nil {
		return hub.Value{}, err
	}
	return optionValue(v)
}

// optionValue converts decoded JSON to the value of an option. An integer becomes x (or t), another
// number d, a list of strings as, any other list av, an object a{sv}. Keys whose value is null are
// dropped. Lists and objects may be nested 4 deep: each is a container with variants in it, and an
// event has at most [hub.MaxNesting].
func optionValue(v any) (hub.Value, error) {
	dropNulls(v)
	return toValue(v)
}

// dropNulls removes the keys whose value is null from all objects in a decoded value.
func dropNulls(v any) {
	switch v := v.(type) {
	case map[string]any:
		maps.DeleteFunc(v, func(_ string, inner any) bool {
			dropNulls(inner)
			return inner == nil
		})
	case []any:
		for _, inner := range v {
			dropNulls(inner)
		}
	}
}

// decodeJSON decodes text that consists of one JSON value. Unlike encoding/json it refuses
// duplicate keys, invalid UTF-8 and half a surrogate pair.
func decodeJSON(text []byte) (v any, err error) {
	if !utf8.Valid(text) {
		return nil, errors.New("not JSON: it is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	end := d.InputOffset()
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("not JSON: text follows the end of the value: %.20q", text[end:])
	}
	if half := findHalfSurrogate(text); half != "" {
		return nil, fmt.Errorf("not text: %s is half of a surrogate pair", half)
	}
	if key, found := findDuplicateKey(text); found {
		return nil, fmt.Errorf("key %.64q comes twice in one object", key)
	}
	return v, nil
}

// findHalfSurrogate returns the first escape in JSON text that is one half of a surrogate pair
// without the other half, "" if there is none.
func findHalfSurrogate(text []byte) string {
	unit := func(at int) rune { // the UTF-16 unit of the escape at a position, 0 for none
		if at+6 > len(text) || text[at] != '\\' || text[at+1] != 'u' {
			return 0
		}
		u, _ := strconv.ParseUint(string(text[at+2:at+6]), 16, 16)
		return rune(u)
	}
	for at := 0; at < len(text); at++ {
		if text[at] != '\\' {
			continue
		}
		if first := unit(at); utf16.IsSurrogate(first) {
			if utf16.DecodeRune(first, unit(at+6)) == utf8.RuneError {
				return string(text[at : at+6])
			}
			at += 6
		}
		at++ // skip the escaped character, which may be a backslash
	}
	return ""
}

// findDuplicateKey finds a key that comes twice in one object of JSON text.
func findDuplicateKey(text []byte) (key string, found bool) {
	d := json.NewDecoder(bytes.NewReader(text))
	var open []map[string]bool // the keys of each open object; nil for an array
	expectKey := false         // the next token is a key, or the end of an object
	for {
		token, err := d.Token()
		if err != nil {
			return "", false // the end
		}
		switch name, text := token.(string); {
		case token == json.Delim('{'):
			open, expectKey = append(open, map[string]bool{}), true
			continue
		case token == json.Delim('['):
			open, expectKey = append(open, nil), false
			continue
		case token == json.Delim('}'), token == json.Delim(']'):
			open = open[:len(open)-1]
		case expectKey && text:
			keys := open[len(open)-1]
			if keys[name] {
				return name, true
			}
			keys[name], expectKey = true, false
			continue
		}
		expectKey = len(open) > 0 && open[len(open)-1] != nil
	}
}

func toValue(v any) (hub.Value, error) {
	switch v := v.(type) {
	case string:
		return hub.String(v), nil
	case bool:
		return hub.Bool(v), nil
	case json.Number:
		return toNumber(v)
	case []any:
		return toArray(v)
	case map[string]any:
		var items []hub.Value
		for _, key := range slices.Sorted(maps.Keys(v)) {
			value, err := toValue(v[key])
			if err != nil {
				return value, err
			}
			items = append(items, hub.String(key), hub.Variant(value))
		}
		return hub.Dict("s", "v", items), nil
	}
	return hub.Value{}, errors.New("D-Bus has no null, so a list cannot contain one")
}

func toNumber(n json.Number) (hub.Value, error) {
	if i, err := n.Int64(); err == nil {
		return hub.Int64(i), nil
	}
	if u, err := strconv.ParseUint(n.String(), 10, 64); err == nil {
		return hub.Uint64(u), nil
	}
	f, err := n.Float64()
	if err != nil {
		return hub.Value{}, fmt.Errorf("number %s exceeds the range of a double", n)
	}
	return hub.Number(hub.KindDouble, math.Float64bits(f)), nil
}

func toArray(list []any) (hub.Value, error) {
	items, texts := make([]hub.Value, len(list)), true
	for i, v := range list {
		var err error
		if items[i], err = toValue(v); err != nil {
			return hub.Value{}, err
		}
		texts = texts && items[i].Kind() == hub.KindString
	}
	if texts {
		return hub.Array("s", items), nil
	}
	for i := range items {
		items[i] = hub.Variant(items[i])
	}
	return hub.Array("v", items), nil
}
