package eventjson

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

// drawType draws a D-Bus type with at most depth nested containers.
func drawType(t *rapid.T, depth int) string {
	const basics = "ybnqiuxtdsog"
	basic := func() string { return string(basics[rapid.IntRange(0, len(basics)-1).Draw(t, "basic")]) }
	if depth == 0 {
		return basic()
	}
	switch rapid.IntRange(0, 5).Draw(t, "container") {
	case 0, 1:
		return "a" + drawType(t, depth-1)
	case 2:
		return "a{" + basic() + drawType(t, depth-1) + "}"
	case 3:
		return "(" + drawType(t, depth-1) + drawType(t, depth-1) + ")"
	case 4:
		return "v"
	}
	return basic()
}

// cutType splits off the first complete type.
func cutType(types string) (first, rest string) {
	switch types[0] {
	case 'a':
		if types[1] != '{' {
			first, rest = cutType(types[1:])
			return "a" + first, rest
		}
		first, rest = cutType(types[3:])
		return types[:3] + first + "}", rest[1:]
	case '(':
		at := 1
		for types[at] != ')' {
			first, _ = cutType(types[at:])
			at += len(first)
		}
		return types[:at+1], types[at+1:]
	}
	return types[:1], types[1:]
}

// drawValue draws a value of a type with at most depth nested containers.
func drawValue(t *rapid.T, typ string, depth int) hub.Value {
	switch typ[0] {
	case 'v':
		inner := drawType(t, min(depth-1, 4))
		if inner[0] == 'v' && depth < 2 {
			inner = "s"
		}
		return hub.Variant(drawValue(t, inner, depth-1))
	case '(':
		var fields []hub.Value
		for types := typ[1 : len(typ)-1]; types != ""; {
			var field string
			field, types = cutType(types)
			fields = append(fields, drawValue(t, field, depth-1))
		}
		return hub.Struct(fields)
	case 'a':
		if typ == "ay" {
			return hub.Bytes([]byte(rapid.StringN(0, 3, -1).Draw(t, "bytes")))
		}
		var items []hub.Value
		n := rapid.IntRange(0, 3).Draw(t, "items")
		if typ[1] != '{' {
			for range n {
				items = append(items, drawValue(t, typ[1:], depth-1))
			}
			return hub.Array(typ[1:], items)
		}
		key, elem := typ[2:3], typ[3:len(typ)-1]
		seen := map[string]bool{}
		for range n {
			k := drawValue(t, key, 0)
			if text := string(k.AppendJSON(nil)); !seen[text] {
				seen[text] = true
				items = append(items, k, drawValue(t, elem, depth-1))
			}
		}
		return hub.Dict(key, elem, items)
	}
	return drawBasic(t, typ[0])
}

func drawBasic(t *rapid.T, code byte) hub.Value {
	text := rapid.SampledFrom([]string{"", "a", "1", "NaN", "\u2028\U0001f600\ufffd", `\ud800"`, "<&>"}).Draw(t, "text")
	bits := rapid.OneOf(rapid.Just[uint64](0), rapid.Just[uint64](1), rapid.Uint64()).Draw(t, "bits")
	switch code {
	case 'b':
		return hub.Bool(bits&1 != 0)
	case 'y':
		return hub.Number(hub.KindByte, bits&0xff)
	case 'n':
		return hub.Number(hub.KindInt16, uint64(int64(int16(bits))))
	case 'q':
		return hub.Number(hub.KindUint16, bits&0xffff)
	case 'i':
		return hub.Int32(int32(bits))
	case 'u':
		return hub.Uint32(uint32(bits))
	case 'x':
		return hub.Int64(int64(bits))
	case 't':
		return hub.Uint64(bits)
	case 'd':
		f := rapid.OneOf(rapid.SampledFrom([]float64{0, 1, math.Inf(1), math.Inf(-1), math.NaN(), 1e300}), rapid.Float64()).Draw(t, "double")
		return hub.Number(hub.KindDouble, math.Float64bits(f))
	case 'o':
		return hub.Path("/a")
	case 'g':
		return hub.TypeOf("as")
	}
	return hub.String(text)
}

// maxLevels is how deep lists and objects may be nested in the JSON of an option.
const maxLevels = 4

// levels returns how deep lists and objects are nested in a decoded value.
func levels(v any) (n int) {
	switch v := v.(type) {
	case []any:
		for _, inner := range v {
			n = max(n, levels(inner))
		}
	case map[string]any:
		for _, inner := range v {
			n = max(n, levels(inner))
		}
	default:
		return 0
	}
	return 1 + n
}

// TestRoundTrip checks that report --batch accepts what monitor --json prints, and that the event
// stays the same. An option that is nested more than 4 deep is refused.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var options hub.Options
		for i := range rapid.IntRange(1, 3).Draw(t, "options") {
			depth := rapid.IntRange(0, maxLevels).Draw(t, "depth")
			options = append(options, hub.Option{Name: fmt.Sprint("o", i), Value: drawValue(t, drawType(t, depth), hub.MaxNesting)})
		}
		event, err := hub.NewEvent("x", options, "uid:0")
		if err != nil {
			t.Skip(err) // the drawn type is too deep
		}
		printed := event.AppendJSON(nil, "e")
		parsed, epoch, err := ParseEvent(printed)
		if levels(decoded(t, printed).(map[string]any)["opts"]) > 1+maxLevels { // a variant had more containers
			if err == nil || !strings.Contains(err.Error(), "deeper nesting") {
				t.Fatalf("%s: %v", printed, err)
			}
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", printed, err)
		}
		if again := parsed.AppendJSON(nil, epoch); !reflect.DeepEqual(decoded(t, printed), decoded(t, again)) {
			t.Fatalf("%s became %s", printed, again)
		}
		read, err := ParseReport(printed)
		if err != nil {
			t.Fatalf("%s: %v", printed, err)
		}
		again, err := hub.NewEvent(read.Type, read.Options, "uid:0")
		if err != nil {
			t.Fatalf("%s: %v", printed, err)
		}
		if err := new(client.Batch).Add(read); err != nil {
			t.Fatalf("%s: %v", printed, err)
		}
		if printed, again := decoded(t, printed), decoded(t, again.AppendJSON(nil, "e")); !reflect.DeepEqual(printed, again) {
			t.Fatalf("%v became %v", printed, again)
		}
	})
}

func decoded(t *rapid.T, text []byte) (v any) {
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}
