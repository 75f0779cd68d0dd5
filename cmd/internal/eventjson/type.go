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

// jsonType is a D-Bus type for JSON values with as few variants as possible. optionValue uses it
// where variants would nest too deeply, because a container inside a variant counts twice.
type jsonType struct {
	code  byte        // s, b, x, t, d or v; or a for an array, { for a dict, ( for a struct
	inner []*jsonType // the element type of an array or a dict, or the field types of a struct
}

// String returns the D-Bus signature.
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

// commonType returns a type that fits all values, with as few variants as possible. An empty list
// becomes a list of strings.
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

// codeOf returns the type code of one value; '0' for an integer that fits both x and t, 'N' for a
// text that [hub.Value.AppendJSON] also writes for a double without a JSON number, such as NaN.
func codeOf(v any) byte {
	switch v := v.(type) {
	case bool:
		return 'b'
	case json.Number:
		number, _ := toNumber(v)
		switch {
		case number.Kind() == hub.KindInt64 && number.Int() >= 0:
			return '0'
		case number.Kind() == hub.KindInvalid: // exceeds a double: convert returns the error
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

// commonCode returns a type code that fits values of both codes; 0 is the code of no value.
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

// commonList returns the type of lists: an array if their elements share a type, otherwise a struct
// if the lists have the same length.
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

// convert converts a decoded value to the type, which must fit it.
func (t *jsonType) convert(v any) (hub.Value, error) {
	switch t.code {
	case 'v':
		inner, err := commonType([]any{v}).convert(v)
		return hub.Variant(inner), err
	case 'a', '(':
		return t.convertList(v.([]any))
	case '{':
		return t.convertObject(v.(map[string]any))
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

func (t *jsonType) convertList(list []any) (hub.Value, error) {
	items := make([]hub.Value, len(list))
	for i, item := range list {
		as := t.inner[0]
		if t.code == '(' {
			as = t.inner[i]
		}
		var err error
		if items[i], err = as.convert(item); err != nil {
			return hub.Value{}, err
		}
	}
	if t.code == '(' {
		return hub.Struct(items), nil
	}
	return hub.Array(t.inner[0].String(), items), nil
}

func (t *jsonType) convertObject(object map[string]any) (hub.Value, error) {
	var items []hub.Value
	for _, key := range slices.Sorted(maps.Keys(object)) {
		value, err := t.inner[0].convert(object[key])
		if err != nil {
			return hub.Value{}, err
		}
		items = append(items, hub.String(key), value)
	}
	return hub.Dict("s", t.inner[0].String(), items), nil
}

// jsonDepth returns the nesting depth of lists and objects in a value, itself included. It stops
// counting at limit+1.
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
