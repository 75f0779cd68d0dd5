package wire

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// dump returns a text that is equal exactly for equal values.
func dump(v hub.Value) string {
	var b strings.Builder
	b.WriteString(v.Type())
	b.WriteByte('=')
	if v.Items() == nil {
		fmt.Fprintf(&b, "%x %q", v.Bits(), v.Text())
	}
	for _, item := range v.Items() {
		b.WriteString("[" + dump(item) + "]")
	}
	return b.String()
}

// dumpMap is dump for values that were in a Go map: dicts are sorted, and the
// last of equal keys counts.
func dumpMap(v hub.Value) string {
	if v.Kind() == hub.KindDict {
		entries := map[string]string{}
		for items := v.Items(); len(items) > 1; items = items[2:] {
			entries[dump(items[0])] = dumpMap(items[1])
		}
		var lines []string
		for key, value := range entries {
			lines = append(lines, "["+key+":"+value+"]")
		}
		slices.Sort(lines)
		return v.Type() + "=" + strings.Join(lines, "")
	}
	if v.Items() == nil {
		return dump(v)
	}
	var b strings.Builder
	b.WriteString(v.Type() + "=")
	for _, item := range v.Items() {
		b.WriteString("[" + dumpMap(item) + "]")
	}
	return b.String()
}

func dumpOptions(options hub.Options) string {
	var b strings.Builder
	for _, option := range options {
		fmt.Fprintf(&b, "%q: %s\n", option.Name, dump(option.Value))
	}
	return b.String()
}

// count returns the number of values in v, itself included.
func count(v hub.Value) int {
	n := 1
	for _, item := range v.Items() {
		n += count(item)
	}
	return n
}

// alignOf returns the alignment of a type according to the table "Summary of
// D-Bus marshalling" of the specification.
func alignOf(typ string) int {
	switch {
	case strings.Contains("ygv", typ[:1]):
		return 1
	case strings.Contains("nq", typ[:1]):
		return 2
	case strings.Contains("biusoa", typ[:1]):
		return 4
	default:
		return 8
	}
}

// build encodes v with the independent builder of bustest.
func build(b *bustest.Body, v hub.Value) {
	switch v.Kind() {
	case hub.KindByte:
		b.Byte(byte(v.Bits()))
	case hub.KindInt16, hub.KindUint16:
		high, low := byte(v.Bits()>>8), byte(v.Bits())
		if !b.BigEndian {
			high, low = low, high
		}
		b.Align(2).Raw(high, low)
	case hub.KindBool, hub.KindInt32, hub.KindUint32:
		b.Uint32(uint32(v.Bits()))
	case hub.KindInt64, hub.KindUint64, hub.KindDouble:
		b.Uint64(v.Bits())
	case hub.KindString, hub.KindPath:
		b.String(v.Text())
	case hub.KindSignature:
		b.Signature(v.Text())
	case hub.KindBytes:
		b.Array(1, func(b *bustest.Body) { b.Raw([]byte(v.Text())...) })
	case hub.KindVariant:
		b.Variant(v.Items()[0].Type(), func(b *bustest.Body) { build(b, v.Items()[0]) })
	case hub.KindArray:
		b.Array(alignOf(v.ElemType()), func(b *bustest.Body) {
			for _, item := range v.Items() {
				build(b, item)
			}
		})
	case hub.KindDict:
		b.Array(8, func(b *bustest.Body) {
			for i, item := range v.Items() {
				if i%2 == 0 {
					b.Align(8)
				}
				build(b, item)
			}
		})
	case hub.KindStruct:
		b.Align(8)
		for _, item := range v.Items() {
			build(b, item)
		}
	case hub.KindInvalid:
	}
}

// body builds a little-endian body.
func body(build func(b *bustest.Body)) string {
	var b bustest.Body
	build(&b)
	return string(b.Bytes())
}

// options builds an a{sv} of one option.
func option(name, typ string, value func(b *bustest.Body)) func(b *bustest.Body) {
	return func(b *bustest.Body) {
		b.Array(8, func(b *bustest.Body) { b.Align(8).String(name).Variant(typ, value) })
	}
}

// nested builds n variants in each other around an innermost value.
func nested(n int, typ string, value func(b *bustest.Body)) func(b *bustest.Body) {
	return func(b *bustest.Body) {
		for range n {
			b.Signature("v")
		}
		b.Variant(typ, value)
	}
}
