package wire

import (
	"encoding/binary"
	"errors"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

// pingBytes is a call, written by hand from the specification.
const pingBytes = "l\x01\x00\x01\x00\x00\x00\x00\x02\x00\x00\x00\x5e\x00\x00\x00" +
	"\x01\x01o\x00\x11\x00\x00\x00/org/osctl/Eventd\x00\x00\x00\x00\x00\x00\x00" +
	"\x02\x01s\x00\x10\x00\x00\x00org.osctl.Eventd\x00\x00\x00\x00\x00\x00\x00\x00" +
	"\x03\x01s\x00\x04\x00\x00\x00Ping\x00\x00\x00\x00" +
	"\x06\x01s\x00\x05\x00\x00\x00:1.42\x00\x00\x00"

func TestHeaderBytes(t *testing.T) {
	h := &Header{Type: TypeCall, Serial: 2, Path: "/org/osctl/Eventd", Interface: "org.osctl.Eventd", Member: "Ping", Destination: ":1.42"}
	e := NewEncoder([]byte("odd"))
	e.Message(h, nil)
	got := string(e.Bytes[3:])
	if got != pingBytes {
		t.Errorf("encoded as\n%q, want\n%q", got, pingBytes)
	}
	parsed, d := parse(t, []byte(got))
	if !reflect.DeepEqual(parsed, h) || d.Finish() != nil {
		t.Errorf("%+v, want %+v", parsed, h)
	}
}

func TestHeaderFields(t *testing.T) {
	for _, h := range []Header{
		{Type: TypeReply, Serial: 1, ReplySerial: 0xfffffffe, Destination: ":1.1", Signature: "sa(ssssstta{sv})"},
		{Type: TypeError, Flags: 3, Serial: 0xffffffff, ReplySerial: 7, ErrorName: "a.b.C", Signature: "s"},
		{Type: TypeSignal, Serial: 9, Path: "/", Interface: "a.b", Member: "C", Sender: ":1.9"},
		{Type: 77, Serial: 1, Signature: strings.Repeat("y", 255)},
	} {
		for _, big := range []bool{false, true} {
			m := bustest.Message{
				Type: h.Type, Flags: h.Flags, Serial: h.Serial, Path: h.Path, Interface: h.Interface, Member: h.Member, Destination: h.Destination,
				ErrorName: h.ErrorName, Sender: h.Sender, Signature: h.Signature, ReplySerial: h.ReplySerial, UnixFDs: 3, Body: make([]byte, 13), BigEndian: big,
			}
			want := h
			want.BigEndian, want.BodySize = big, 13
			if got, _ := parse(t, m.Marshal()); !reflect.DeepEqual(*got, want) {
				t.Errorf("%+v, want %+v", *got, want)
			}
		}
		if h.Sender != "" {
			continue
		}
		e := NewEncoder(nil)
		e.Message(&h, func(e *Encoder) { e.Bytes = append(e.Bytes, 1, 2, 3) })
		want := h
		want.BodySize = 3
		if got, d := parse(t, e.Bytes); !reflect.DeepEqual(*got, want) || d.body != "\x01\x02\x03" {
			t.Errorf("%+v, want %+v", *got, want)
		}
	}
}

// frame returns a message header with the given fields.
func frame(big bool, fields func(b *bustest.Body)) []byte {
	b := &bustest.Body{BigEndian: big}
	b.Raw(map[bool]byte{false: 'l', true: 'B'}[big], 1, 0, 1).Uint32(0).Uint32(1).Array(8, fields).Align(8)
	return b.Bytes()
}

func field(code byte, typ string, value func(b *bustest.Body)) func(b *bustest.Body) {
	return func(b *bustest.Body) { b.Align(8).Byte(code).Variant(typ, value) }
}

func TestHeaderRefused(t *testing.T) {
	text := func(b *bustest.Body) { b.String("/a") }
	for name, raw := range map[string][]byte{
		"path as string":          frame(false, field(fieldPath, "s", text)),
		"member as path":          frame(false, field(fieldMember, "o", text)),
		"sender as signature":     frame(false, field(fieldSender, "g", func(b *bustest.Body) { b.Signature("s") })),
		"signature as string":     frame(false, field(fieldSignature, "s", text)),
		"reply serial as string":  frame(false, field(fieldReplySerial, "s", text)),
		"fds as array":            frame(false, field(fieldUnixFDs, "au", func(b *bustest.Body) { b.Uint32(0) })),
		"field of two types":      frame(false, field(fieldMember, "ss", text)),
		"unknown field of fds":    frame(false, field(99, "ah", func(b *bustest.Body) { b.Uint32(0) })),
		"unknown field, in array": frame(false, field(99, "ay", func(b *bustest.Body) { b.Uint32(9) })),
		"unknown field, too deep": frame(false, field(99, "v", nested(70, "y", func(b *bustest.Body) { b.Byte(1) }))),
		"unknown field, bad type": frame(false, field(99, "(yv)", func(b *bustest.Body) { b.Align(8).Byte(1).Signature("()") })),
		"member not UTF-8":        frame(true, field(fieldMember, "s", func(b *bustest.Body) { b.String("\xff") })),
		"member with NUL":         frame(true, field(fieldMember, "s", func(b *bustest.Body) { b.String("a\x00b") })),
		"member over the array":   frame(false, func(b *bustest.Body) { b.Byte(fieldMember).Signature("s").Uint32(3000).Raw(make([]byte, 3)...) }),
		"padding":                 frame(false, func(b *bustest.Body) { b.Byte(fieldReplySerial).Signature("u").Uint32(1).Byte(1) }),
		"cut":                     frame(false, field(fieldPath, "o", text))[:20],
		"empty":                   {},
		"protocol 2":              []byte(strings.Replace(pingBytes, "l\x01\x00\x01", "l\x01\x00\x02", 1)),
		"byte order":              []byte("L" + pingBytes[1:]),
	} {
		if h, err := ParseHeader(raw); !errors.Is(err, errHeader) {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
}

// Unknown fields are ignored, and cost no memory.
func TestHeaderUnknownFields(t *testing.T) {
	for _, big := range []bool{false, true} {
		raw := frame(big, func(b *bustest.Body) {
			field(99, "a{s(yv)}", option("a", "(yv)", func(b *bustest.Body) { b.Align(8).Byte(1).Variant("y", func(b *bustest.Body) { b.Byte(2) }) }))(b)
			field(10, "(ya(u)gvt)", func(b *bustest.Body) {
				b.Align(8).Byte(1).Array(8, func(b *bustest.Body) { b.Uint32(1) }).Signature("as").Variant("d", func(b *bustest.Body) { b.Uint64(1) }).Uint64(2)
			})(b)
			field(11, "v", nested(9, "b", func(b *bustest.Body) { b.Bool(true) }))(b)
			field(fieldMember, "s", func(b *bustest.Body) { b.String("Ping") })(b)
		})
		if h, err := ParseHeader(raw); err != nil || h.Member != "Ping" {
			t.Errorf("%+v, %v", h, err)
		}
	}
	raw := frame(false, field(99, "av", func(b *bustest.Body) {
		b.Array(1, func(b *bustest.Body) { b.Raw([]byte(strings.Repeat("\x01y\x00\x01", 1<<17))...) })
	}))
	if got := allocated(t, func() {
		if _, err := ParseHeader(raw); err != nil {
			t.Error(err)
		}
	}); got > uint64(2*len(raw)) {
		t.Errorf("a header of %d bytes took %d", len(raw), got)
	}
}

func TestSizes(t *testing.T) {
	fixed := func(order byte, body, fields uint32) []byte {
		b := []byte{order, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}
		var put binary.ByteOrder = binary.LittleEndian
		if order == 'B' {
			put = binary.BigEndian
		}
		put.PutUint32(b[4:], body)
		put.PutUint32(b[12:], fields)
		return b
	}
	for _, c := range []struct {
		body, fields uint32
		header       int // 0: refused
	}{
		{0, 0, 16},
		{5, 1, 24},
		{0, 8, 24},
		{0, 9, 32},
		{1<<27 - 16, 0, 16},
		{1<<27 - 15, 0, 0},
		{1<<27 - 24, 1, 24},
		{1<<27 - 23, 1, 0},
		{0, 1 << 26, 1<<26 + 16},
		{0, 1<<26 + 1, 0},
		{0xffffffff, 0, 0},
		{0, 0xffffffff, 0},
		{0xfffffff0, 0xfffffff0, 0},
	} {
		for _, order := range []byte("lB") {
			header, body, err := Sizes(fixed(order, c.body, c.fields))
			if c.header == 0 {
				if !errors.Is(err, errHeader) || header != 0 || body != 0 {
					t.Errorf("%c %d %d: %d, %d, %v; want an error", order, c.body, c.fields, header, body, err)
				}
				continue
			}
			if err != nil || header != c.header || body != int(c.body) {
				t.Errorf("%c %d %d: %d, %d, %v; want %d", order, c.body, c.fields, header, body, err, c.header)
			}
		}
	}
}

// allocated returns the bytes of memory that f allocates in all.
func allocated(t *testing.T, f func()) uint64 {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// The memory for decoding a body is bounded by its length. The cases have the most
// values, or the longest types, for each byte.
func TestAllocations(t *testing.T) {
	const most = 160 // bytes for each byte of the body; godbus 5.2.4 takes some 120 for av of y
	long := "(" + strings.Repeat("y", 230) + ")"
	empty := func(align int) func(b *bustest.Body) {
		return func(b *bustest.Body) { b.Array(align, func(*bustest.Body) {}) }
	}
	for _, c := range []struct {
		typ  string
		size int // of an item, about
		item func(b *bustest.Body)
	}{
		{"av", 4, func(b *bustest.Body) { b.Variant("y", func(b *bustest.Body) { b.Byte(1) }) }},
		{"aay", 4, empty(1)},
		{"aas", 4, empty(4)},
		{"aa" + long, 8, empty(8)},
		{"aaa" + long, 4, empty(4)},
		{"aa{s" + long + "}", 8, empty(8)},
		{"a((((((y))))))", 8, func(b *bustest.Body) { b.Align(8).Byte(1) }},
		{"a{yy}", 8, func(b *bustest.Body) { b.Align(8).Byte(1).Byte(1) }},
		{"an", 2, func(b *bustest.Body) { b.Align(2).Raw(1, 2) }},
		{"ag", 2, func(b *bustest.Body) { b.Signature("") }},
		{"a" + long, 232, func(b *bustest.Body) { b.Align(8).Raw(make([]byte, 230)...) }},
	} {
		b := body(option("x", c.typ, func(b *bustest.Body) {
			b.Array(alignOf(c.typ[1:]), func(b *bustest.Body) {
				for range (60 << 10) / c.size {
					c.item(b)
				}
			})
		}))
		var err error
		var options hub.Options
		got := allocated(t, func() {
			d := NewDecoder(b, false)
			options = d.Options("x")
			err = d.Finish()
		})
		if err != nil {
			t.Fatalf("%.40s: %v", c.typ, err)
		}
		if n := count(options[0].Value); n > len(b)+64 {
			t.Errorf("%.40s: %d values of %d bytes", c.typ, n, len(b))
		}
		t.Logf("%-20.20s %4d bytes for each byte", c.typ, got/uint64(len(b)))
		if got > uint64(most*len(b)) {
			t.Errorf("%.40s: %d bytes for a body of %d", c.typ, got, len(b))
		}
	}
	// A length beyond the body allocates nothing.
	for _, b := range []string{"\xff\xff\xff\x03\x00\x00\x00\x00", "\x00\x00\x01\x00" + strings.Repeat("\x00", 64)} {
		if got := allocated(t, func() { NewDecoder(b, false).Options("x") }); got > 4096 {
			t.Errorf("%q took %d bytes", b, got)
		}
	}
	// A filter with too many values is refused before all are decoded.
	b := body(option("id", "as", func(b *bustest.Body) {
		b.Array(4, func(b *bustest.Body) {
			for range 100_000 {
				b.String("")
			}
		})
	}))
	var err error
	if got := allocated(t, func() { _, err = filterOf(b) }); got > 128<<10 {
		t.Errorf("a filter of 100,000 values took %d bytes", got)
	}
	var invalid *hub.InvalidFilterError
	if !errors.As(err, &invalid) || invalid.Key != "id" {
		t.Error(err)
	}
}

func filterOf(body string) (hub.Filter, error) {
	d := NewDecoder(body, false)
	filter := d.Filter()
	return filter, d.Finish()
}
