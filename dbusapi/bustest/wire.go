package bustest

import (
	"errors"
	"fmt"
	"io"
)

// Types of messages.
const (
	TypeCall   byte = 1
	TypeReturn byte = 2
	TypeError  byte = 3
	TypeSignal byte = 4
)

// FlagNoReply tells the receiver of a call not to answer.
const FlagNoReply byte = 1

// Codes of header fields.
const (
	fieldPath = iota + 1
	fieldInterface
	fieldMember
	fieldErrorName
	fieldReplySerial
	fieldDestination
	fieldSender
	fieldSignature
	fieldUnixFDs
)

// Sizes of the wire format.
const (
	fixedHeader    = 16        // up to the length of the field array, and with it
	maxMessageSize = 128 << 20 // of a message, by the D-Bus specification
)

// Message is a D-Bus message with its body as bytes. Header fields that are empty
// or zero are not sent.
type Message struct {
	Type        byte
	Flags       byte
	Serial      uint32
	Path        string
	Interface   string
	Member      string
	Destination string
	ErrorName   string
	Sender      string // set by the bus, which refuses or replaces what a client claims
	Signature   string
	ReplySerial uint32
	UnixFDs     uint32
	Body        []byte // in the byte order of the message, see [Body]
	BigEndian   bool
}

// MethodCall returns a call without arguments: set Signature and Body to add some.
func MethodCall(destination, path, iface, member string) *Message {
	return &Message{Type: TypeCall, Destination: destination, Path: path, Interface: iface, Member: member}
}

// Marshal returns the bytes to send. It checks nothing.
func (m *Message) Marshal() []byte {
	h := &Body{BigEndian: m.BigEndian}
	endian := byte('l')
	if m.BigEndian {
		endian = 'B'
	}
	const protocolVersion = 1
	h.Raw(endian, m.Type, m.Flags, protocolVersion)
	h.Uint32(uint32(len(m.Body))) //nolint:gosec // longer than a message may be
	h.Uint32(m.Serial)
	h.Array(8, m.marshalFields)
	h.Align(8)
	return append(h.Bytes(), m.Body...)
}

func (m *Message) marshalFields(h *Body) {
	text := func(code byte, signature, value string) {
		if value != "" {
			h.Align(8).Byte(code).Variant(signature, func(h *Body) { h.String(value) })
		}
	}
	number := func(code byte, value uint32) {
		if value != 0 {
			h.Align(8).Byte(code).Variant("u", func(h *Body) { h.Uint32(value) })
		}
	}
	text(fieldPath, "o", m.Path)
	text(fieldInterface, "s", m.Interface)
	text(fieldMember, "s", m.Member)
	text(fieldErrorName, "s", m.ErrorName)
	number(fieldReplySerial, m.ReplySerial)
	text(fieldDestination, "s", m.Destination)
	text(fieldSender, "s", m.Sender)
	if m.Signature != "" {
		h.Align(8).Byte(fieldSignature).Variant("g", func(h *Body) { h.Signature(m.Signature) })
	}
	number(fieldUnixFDs, m.UnixFDs)
}

// ReadMessage reads one message, of at most 128 MiB. It does not check the body.
// Unknown header fields are an error. It returns io.EOF at the end of r, and
// io.ErrUnexpectedEOF within a message.
func ReadMessage(r io.Reader) (*Message, error) {
	var fixed [fixedHeader]byte
	if _, err := io.ReadFull(r, fixed[:]); err != nil {
		return nil, err
	}
	m := &Message{Type: fixed[1], Flags: fixed[2], BigEndian: fixed[0] == 'B'}
	if fixed[0] != 'l' && fixed[0] != 'B' {
		return nil, fmt.Errorf("bustest: message starts with %q", fixed[:])
	}
	order := orderOf(m.BigEndian)
	m.Serial = order.Uint32(fixed[8:])
	bodySize, fieldSize := order.Uint32(fixed[4:]), order.Uint32(fixed[12:])
	if bodySize > maxMessageSize || fieldSize > maxMessageSize {
		return nil, fmt.Errorf("bustest: message of %d and %d bytes", fieldSize, bodySize)
	}
	padded := (fieldSize + 7) &^ 7
	rest := make([]byte, padded+bodySize)
	if _, err := io.ReadFull(r, rest); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	m.Body = rest[padded:]
	// The fields start at a multiple of 8, so that they can be read by themselves.
	if err := m.readFields(&reader{buf: rest[:fieldSize], order: order}); err != nil {
		return nil, fmt.Errorf("bustest: header fields: %w", err)
	}
	return m, nil
}

func (m *Message) readFields(r *reader) error {
	texts := map[byte]*string{
		fieldPath: &m.Path, fieldInterface: &m.Interface, fieldMember: &m.Member,
		fieldErrorName: &m.ErrorName, fieldDestination: &m.Destination, fieldSender: &m.Sender,
		fieldSignature: &m.Signature,
	}
	numbers := map[byte]*uint32{fieldReplySerial: &m.ReplySerial, fieldUnixFDs: &m.UnixFDs}
	for r.err == nil && r.pos < len(r.buf) {
		r.align(8)
		code := r.byte()
		signature := r.signature()
		text, number := texts[code], numbers[code]
		switch {
		case r.err != nil:
		case text != nil && (signature == "s" || signature == "o"):
			*text = r.string()
		case text != nil && signature == "g":
			*text = r.signature()
		case number != nil && signature == "u":
			*number = r.uint32()
		default:
			return fmt.Errorf("field %d of type %q", code, signature)
		}
	}
	return r.err
}

// FirstString returns the first argument, which must be a string or a path.
func (m *Message) FirstString() (string, error) {
	if len(m.Signature) == 0 || m.Signature[0] != 's' && m.Signature[0] != 'o' {
		return "", fmt.Errorf("bustest: a body of %q does not start with a string", m.Signature)
	}
	r := &reader{buf: m.Body, order: orderOf(m.BigEndian)}
	return r.string(), r.err
}

// reader reads values from marshalled bytes. After an error it returns zeros.
type reader struct {
	buf   []byte
	pos   int
	order byteOrder
	err   error
}

func (r *reader) take(n int) []byte {
	if r.err == nil && (n < 0 || n > len(r.buf)-r.pos) {
		r.err = io.ErrUnexpectedEOF
	}
	if r.err != nil {
		return nil
	}
	r.pos += n
	return r.buf[r.pos-n : r.pos]
}

func (r *reader) align(n int) { r.take((n - r.pos%n) % n) }

func (r *reader) byte() byte {
	if p := r.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (r *reader) uint32() uint32 {
	r.align(4)
	if p := r.take(4); p != nil {
		return r.order.Uint32(p)
	}
	return 0
}

func (r *reader) string() string {
	s := string(r.take(int(r.uint32())))
	r.take(1) // the zero at its end
	return s
}

func (r *reader) signature() string {
	s := string(r.take(int(r.byte())))
	r.take(1)
	return s
}
