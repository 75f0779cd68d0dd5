package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Message types.
const (
	TypeCall   = 1
	TypeReply  = 2
	TypeError  = 3
	TypeSignal = 4
)

// Flags of a message.
const (
	FlagNoReply     = 1 // the sender of the call wants no reply
	FlagNoAutoStart = 2 // the bus does not start the destination for the call
)

// fixedSize is the size of the fixed part of a header, including the length of
// the fields.
const fixedSize = 16

// maxMessage is the size of the largest message that the specification allows.
const maxMessage = 1 << 27

// Header fields.
const (
	fieldPath        = 1
	fieldInterface   = 2
	fieldMember      = 3
	fieldErrorName   = 4
	fieldReplySerial = 5
	fieldDestination = 6
	fieldSender      = 7
	fieldSignature   = 8
	fieldUnixFDs     = 9
)

// Header is the header of a message.
type Header struct {
	Type        byte
	Flags       byte
	BigEndian   bool
	Serial      uint32
	BodySize    int // bytes
	ReplySerial uint32
	Path        string
	Interface   string
	Member      string
	ErrorName   string
	Destination string
	Sender      string
	Signature   string
}

// errHeader is wrapped by errors about the header of a message.
var errHeader = errors.New("invalid message header")

// Sizes reads the fixed part of a header and returns the sizes of the whole header,
// with its padding, and of the body, in bytes. After an error the rest of the
// stream cannot be read.
func Sizes(fixed []byte) (header, body int, err error) {
	var order binary.ByteOrder
	switch {
	case len(fixed) < fixedSize:
		return 0, 0, fmt.Errorf("%w: %d bytes", errHeader, len(fixed))
	case fixed[0] == 'l':
		order = binary.LittleEndian
	case fixed[0] == 'B':
		order = binary.BigEndian
	default:
		return 0, 0, fmt.Errorf("%w: byte order %q", errHeader, fixed[0])
	}
	if fixed[3] != 1 {
		return 0, 0, fmt.Errorf("%w: protocol version %d", errHeader, fixed[3])
	}
	size, fields := uint64(order.Uint32(fixed[4:])), uint64(order.Uint32(fixed[12:]))
	padded := (fixedSize + fields + 7) &^ 7
	if fields > maxArrayBytes || padded+size > maxMessage {
		return 0, 0, fmt.Errorf("%w: %d bytes of fields and %d of body", errHeader, fields, size)
	}
	return int(padded), int(size), nil //nolint:gosec // checked above
}

// ParseHeader reads a whole header of the size that [Sizes] returned. It ignores
// unknown fields.
func ParseHeader(b []byte) (*Header, error) {
	_, body, err := Sizes(b)
	if err != nil {
		return nil, err
	}
	h := &Header{Type: b[1], Flags: b[2], BigEndian: b[0] == 'B', BodySize: body}
	d := NewDecoder(string(b), h.BigEndian)
	d.pos = 8
	h.Serial = d.Uint32()
	for end := d.array('('); d.more(end); {
		d.take(0, 8)
		code, typ := d.Byte(), d.variantType()
		if d.err == nil {
			h.field(d, code, typ)
		}
	}
	if d.err != nil {
		return nil, fmt.Errorf("%w: %w", errHeader, d.err)
	}
	return h, nil
}

func (h *Header) field(d *Decoder, code byte, typ string) {
	target, want := (*string)(nil), "s"
	switch code {
	case fieldPath:
		target, want = &h.Path, "o"
	case fieldInterface:
		target = &h.Interface
	case fieldMember:
		target = &h.Member
	case fieldErrorName:
		target = &h.ErrorName
	case fieldDestination:
		target = &h.Destination
	case fieldSender:
		target = &h.Sender
	case fieldSignature:
		target, want = &h.Signature, "g"
	case fieldReplySerial, fieldUnixFDs:
		want = "u"
	default:
		d.skip(typ, maxTotalNesting)
		return
	}
	if typ != want {
		d.fail(errSignature)
		return
	}
	switch {
	case code == fieldReplySerial:
		h.ReplySerial = d.Uint32()
	case target == nil:
		d.Uint32()
	case want == "g":
		*target = d.counted(int(d.Byte())) // the receiver compares it with the expected one
	default:
		*target = d.String()
	}
}

// skip skips a value without allocating it, because a peer may put anything into
// an unknown field.
func (d *Decoder) skip(typ string, depth int) {
	switch {
	case depth <= 0:
		d.fail(errTooDeep)
	case typ[0] == 'a':
		end := d.array(typ[1])
		d.take(end-d.pos, 1)
	case typ[0] == 'v':
		if inner := d.variantType(); d.err == nil {
			d.skip(inner, depth-1)
		}
	case typ[0] == '(':
		d.take(0, 8)
		for types := typ[1 : len(typ)-1]; types != "" && d.err == nil; {
			field, rest, err := nextType(types)
			if err != nil {
				d.fail(err)
				return
			}
			d.skip(field, depth-1)
			types = rest
		}
	default:
		d.Value(typ, 0)
	}
}

// Message appends a whole message; body appends its arguments, and may be nil.
// h.BodySize, BigEndian and Sender are ignored: the bus sets the sender.
func (e *Encoder) Message(h *Header, body func(e *Encoder)) {
	e.base = len(e.Bytes)
	e.Bytes = append(e.Bytes, 'l', h.Type, h.Flags, 1, 0, 0, 0, 0)
	e.Uint32(h.Serial)
	e.Array('(', func() { e.fields(h) })
	e.Align(8)
	start := len(e.Bytes)
	if body != nil {
		body(e)
	}
	binary.LittleEndian.PutUint32(e.Bytes[e.base+4:], uint32(len(e.Bytes)-start)) //nolint:gosec // messages are bounded
}

func (e *Encoder) fields(h *Header) {
	e.textField(fieldPath, "o", h.Path)
	e.textField(fieldInterface, "s", h.Interface)
	e.textField(fieldMember, "s", h.Member)
	e.textField(fieldErrorName, "s", h.ErrorName)
	e.textField(fieldDestination, "s", h.Destination)
	if h.ReplySerial != 0 {
		e.Align(8)
		e.Byte(fieldReplySerial)
		e.Signature("u")
		e.Uint32(h.ReplySerial)
	}
	if h.Signature != "" {
		e.Align(8)
		e.Byte(fieldSignature)
		e.Signature("g")
		e.Signature(h.Signature)
	}
}

func (e *Encoder) textField(code byte, typ, value string) {
	if value == "" {
		return
	}
	e.Align(8)
	e.Byte(code)
	e.Signature(typ)
	e.String(value)
}
