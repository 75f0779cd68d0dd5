package netwatch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// errMalformed is wrapped by every error of the decoder. Something that cannot be
// read may have been news, so the answer to it is a resync.
var errMalformed = errors.New("malformed netlink message")

const (
	attrTypeMask     = 0x3fff // without NLA_F_NESTED and NLA_F_NET_BYTEORDER
	attrHeaderLen    = 4
	sizeofRtGenMsg   = 4 // aligned
	maxInterfaceName = unix.IFNAMSIZ - 1
)

// message is one netlink message. The body points into the datagram.
type message struct {
	typ, flags uint16
	seq, pid   uint32
	body       []byte
}

// splitMessage takes the first message off a datagram.
func splitMessage(b []byte) (m message, rest []byte, err error) {
	if len(b) < unix.NLMSG_HDRLEN {
		return m, nil, fmt.Errorf("%w: %d bytes left, shorter than a header", errMalformed, len(b))
	}
	size := binary.NativeEndian.Uint32(b)
	if size < unix.NLMSG_HDRLEN || uint64(size) > uint64(len(b)) {
		return m, nil, fmt.Errorf("%w: length %d in a rest of %d bytes", errMalformed, size, len(b))
	}
	m = message{
		typ: binary.NativeEndian.Uint16(b[4:]), flags: binary.NativeEndian.Uint16(b[6:]),
		seq: binary.NativeEndian.Uint32(b[8:]), pid: binary.NativeEndian.Uint32(b[12:]),
		body: b[unix.NLMSG_HDRLEN:size],
	}
	return m, b[min(align(int(size)), len(b)):], nil
}

// align rounds up to the alignment of netlink headers and attributes alike.
func align(n int) int { return (n + 3) &^ 3 }

// errno returns the error that an NLMSG_ERROR or NLMSG_DONE carries, 0 for an
// acknowledgement or a good end.
func (m *message) errno() (unix.Errno, error) {
	if len(m.body) < 4 {
		if m.typ == unix.NLMSG_DONE {
			return 0, nil
		}
		return 0, fmt.Errorf("%w: error message of %d bytes", errMalformed, len(m.body))
	}
	code := int64(int32(binary.NativeEndian.Uint32(m.body))) //nolint:gosec // the sign bit is meant
	if code > 0 {
		return 0, fmt.Errorf("%w: error code %d", errMalformed, code)
	}
	return unix.Errno(-code), nil
}

// link is what an RTM_NEWLINK or RTM_DELLINK of a veth says.
type link struct {
	deleted bool
	ifindex uint32
	flags   uint32
	name    []byte // IFLA_IFNAME as it came, 1 to 15 bytes; points into the message
	peer    Peer   // IFLA_LINK and IFLA_LINK_NETNSID; Ifindex 0 if the message does not say
	moved   bool   // deleted here because it moved to where movedTo says
	movedTo Peer   // IFLA_NEW_NETNSID, IFLA_NEW_IFINDEX
}

// decodeLink reads an RTM_NEWLINK or RTM_DELLINK. ok is false if it is not about
// a veth, or of another family than AF_UNSPEC: the bridge says RTM_DELLINK of
// AF_BRIDGE for a link that merely leaves it.
func decodeLink(m *message) (l link, ok bool, err error) {
	if len(m.body) < unix.SizeofIfInfomsg {
		return l, false, fmt.Errorf("%w: link message of %d bytes", errMalformed, len(m.body))
	}
	if m.body[0] != unix.AF_UNSPEC {
		return l, false, nil
	}
	l = link{
		deleted: m.typ == unix.RTM_DELLINK,
		ifindex: binary.NativeEndian.Uint32(m.body[4:]),
		flags:   binary.NativeEndian.Uint32(m.body[8:]),
		peer:    Peer{NSID: NSIDLocal},
	}
	veth, err := l.attributes(m.body[unix.SizeofIfInfomsg:])
	switch {
	case err != nil:
		return link{}, false, err
	case !veth:
		return link{}, false, nil
	case l.ifindex == 0 || l.ifindex > math.MaxInt32:
		return link{}, false, fmt.Errorf("%w: ifindex %d", errMalformed, int32(l.ifindex)) //nolint:gosec // shown as the kernel's int
	case len(l.name) == 0 || len(l.name) > maxInterfaceName:
		return link{}, false, fmt.Errorf("%w: name of %d bytes for ifindex %d", errMalformed, len(l.name), l.ifindex)
	}
	if l.moved && l.movedTo.Ifindex == 0 { // kernels before 5.1 do not say: it kept its ifindex
		l.movedTo.Ifindex = l.ifindex
	}
	return l, true, nil
}

// attributes reads the attributes of a link message, and reports whether the link
// is a veth.
func (l *link) attributes(b []byte) (veth bool, err error) {
	for len(b) > 0 {
		var typ uint16
		var value []byte
		if typ, value, b, err = splitAttribute(b); err != nil {
			return false, err
		}
		switch typ {
		case unix.IFLA_IFNAME:
			l.name = untilNUL(value)
		case unix.IFLA_LINKINFO:
			veth, err = isVeth(value)
		case unix.IFLA_LINK:
			l.peer.Ifindex, err = ifindexOf(value)
		case unix.IFLA_LINK_NETNSID:
			l.peer.NSID, err = nsidOf(value)
		case unix.IFLA_NEW_NETNSID:
			l.moved = true
			l.movedTo.NSID, err = nsidOf(value)
		case unix.IFLA_NEW_IFINDEX:
			l.movedTo.Ifindex, err = ifindexOf(value)
		}
		if err != nil {
			return false, fmt.Errorf("attribute %d: %w", typ, err)
		}
	}
	return veth, nil
}

// splitAttribute takes the first attribute off b. The flags for nesting and byte
// order, which newer kernels set where older ones did not, are masked.
func splitAttribute(b []byte) (typ uint16, value, rest []byte, err error) {
	if len(b) < attrHeaderLen {
		return 0, nil, nil, fmt.Errorf("%w: %d bytes left, shorter than an attribute", errMalformed, len(b))
	}
	size := int(binary.NativeEndian.Uint16(b))
	if size < attrHeaderLen || size > len(b) {
		return 0, nil, nil, fmt.Errorf("%w: attribute of length %d in a rest of %d bytes", errMalformed, size, len(b))
	}
	typ = binary.NativeEndian.Uint16(b[2:]) & attrTypeMask
	return typ, b[attrHeaderLen:size], b[min(align(size), len(b)):], nil
}

// isVeth reads the kind in an IFLA_LINKINFO.
func isVeth(b []byte) (bool, error) {
	veth := false
	for len(b) > 0 {
		typ, value, rest, err := splitAttribute(b)
		if err != nil {
			return false, err
		}
		if typ == unix.IFLA_INFO_KIND {
			veth = string(untilNUL(value)) == "veth"
		}
		b = rest
	}
	return veth, nil
}

func untilNUL(b []byte) []byte {
	for i, c := range b {
		if c == 0 {
			return b[:i]
		}
	}
	return b
}

func ifindexOf(b []byte) (uint32, error) {
	if len(b) < 4 {
		return 0, fmt.Errorf("%w: ifindex of %d bytes", errMalformed, len(b))
	}
	v := binary.NativeEndian.Uint32(b)
	if v > math.MaxInt32 {
		return 0, fmt.Errorf("%w: ifindex %d", errMalformed, v)
	}
	return v, nil
}

// decodeNSID reads an RTM_NEWNSID or RTM_DELNSID.
func decodeNSID(m *message) (int32, error) {
	if len(m.body) < sizeofRtGenMsg {
		return 0, fmt.Errorf("%w: nsid message of %d bytes", errMalformed, len(m.body))
	}
	for b := m.body[sizeofRtGenMsg:]; len(b) > 0; {
		typ, value, rest, err := splitAttribute(b)
		if err != nil {
			return 0, err
		}
		if typ == unix.NETNSA_NSID {
			return nsidOf(value)
		}
		b = rest
	}
	return 0, fmt.Errorf("%w: nsid message without an nsid", errMalformed)
}

// nsidOf reads a namespace id that is there. -1 is then not "this namespace",
// which is said by leaving the attribute out, but "has no id here".
func nsidOf(b []byte) (int32, error) {
	if len(b) < 4 {
		return 0, fmt.Errorf("%w: nsid of %d bytes", errMalformed, len(b))
	}
	v := int32(binary.NativeEndian.Uint32(b)) //nolint:gosec // the sign bit is meant
	if v < 0 {
		return NSIDUnknown, nil
	}
	return v, nil
}
