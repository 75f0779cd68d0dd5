package eventjson

import (
	"encoding/json"
	"iter"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/osctl/eventd/hub"
)

// jsonType is the D-Bus type that JSON values are given where variants would nest too
// deeply: a container inside a variant counts twice.
type jsonType struct {
	code  byte        // s, b, x, t, d or v; or a for an array, { for a dict, ( for a struct
	inner []*jsonType // of an array or a dict the one type of what it holds, of a struct those of its fields
}

// String returns the type in the D-Bus alphabet.
func (t *jsonType) String() string {
	var inner strings.Builder
	for _, field := range t.inner {
		inner.WriteString(field.String())
	}
	switch t.code {
	case 'a':
		return "a" + inner.String()
	case '{':
		return "a{s" + inner.String() + "}"
	case '(':
		return "(" + inner.String() + ")"
	}
	return string(t.code)
}

// commonType returns the type that all the values can have, with as few variants on the
// way to any of them as possible. An empty list is one of strings.
func commonType(values []any) *jsonType {
	code := byte(0)
	for _, v := range values {
		code = commonCode(code, codeOf(v))
	}
	switch code {
	case 0, 'N':
		code = 's'
	case '0':
		code = 'x'
	case 'a':
		return commonList(values)
	case '{':
		var inside []any
		for _, v := range values {
			inside = slices.AppendSeq(inside, maps.Values(v.(map[string]any)))
		}
		return &jsonType{'{', []*jsonType{commonType(inside)}}
	}
	return &jsonType{code: code}
}

// codeOf returns the code of the type that one value has; '0' for an integer that x and t
// can hold, 'N' for a text that is also what [hub.Value.AppendJSON] makes of a double that
// JSON has no number for.
func codeOf(v any) byte {
	switch v := v.(type) {
	case bool:
		return 'b'
	case json.Number:
		number, _ := toNumber(v)
		switch {
		case number.Kind() == hub.KindInt64 && number.Int() >= 0:
			return '0'
		case number.Kind() == hub.KindInvalid: // beyond a double: of tells
			return 'd'
		}
		return number.Type()[0]
	case []any:
		return 'a'
	case map[string]any:
		return '{'
	case string:
		if v == "NaN" || v == "+Inf" || v == "-Inf" {
			return 'N'
		}
	}
	return 's'
}

// commonCode returns the code of a type that values of two can have; 0 is that of none.
func commonCode(a, b byte) byte {
	takes := func(a, b byte) bool {
		return a == b || b == 0 || b == '0' && (a == 'x' || a == 't') || b == 'N' && (a == 's' || a == 'd')
	}
	switch {
	case takes(a, b):
		return a
	case takes(b, a):
		return b
	}
	return 'v'
}

// commonList returns the type of lists: an array where their elements have one type, else
// a struct where the lists are equally long.
func commonList(lists []any) *jsonType {
	var elements []any
	fields := make([][]any, len(lists[0].([]any)))
	for _, v := range lists {
		list := v.([]any)
		elements = append(elements, list...)
		if len(list) != len(fields) {
			fields = nil
		}
		for i := range fields {
			fields[i] = append(fields[i], list[i])
		}
	}
	array := &jsonType{'a', []*jsonType{commonType(elements)}}
	if len(fields) == 0 || !strings.Contains(array.String(), "v") {
		return array
	}
	record := &jsonType{code: '('}
	for _, field := range fields {
		record.inner = append(record.inner, commonType(field))
	}
	return record
}

// of returns a value as one of the type, which it can have.
func (t *jsonType) of(v any) (hub.Value, error) {
	switch t.code {
	case 'v':
		inner, err := commonType([]any{v}).of(v)
		return hub.Variant(inner), err
	case 'a', '(':
		return t.ofList(v.([]any))
	case '{':
		return t.ofObject(v.(map[string]any))
	case 'd':
		if text, ok := v.(string); ok {
			f, err := strconv.ParseFloat(text, 64)
			return hub.Number(hub.KindDouble, math.Float64bits(f)), err
		}
	case 't':
		if n, ok := v.(json.Number); ok {
			u, err := strconv.ParseUint(n.String(), 10, 64)
			return hub.Uint64(u), err
		}
	}
	return toValue(v)
}

func (t *jsonType) ofList(list []any) (hub.Value, error) {
	items := make([]hub.Value, len(list))
	for i, item := range list {
		as := t.inner[0]
		if t.code == '(' {
			as = t.inner[i]
		}
		var err error
		if items[i], err = as.of(item); err != nil {
			return hub.Value{}, err
		}
	}
	if t.code == '(' {
		return hub.Struct(items), nil
	}
	return hub.Array(t.inner[0].String(), items), nil
}

func (t *jsonType) ofObject(object map[string]any) (hub.Value, error) {
	var items []hub.Value
	for _, key := range slices.Sorted(maps.Keys(object)) {
		value, err := t.inner[0].of(object[key])
		if err != nil {
			return hub.Value{}, err
		}
		items = append(items, hub.String(key), value)
	}
	return hub.Dict("s", t.inner[0].String(), items), nil
}

// jsonDepth returns how many lists and objects are nested in a value, itself included; it
// counts at most to limit+1.
func jsonDepth(v any, limit int) int {
	var inside iter.Seq[any]
	switch v := v.(type) {
	case []any:
		inside = slices.Values(v)
	case map[string]any:
		inside = maps.Values(v)
	default:
		return 0
	}
	deepest := 0
	if limit > 0 {
		for item := range inside {
			deepest = max(deepest, jsonDepth(item, limit-1))
		}
	}
	return 1 + deepest
}
