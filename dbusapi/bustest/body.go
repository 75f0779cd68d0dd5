package bustest

import "encoding/binary"

// Body builds marshalled values with the alignment of the D-Bus specification. It
// checks neither strings nor signatures. The zero value is empty and little-endian.
// Its methods return it, to chain calls.
type Body struct {
	BigEndian bool
	buf       []byte
}

// Bytes returns the marshalled values.
func (b *Body) Bytes() []byte { return b.buf }

// Align pads with zeros to a multiple of n bytes: 8 before a struct or dict entry.
func (b *Body) Align(n int) *Body {
	for len(b.buf)%n != 0 {
		b.buf = append(b.buf, 0)
	}
	return b
}

// Raw appends bytes as they are.
func (b *Body) Raw(p ...byte) *Body {
	b.buf = append(b.buf, p...)
	return b
}

// Byte appends a y.
func (b *Body) Byte(v byte) *Body { return b.Raw(v) }

// Bool appends a b.
func (b *Body) Bool(v bool) *Body {
	if v {
		return b.Uint32(1)
	}
	return b.Uint32(0)
}

// Uint32 appends a u, an i, or an h: the index of a file descriptor.
func (b *Body) Uint32(v uint32) *Body {
	b.Align(4)
	b.buf = b.order().AppendUint32(b.buf, v)
	return b
}

// Uint64 appends a t, an x, or the bits of a d.
func (b *Body) Uint64(v uint64) *Body {
	b.Align(8)
	b.buf = b.order().AppendUint64(b.buf, v)
	return b
}

// String appends an s or an o.
func (b *Body) String(s string) *Body {
	b.Uint32(uint32(len(s))) //nolint:gosec // longer than a message may be
	b.buf = append(append(b.buf, s...), 0)
	return b
}

// Signature appends a g. Its length is cut to a byte, because the format has one byte for it.
func (b *Body) Signature(s string) *Body {
	b.buf = append(append(b.buf, byte(len(s))), s...) //nolint:gosec // see above
	b.buf = append(b.buf, 0)
	return b
}

// Variant appends a v with a signature; build appends its value.
func (b *Body) Variant(signature string, build func(*Body)) *Body {
	b.Signature(signature)
	build(b)
	return b
}

// Array appends an array of elements that are aligned to align bytes (8 for structs
// and dict entries, 4 for strings and arrays, 1 for variants); build appends them
// and aligns each.
func (b *Body) Array(align int, build func(*Body)) *Body {
	b.Uint32(0)
	length := len(b.buf)
	b.Align(align)
	start := len(b.buf)
	build(b)
	b.order().PutUint32(b.buf[length-4:], uint32(len(b.buf)-start)) //nolint:gosec // see String
	return b
}

// Dict appends an a{sv} of string values, given as key, value, key, value, ….
func (b *Body) Dict(pairs ...string) *Body {
	return b.Array(8, func(b *Body) {
		for i := 0; i+1 < len(pairs); i += 2 {
			b.Align(8).String(pairs[i]).Variant("s", func(b *Body) { b.String(pairs[i+1]) })
		}
	})
}

func (b *Body) order() byteOrder { return orderOf(b.BigEndian) }

type byteOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

func orderOf(bigEndian bool) byteOrder {
	if bigEndian {
		return binary.BigEndian
	}
	return binary.LittleEndian
}
