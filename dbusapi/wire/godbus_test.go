package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"testing"

	"github.com/godbus/dbus/v5"
	"pgregory.net/rapid"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

// goType returns the Go type that godbus encodes as typ.
func goType(typ string) reflect.Type {
	switch typ[0] {
	case '(':
		var fields []reflect.StructField
		for types := typ[1 : len(typ)-1]; types != ""; {
			field, rest, _ := nextType(types)
			fields = append(fields, reflect.StructField{Name: "F" + string(rune('A'+len(fields))), Type: goType(field)})
			types = rest
		}
		return reflect.StructOf(fields)
	case 'a':
		if typ[1] == '{' {
			return reflect.MapOf(goType(typ[2:3]), goType(typ[3:len(typ)-1]))
		}
		return reflect.SliceOf(goType(typ[1:]))
	}
	return map[byte]reflect.Type{
		'y': reflect.TypeFor[byte](), 'b': reflect.TypeFor[bool](), 'n': reflect.TypeFor[int16](), 'q': reflect.TypeFor[uint16](),
		'i': reflect.TypeFor[int32](), 'u': reflect.TypeFor[uint32](), 'x': reflect.TypeFor[int64](), 't': reflect.TypeFor[uint64](),
		'd': reflect.TypeFor[float64](), 's': reflect.TypeFor[string](), 'o': reflect.TypeFor[dbus.ObjectPath](),
		'g': reflect.TypeFor[dbus.Signature](), 'v': reflect.TypeFor[dbus.Variant](),
	}[typ[0]]
}

// toGo converts v to a value that godbus encodes.
func toGo(v hub.Value) reflect.Value {
	out := reflect.New(goType(v.Type())).Elem()
	switch v.Kind() {
	case hub.KindBool:
		out.SetBool(v.Bool())
	case hub.KindByte, hub.KindUint16, hub.KindUint32, hub.KindUint64:
		out.SetUint(v.Uint())
	case hub.KindInt16, hub.KindInt32, hub.KindInt64:
		out.SetInt(v.Int())
	case hub.KindDouble:
		out.SetFloat(math.Float64frombits(v.Bits()))
	case hub.KindString, hub.KindPath:
		out.SetString(v.Text())
	case hub.KindSignature:
		out.Set(reflect.ValueOf(dbus.ParseSignatureMust(v.Text())))
	case hub.KindBytes:
		out.SetBytes([]byte(v.Text()))
	case hub.KindVariant:
		inner := v.Items()[0]
		out.Set(reflect.ValueOf(dbus.MakeVariantWithSignature(toGo(inner).Interface(), dbus.ParseSignatureMust(inner.Type()))))
	case hub.KindArray:
		for _, item := range v.Items() {
			out.Set(reflect.Append(out, toGo(item)))
		}
	case hub.KindStruct:
		for i, item := range v.Items() {
			out.Field(i).Set(toGo(item))
		}
	case hub.KindDict:
		out.Set(reflect.MakeMap(out.Type()))
		for items := v.Items(); len(items) > 1; items = items[2:] {
			out.SetMapIndex(toGo(items[0]), toGo(items[1]))
		}
	case hub.KindInvalid:
	}
	return out
}

// fromGo converts a value that godbus decoded as typ.
func fromGo(typ string, in reflect.Value) hub.Value {
	if in.Kind() == reflect.Interface {
		in = in.Elem()
	}
	kinds := map[byte]hub.Kind{'n': hub.KindInt16, 'i': hub.KindInt32, 'x': hub.KindInt64, 'y': hub.KindByte, 'q': hub.KindUint16, 'u': hub.KindUint32, 't': hub.KindUint64}
	switch typ[0] {
	case 'b':
		return hub.Bool(in.Bool())
	case 'n', 'i', 'x':
		return hub.Number(kinds[typ[0]], uint64(in.Int()))
	case 'y', 'q', 'u', 't':
		return hub.Number(kinds[typ[0]], in.Uint())
	case 'd':
		return hub.Number(hub.KindDouble, math.Float64bits(in.Float()))
	case 's':
		return hub.String(in.String())
	case 'o':
		return hub.Path(in.String())
	case 'g':
		return hub.TypeOf(in.Interface().(dbus.Signature).String())
	case 'v':
		variant := in.Interface().(dbus.Variant)
		return hub.Variant(fromGo(variant.Signature().String(), reflect.ValueOf(variant.Value())))
	}
	var items []hub.Value
	switch {
	case typ == "ay":
		return hub.Bytes(in.Bytes())
	case typ[0] == '(':
		types := typ[1 : len(typ)-1]
		for i := range in.Len() {
			field, rest, _ := nextType(types)
			items, types = append(items, fromGo(field, in.Index(i))), rest
		}
		return hub.Struct(items)
	case typ[1] == '{':
		for it := in.MapRange(); it.Next(); {
			items = append(items, fromGo(typ[2:3], it.Key()), fromGo(typ[3:len(typ)-1], it.Value()))
		}
		return hub.Dict(typ[2:3], typ[3:len(typ)-1], items)
	}
	for i := range in.Len() {
		items = append(items, fromGo(typ[1:], in.Index(i)))
	}
	return hub.Array(typ[1:], items)
}

// message encodes a signal with the given arguments.
func message(signature string, args func(e *Encoder)) []byte {
	e := NewEncoder(nil)
	e.Message(&Header{Type: TypeSignal, Serial: 1, Path: "/org/osctl/Eventd", Interface: "org.osctl.Eventd", Member: "Event", Signature: signature}, args)
	return e.Bytes
}

// godbusReads decodes a message with godbus.
func godbusReads(raw []byte, signature string) ([]hub.Value, error) {
	m, err := dbus.DecodeMessage(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	var values []hub.Value
	for i := range m.Body {
		typ, rest, err := nextType(signature)
		if err != nil {
			return nil, err
		}
		values = append(values, fromGo(typ, reflect.ValueOf(m.Body[i])))
		signature = rest
	}
	return values, nil
}

// refusedKey reports whether godbus refused booleans or signatures as keys of a
// dict, although the specification allows them.
func refusedKey(err error) bool {
	var invalid dbus.InvalidTypeError
	return errors.As(err, &invalid)
}

// Random values of all kinds survive encoding and decoding: by this package, by
// bustest in both byte orders, and to and from godbus.
func TestRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first, v := drawValue(t, drawType(t, 0), 0), draw(t) // the first one shifts the alignment of the second
		signature := first.Type() + v.Type()
		raw := message(signature, func(e *Encoder) {
			e.Value(first)
			e.Value(v)
		})
		check := func(whose string, raw []byte, render func(hub.Value) string) {
			h, d := parse(t, raw)
			if h.Signature != signature {
				t.Fatalf("%s: signature %q, want %q", whose, h.Signature, signature)
			}
			got := []hub.Value{d.Value(first.Type(), 8), d.Value(v.Type(), 8)}
			if err := d.Finish(); err != nil {
				t.Fatalf("%s: %v", whose, err)
			}
			if render(got[0]) != render(first) || render(got[1]) != render(v) {
				t.Errorf("%s: got %s, %s\nwant %s, %s", whose, render(got[0]), render(got[1]), render(first), render(v))
			}
		}
		check("our own encoding", raw, dump)
		for _, big := range []bool{false, true} {
			b := bustest.Body{BigEndian: big}
			build(&b, first)
			build(&b, v)
			m := bustest.Message{Type: TypeSignal, Serial: 1, Path: "/a", Interface: "a.b", Member: "c", Signature: signature, BigEndian: big, Body: b.Bytes()}
			check("bustest", m.Marshal(), dump)
			if _, d := parse(t, raw); !big && d.body != string(b.Bytes()) {
				t.Errorf("encoded as %q, bustest as %q", d.body, b.Bytes())
			}
		}
		values, err := godbusReads(raw, signature)
		if refusedKey(err) {
			return
		}
		if err != nil || len(values) != 2 || dumpMap(values[0]) != dumpMap(first) || dumpMap(values[1]) != dumpMap(v) {
			t.Errorf("godbus read %v, %v, want %s, %s", values, err, dumpMap(first), dumpMap(v))
		}
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			var out bytes.Buffer
			m := dbus.Message{
				Type: dbus.TypeSignal, Body: []any{toGo(first).Interface(), toGo(v).Interface()},
				Headers: map[dbus.HeaderField]dbus.Variant{
					dbus.FieldPath: dbus.MakeVariant(dbus.ObjectPath("/a")), dbus.FieldInterface: dbus.MakeVariant("a.b"),
					dbus.FieldMember: dbus.MakeVariant("c"), dbus.FieldSignature: dbus.MakeVariant(dbus.ParseSignatureMust(signature)),
				},
			}
			if err := m.EncodeTo(&out, order); refusedKey(err) {
				continue
			} else if err != nil {
				t.Fatal(err)
			}
			check("godbus, "+order.String(), out.Bytes(), dumpMap)
		}
	})
}

// parse reads a whole message and returns a decoder for its body.
func parse(t interface{ Fatal(args ...any) }, raw []byte) (*Header, *Decoder) {
	header, size, err := Sizes(raw)
	if err != nil || header+size != len(raw) {
		t.Fatal("a message of", len(raw), "bytes has", header, "and", size, err)
	}
	h, err := ParseHeader(raw[:header])
	if err != nil {
		t.Fatal(err)
	}
	if h.BodySize != size {
		t.Fatal("the body has", size, "and", h.BodySize)
	}
	return h, NewDecoder(string(raw[header:]), h.BigEndian)
}
