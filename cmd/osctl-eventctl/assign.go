package main

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
	"strings"

	"github.com/osctl/eventd/hub"
)

// parseAssignments reads KEY=TEXT and KEY:=JSON arguments.
func parseAssignments(args []string) (hub.Options, error) {
	var options hub.Options
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		key, typed := strings.CutSuffix(key, ":")
		if !ok || key == "" {
			return nil, fmt.Errorf("argument %q: expected KEY=TEXT, like pool=tank, or KEY:=JSON, like init_pid:=123", arg)
		}
		option := hub.Option{Name: key, Value: hub.String(value)}
		if typed {
			var err error
			if option.Value, err = fromJSON(value); err != nil {
				return nil, fmt.Errorf("argument %q: %w", arg, err)
			}
		}
		options = append(options, option)
	}
	return options, nil
}

// fromJSON turns JSON into a value: whole numbers become x (or t), others d, a list of
// strings as, any other list av, an object a{sv}.
func fromJSON(text string) (hub.Value, error) {
	var v any
	if err := decodeJSON([]byte(text), &v); err != nil {
		return hub.Value{}, err
	}
	return toValue(v)
}

// decodeJSON decodes text that is one JSON value, and nothing after it.
func decodeJSON(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	end := d.InputOffset()
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("not JSON: there is more after the end of it: %.20q", text[end:])
	}
	return nil
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
	return hub.Value{}, errors.New("D-Bus has no null")
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
		return hub.Value{}, fmt.Errorf("number %s is beyond what a double can hold", n)
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
