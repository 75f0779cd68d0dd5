package wire

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/osctl/eventd/hub"
)

// Errors of decoding. The errors of [Decoder] wrap one of them.
var (
	errShort    = errors.New("the body ends early")
	errLong     = errors.New("the body has bytes left over")
	errPadding  = errors.New("padding that is not zero")
	errBool     = errors.New("a boolean that is neither 0 nor 1")
	errArray    = errors.New("an array whose length does not fit its elements")
	errUTF8     = errors.New("a string that is not valid UTF-8")
	errNUL      = errors.New("a string with a NUL byte, or without its end")
	errPath     = errors.New("an invalid object path")
	errTooDeep  = errors.New("nested too deeply")
	errManyType = errors.New("a variant that does not hold exactly one type")
)

// Decoder reads values from a message body. Its strings share the memory of the
// body. After an error all methods return zero values, so check Err or Finish
// once at the end.
type Decoder struct {
	body string
	pos  int
	big  bool
	err  error
}

// NewDecoder returns a decoder for a body in the given byte order.
func NewDecoder(body string, bigEndian bool) *Decoder {
	return &Decoder{body: body, big: bigEndian}
}

// Err returns the first error.
func (d *Decoder) Err() error { return d.err }

// Finish returns the first error, or an error if bytes are left.
func (d *Decoder) Finish() error {
	if d.err == nil && d.pos != len(d.body) {
		d.err = errLong
	}
	return d.err
}

// alias returns bytes as a string that shares their memory.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) } //nolint:gosec // the bytes are not changed while the string is used

func (d *Decoder) fail(err error) {
	if d.err == nil {
		d.err = fmt.Errorf("at byte %d: %w", d.pos, err)
	}
}

// take returns the next n bytes at the given alignment, "" after an error.
func (d *Decoder) take(n, align int) string {
	if d.err != nil {
		return ""
	}
	start := (d.pos + align - 1) &^ (align - 1)
	if n < 0 || start > len(d.body) || n > len(d.body)-start {
		d.fail(errShort)
		return ""
	}
	for i := d.pos; i < start; i++ {
		if d.body[i] != 0 {
			d.fail(errPadding)
			return ""
		}
	}
	d.pos = start + n
	return d.body[start:d.pos]
}

// number reads an unsigned number of size bytes at its natural alignment.
func (d *Decoder) number(size int) uint64 {
	s := d.take(size, size)
	var v uint64
	if d.big {
		for i := range len(s) {
			v = v<<8 | uint64(s[i])
		}
		return v
	}
	for i := len(s) - 1; i >= 0; i-- {
		v = v<<8 | uint64(s[i])
	}
	return v
}

// Byte reads a y.
func (d *Decoder) Byte() byte { return byte(d.number(1)) } //nolint:gosec // one byte was read

// Uint32 reads a u.
func (d *Decoder) Uint32() uint32 { return uint32(d.number(4)) } //nolint:gosec // four bytes were read

// Uint64 reads a t.
func (d *Decoder) Uint64() uint64 { return d.number(8) }

// String reads an s.
func (d *Decoder) String() string {
	s := d.counted(int(d.Uint32()))
	if d.err == nil && !utf8.ValidString(s) {
		d.fail(errUTF8)
		return ""
	}
	return s
}

// counted reads n bytes and the NUL after them.
func (d *Decoder) counted(n int) string {
	s := d.take(n+1, 1)
	if s == "" {
		return ""
	}
	if s[n] != 0 || strings.IndexByte(s[:n], 0) >= 0 {
		d.fail(errNUL)
		return ""
	}
	return s[:n]
}

// Signature reads a g.
func (d *Decoder) Signature() string {
	sig := d.counted(int(d.Byte()))
	if d.err == nil {
		if err := checkSignature(sig); err != nil {
			d.fail(err)
			return ""
		}
	}
	return sig
}

// variantType reads the signature of a variant and checks that it is one type.
func (d *Decoder) variantType() string {
	sig := d.counted(int(d.Byte()))
	if d.err != nil {
		return ""
	}
	n, err := typeLen(sig, 0, 0)
	if err == nil && n != len(sig) {
		err = errManyType
	}
	if err != nil {
		d.fail(err)
		return ""
	}
	return sig
}

// array reads the length of an array and the padding before its first element,
// and returns the offset of its end.
func (d *Decoder) array(elem byte) int {
	n := int(d.Uint32())
	if n > maxArrayBytes {
		d.fail(errArray)
		return d.pos
	}
	d.take(0, alignment(elem))
	if d.err == nil && n > len(d.body)-d.pos {
		d.fail(errShort)
	}
	return d.pos + n
}

// more reports whether an array that ends at end has another element.
func (d *Decoder) more(end int) bool {
	if d.err == nil && d.pos > end {
		d.fail(errArray)
	}
	return d.err == nil && d.pos < end
}

// Value reads a value of a complete type with at most depth nested containers.
func (d *Decoder) Value(typ string, depth int) hub.Value {
	switch typ[0] {
	case 's':
		return hub.String(d.String())
	case 'b':
		v := d.Uint32()
		if v > 1 {
			d.fail(errBool)
		}
		return hub.Bool(v == 1)
	case 'y':
		return hub.Number(hub.KindByte, d.number(1))
	case 'q':
		return hub.Number(hub.KindUint16, d.number(2))
	case 'u':
		return hub.Number(hub.KindUint32, d.number(4))
	case 't':
		return hub.Number(hub.KindUint64, d.number(8))
	case 'n':
		return hub.Number(hub.KindInt16, uint64(int64(int16(d.number(2))))) //nolint:gosec // sign extension is meant
	case 'i':
		return hub.Int32(int32(d.number(4))) //nolint:gosec // four bytes were read
	case 'x':
		return hub.Number(hub.KindInt64, d.number(8))
	case 'd':
		return hub.Number(hub.KindDouble, d.number(8))
	case 'o':
		path := d.String()
		if d.err == nil && !validPath(path) {
			d.fail(errPath)
		}
		return hub.Path(path)
	case 'g':
		return hub.TypeOf(d.Signature())
	}
	return d.container(typ, depth)
}

// container reads an array, dict, struct or variant.
func (d *Decoder) container(typ string, depth int) hub.Value {
	if depth <= 0 {
		d.fail(errTooDeep)
		return hub.Value{}
	}
	switch {
	case typ[0] == 'v':
		sig := d.variantType()
		if d.err != nil {
			return hub.Value{}
		}
		return hub.Variant(d.Value(sig, depth-1))
	case typ == "ay":
		end := d.array('y')
		return hub.Bytes(d.take(end-d.pos, 1))
	case typ[0] == '(':
		d.take(0, 8)
		return hub.Struct(d.fields(typ[1:len(typ)-1], depth-1))
	case typ[1] == '{':
		return d.dict(typ, depth-1)
	}
	var items []hub.Value
	for end := d.array(typ[1]); d.more(end); {
		items = append(items, d.Value(typ[1:], depth-1))
	}
	return hub.Array(typ[1:], items)
}

func (d *Decoder) fields(types string, depth int) []hub.Value {
	var fields []hub.Value
	for types != "" && d.err == nil {
		typ, rest, err := nextType(types)
		if err != nil {
			d.fail(err)
			return nil
		}
		fields, types = append(fields, d.Value(typ, depth)), rest
	}
	return fields
}

func (d *Decoder) dict(typ string, depth int) hub.Value {
	var items []hub.Value
	key, elem := typ[2:3], typ[3:len(typ)-1]
	for end := d.array('{'); d.more(end); {
		d.take(0, 8)
		items = append(items, d.Value(key, depth), d.Value(elem, depth))
	}
	return hub.Dict(key, elem, items)
}

// validPath reports whether s is an object path.
func validPath(s string) bool {
	if s == "" || s[0] != '/' {
		return false
	}
	if s == "/" {
		return true
	}
	for i := 1; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_':
		case c == '/' && s[i-1] != '/':
		default:
			return false
		}
	}
	return s[len(s)-1] != '/'
}
