package wire

import (
	"math"
	"strings"

	"pgregory.net/rapid"

	"github.com/osctl/eventd/hub"
)

// drawType draws a complete type of at most depth nested containers.
func drawType(t *rapid.T, depth int) string {
	basic := rapid.SampledFrom(strings.Split("ybnqiuxtdsog", ""))
	if depth == 0 {
		return basic.Draw(t, "type")
	}
	switch rapid.IntRange(0, 5).Draw(t, "container") {
	case 0:
		return "a" + drawType(t, depth-1)
	case 1:
		return "a{" + basic.Draw(t, "key") + drawType(t, depth-1) + "}"
	case 2:
		var b strings.Builder
		for range rapid.IntRange(1, 3).Draw(t, "fields") {
			b.WriteString(drawType(t, depth-1))
		}
		return "(" + b.String() + ")"
	case 3:
		return "v"
	default:
		return basic.Draw(t, "type")
	}
}

// drawValue draws a value of a type. The keys of a dict are distinct, also as Go
// values.
func drawValue(t *rapid.T, typ string, depth int) hub.Value {
	bits := rapid.Uint64()
	switch typ[0] {
	case 'b':
		return hub.Bool(rapid.Bool().Draw(t, "b"))
	case 'y':
		return hub.Number(hub.KindByte, bits.Draw(t, "y")&0xff)
	case 'n':
		return hub.Number(hub.KindInt16, uint64(int64(rapid.Int16().Draw(t, "n"))))
	case 'q':
		return hub.Number(hub.KindUint16, bits.Draw(t, "q")&0xffff)
	case 'i':
		return hub.Int32(rapid.Int32().Draw(t, "i"))
	case 'u':
		return hub.Uint32(rapid.Uint32().Draw(t, "u"))
	case 'x':
		return hub.Int64(rapid.Int64().Draw(t, "x"))
	case 't':
		return hub.Uint64(bits.Draw(t, "t"))
	case 'd':
		return hub.Number(hub.KindDouble, math.Float64bits(rapid.Float64().Draw(t, "d")+0)) // no -0: as a key it is 0
	case 's':
		return hub.String(strings.ReplaceAll(rapid.String().Draw(t, "s"), "\x00", ""))
	case 'o':
		return hub.Path(rapid.StringMatching(`/|(/[A-Za-z0-9_]{1,4}){1,3}`).Draw(t, "o"))
	case 'g':
		return hub.TypeOf(drawType(t, 2))
	case 'v':
		if depth <= 1 {
			return hub.Variant(drawValue(t, drawType(t, 0), 0))
		}
		return hub.Variant(drawValue(t, drawType(t, depth-1), depth-1))
	case '(':
		var fields []hub.Value
		for types := typ[1 : len(typ)-1]; types != ""; {
			field, rest, err := nextType(types)
			if err != nil {
				t.Fatal(err)
			}
			fields, types = append(fields, drawValue(t, field, depth-1)), rest
		}
		return hub.Struct(fields)
	}
	n := rapid.IntRange(0, 3).Draw(t, "items")
	switch {
	case typ == "ay":
		return hub.Bytes(rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "ay"))
	case typ[1] == '{':
		var items []hub.Value
		seen := map[string]bool{}
		for range n {
			key := drawValue(t, typ[2:3], 0)
			if !seen[dump(key)] {
				seen[dump(key)] = true
				items = append(items, key, drawValue(t, typ[3:len(typ)-1], depth-1))
			}
		}
		return hub.Dict(typ[2:3], typ[3:len(typ)-1], items)
	}
	var items []hub.Value
	for range n {
		items = append(items, drawValue(t, typ[1:], depth-1))
	}
	return hub.Array(typ[1:], items)
}

func draw(t *rapid.T) hub.Value { return drawValue(t, drawType(t, 4), 4) }
