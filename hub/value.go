package hub

import (
	"strings"
)

// Kind is the kind of a [Value]. The kinds are those of the D-Bus type system
// (https://dbus.freedesktop.org/doc/dbus-specification.html#type-system)
// without file descriptors. So a value keeps its exact type from the reporter
// to the last reader and through the log.
type Kind uint8

// The kinds, with their type code and the accessor that reads them.
const (
	KindInvalid   Kind = iota
	KindBool           // b, Bool
	KindByte           // y, Uint
	KindInt16          // n, Int
	KindUint16         // q, Uint
	KindInt32          // i, Int
	KindUint32         // u, Uint
	KindInt64          // x, Int
	KindUint64         // t, Uint
	KindDouble         // d, Float
	KindString         // s, Text
	KindPath           // o, Text
	KindSignature      // g, Text
	KindBytes          // ay, Text (the raw bytes)
	KindArray          // aT, Items
	KindDict           // a{KV}, Items: key, value, key, value, …
	KindStruct         // (…), Items
	KindVariant        // v, Items: exactly one
)

// kindCodes are the type codes of the kinds that have a fixed one.
const kindCodes = "\x00bynqiuxtdsog"

// Value is one immutable typed value. The zero Value is invalid.
type Value struct {
	kind  Kind
	num   uint64    // numbers, as bits
	text  string    // strings and bytes
	inner *compound // containers
}

// compound is the part of a Value that only containers have.
type compound struct {
	typ   string // complete type of the value
	items []Value
}

// Bool returns a value of type b.
func Bool(v bool) Value {
	if v {
		return Value{kind: KindBool, num: 1}
	}
	return Value{kind: KindBool}
}

// Number returns a value of one of the number kinds from its bits: integers
// sign-extended to 64 bits, a double as [math.Float64bits] gives it.
func Number(kind Kind, bits uint64) Value {
	if kind < KindByte || kind > KindDouble {
		return Value{}
	}
	return Value{kind: kind, num: bits}
}

// Int32 returns a value of type i.
func Int32(v int32) Value { return Value{kind: KindInt32, num: uint64(int64(v))} } //nolint:gosec // sign extension is meant

// Uint32 returns a value of type u.
func Uint32(v uint32) Value { return Value{kind: KindUint32, num: uint64(v)} }

// Int64 returns a value of type x.
func Int64(v int64) Value { return Value{kind: KindInt64, num: uint64(v)} } //nolint:gosec // the bits are kept

// Uint64 returns a value of type t.
func Uint64(v uint64) Value { return Value{kind: KindUint64, num: v} }

// String returns a value of type s. [NewEvent] refuses one that is not valid
// UTF-8 or contains a NUL.
func String(v string) Value { return Value{kind: KindString, text: v} }

// Path returns a value of type o, an object path.
func Path(v string) Value { return Value{kind: KindPath, text: v} }

// TypeOf returns a value of type g, a type string.
func TypeOf(v string) Value { return Value{kind: KindSignature, text: v} }

// Bytes returns a value of type ay. It shares the memory of a string.
func Bytes[T ~[]byte | ~string](v T) Value { return Value{kind: KindBytes, text: string(v)} }

// Array returns a value of type a followed by elem. The hub owns items from
// then on. All items must be of type elem, which may not be y ([Bytes] is that)
// nor a dict entry ([Dict] is that).
func Array(elem string, items []Value) Value {
	return Value{kind: KindArray, inner: &compound{typ: "a" + elem, items: items}}
}

// Dict returns a value of type a{key elem}. Items alternate keys and values;
// the hub owns them from then on.
func Dict(key, elem string, items []Value) Value {
	return Value{kind: KindDict, inner: &compound{typ: "a{" + key + elem + "}", items: items}}
}

// Struct returns a value that is a struct of the given fields, which the hub
// owns from then on.
func Struct(fields []Value) Value {
	var b strings.Builder
	b.WriteByte('(')
	for i := range fields {
		b.WriteString(fields[i].Type())
	}
	b.WriteByte(')')
	return Value{kind: KindStruct, inner: &compound{typ: b.String(), items: fields}}
}

// Variant returns a value of type v that holds inner.
func Variant(inner Value) Value {
	return Value{kind: KindVariant, inner: &compound{typ: "v", items: []Value{inner}}}
}

// Strings returns a value of type as.
func Strings(v ...string) Value {
	items := make([]Value, len(v))
	for i := range v {
		items[i] = String(v[i])
	}
	return Array("s", items)
}

// Kind returns the kind of v.
func (v Value) Kind() Kind { return v.kind }

// Type returns the complete type of v in the D-Bus alphabet, "" if v is invalid.
func (v Value) Type() string {
	switch {
	case v.kind == KindInvalid:
		return ""
	case v.kind == KindBytes:
		return "ay"
	case v.inner != nil:
		return v.inner.typ
	default:
		return kindCodes[v.kind : v.kind+1]
	}
}

// Text returns the text of a string, path or signature, the raw bytes of an
// ay, and "" for any other kind.
func (v Value) Text() string { return v.text }

// Bool reports whether v is a true boolean.
func (v Value) Bool() bool { return v.kind == KindBool && v.num != 0 }

// Bits returns the bits of a number or boolean, as [Number] takes them.
func (v Value) Bits() uint64 { return v.num }

// Uint returns the value of an unsigned integer, 0 for any other kind.
func (v Value) Uint() uint64 {
	switch v.kind { //nolint:exhaustive // all others are no unsigned integers
	case KindByte, KindUint16, KindUint32, KindUint64:
		return v.num
	}
	return 0
}

// Int returns the value of a signed integer, 0 for any other kind.
func (v Value) Int() int64 {
	switch v.kind { //nolint:exhaustive // all others are no signed integers
	case KindInt16, KindInt32, KindInt64:
		return int64(v.num) //nolint:gosec // the bits are kept
	}
	return 0
}

// Integer reports whether v is an integer of any width.
func (v Value) Integer() bool { return v.kind >= KindByte && v.kind <= KindUint64 }

// Items returns the elements of an array, the alternating keys and values of a
// dict, the fields of a struct, or the content of a variant. The caller must
// not change them.
func (v Value) Items() []Value {
	if v.inner == nil {
		return nil
	}
	return v.inner.items
}

// ElemType returns the type of the elements of an array or of the values of a
// dict, "" for any other kind.
func (v Value) ElemType() string {
	switch v.kind { //nolint:exhaustive // all others have no elements
	case KindBytes:
		return "y"
	case KindArray:
		return v.inner.typ[1:]
	case KindDict:
		return v.inner.typ[3 : len(v.inner.typ)-1]
	}
	return ""
}

// Unwrap returns the content of a variant, also of a variant in a variant, and
// v itself if it is no variant.
func (v Value) Unwrap() Value {
	for v.kind == KindVariant {
		v = v.inner.items[0]
	}
	return v
}

// Depth returns how many containers (arrays, dicts, structs, variants) are
// nested in v, itself included: 0 for a number or a string, 1 for as. It counts
// at most to limit+1, so that the cost is bounded.
func (v Value) Depth(limit int) int {
	if v.kind == KindBytes {
		return 1
	}
	if v.inner == nil {
		return 0
	}
	deepest := 0
	if limit > 0 {
		for i := range v.inner.items {
			deepest = max(deepest, v.inner.items[i].Depth(limit-1))
		}
	}
	return 1 + deepest
}
