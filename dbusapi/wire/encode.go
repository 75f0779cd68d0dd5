package wire

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"github.com/osctl/eventd/hub"
)

// Encoder appends values to a buffer, little endian, aligned relative to the
// start of the message or body.
type Encoder struct {
	Bytes []byte
	base  int // offset of the message in Bytes
}

// NewEncoder returns an encoder that appends to b. Alignment counts from the end
// of b.
func NewEncoder(b []byte) *Encoder { return &Encoder{Bytes: b, base: len(b)} }

// Align pads with zeros to a multiple of n, a power of two.
func (e *Encoder) Align(n int) {
	for (len(e.Bytes)-e.base)&(n-1) != 0 {
		e.Bytes = append(e.Bytes, 0)
	}
}

// Byte appends a y.
func (e *Encoder) Byte(v byte) { e.Bytes = append(e.Bytes, v) }

// Uint32 appends a u.
func (e *Encoder) Uint32(v uint32) {
	e.Align(4)
	e.Bytes = binary.LittleEndian.AppendUint32(e.Bytes, v)
}

// Uint64 appends a t.
func (e *Encoder) Uint64(v uint64) {
	e.Align(8)
	e.Bytes = binary.LittleEndian.AppendUint64(e.Bytes, v)
}

// String appends an s. It escapes invalid UTF-8 and NUL as \xNN, because the bus disconnects a sender
// of such text.
func (e *Encoder) String(s string) {
	if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		s = hub.PlainText([]byte(s), 4*len(s))
	}
	e.Uint32(uint32(len(s))) //nolint:gosec // callers bound it
	e.Bytes = append(e.Bytes, s...)
	e.Bytes = append(e.Bytes, 0)
}

// Signature appends a g.
func (e *Encoder) Signature(s string) {
	e.Bytes = append(e.Bytes, byte(len(s))) //nolint:gosec // at most 255 in a valid one
	e.Bytes = append(e.Bytes, s...)
	e.Bytes = append(e.Bytes, 0)
}

// Array appends an array. Its elements begin with the type code elem, and each
// appends all of them.
func (e *Encoder) Array(elem byte, each func()) {
	e.Uint32(0)
	at := len(e.Bytes)
	e.Align(alignment(elem))
	start := len(e.Bytes)
	each()
	binary.LittleEndian.PutUint32(e.Bytes[at-4:], uint32(len(e.Bytes)-start)) //nolint:gosec // messages are bounded
}

// Options appends options as a{sv}.
func (e *Encoder) Options(options hub.Options) {
	e.Array('{', func() {
		for i := range options {
			e.Align(8)
			e.String(options[i].Name)
			e.Variant(options[i].Value)
		}
	})
}

// Variant appends a v that holds value.
func (e *Encoder) Variant(value hub.Value) {
	e.Signature(value.Type())
	e.Value(value)
}

// Value appends a value as its own type.
func (e *Encoder) Value(v hub.Value) {
	switch v.Kind() {
	case hub.KindString, hub.KindPath:
		e.String(v.Text())
	case hub.KindSignature:
		e.Signature(v.Text())
	case hub.KindBool, hub.KindInt32, hub.KindUint32:
		e.Uint32(uint32(v.Bits())) //nolint:gosec // the low bits are meant
	case hub.KindInt64, hub.KindUint64, hub.KindDouble:
		e.Uint64(v.Bits())
	case hub.KindByte:
		e.Byte(byte(v.Bits())) //nolint:gosec // the low bits are meant
	case hub.KindInt16, hub.KindUint16:
		e.Align(2)
		e.Bytes = binary.LittleEndian.AppendUint16(e.Bytes, uint16(v.Bits())) //nolint:gosec // the low bits are meant
	case hub.KindBytes:
		e.Uint32(uint32(len(v.Text()))) //nolint:gosec // bounded by the limit of an event
		e.Bytes = append(e.Bytes, v.Text()...)
	case hub.KindVariant:
		e.Variant(v.Items()[0])
	case hub.KindStruct:
		e.Align(8)
		for _, field := range v.Items() {
			e.Value(field)
		}
	case hub.KindArray:
		e.Array(v.ElemType()[0], func() {
			for _, item := range v.Items() {
				e.Value(item)
			}
		})
	case hub.KindDict:
		e.dict(v.Items())
	case hub.KindInvalid:
	}
}

func (e *Encoder) dict(items []hub.Value) {
	e.Array('{', func() {
		for i := 0; i+1 < len(items); i += 2 {
			e.Align(8)
			e.Value(items[i])
			e.Value(items[i+1])
		}
	})
}
