package rtnl

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ErrMalformed says that a message cannot be read, or that its sender is not certain. Its content is lost.
var ErrMalformed = errors.New("malformed netlink message")

const (
	sizeofRtGenMsg = 4 // aligned
	// MaxName is the most bytes in the name of an interface.
	MaxName = unix.IFNAMSIZ - 1
)

// Values of [Peer].NSID that are no namespace id.
const (
	// NSIDLocal stands for the watched namespace itself.
	NSIDLocal int32 = -1
	// NSIDUnknown says that the namespace has no id here, or is not known.
	NSIDUnknown int32 = -2
)

// Peer names the other end of a veth.
type Peer struct {
	NSID    int32  // of its namespace, as the watched namespace numbers it; NSIDLocal, NSIDUnknown
	Ifindex uint32 // unique only in that namespace; 0 if not known
}

// Foreign reports whether the peer is in another namespace that has an id.
func (p Peer) Foreign() bool { return p.NSID >= 0 && p.Ifindex != 0 }

// Link is the content of a message about a veth.
type Link struct {
	Ifindex uint32
	Flags   uint32 // IFF_UP and the like
	Name    string // 1 to MaxName bytes, of any value but NUL and slash
	Peer    Peer   // Ifindex 0 if the message does not say
	Deleted bool
	// Moved says that the link left its namespace but still exists: MovedTo has its new namespace and
	// ifindex.
	Moved   bool
	MovedTo Peer
}

// Message is one message of the kernel.
type Message struct {
	Type uint16 // RTM_NEWLINK, RTM_DELLINK, RTM_NEWNSID, RTM_DELNSID, NLMSG_DONE, NLMSG_ERROR
	From int32  // id of the namespace that sent it, NSIDLocal for the watched one
	// Request is the number of the request that the message answers; 0 for a live message.
	Request     uint32
	Interrupted bool       // of a dump: links changed since its last part (NLM_F_DUMP_INTR)
	Link        Link       // of RTM_NEWLINK, RTM_DELLINK
	NSID        int32      // of RTM_NEWNSID, RTM_DELNSID
	Errno       unix.Errno // of NLMSG_DONE, NLMSG_ERROR; 0 is success
}

// Parse appends the messages of a datagram to messages, except those of types and links that the
// package ignores. answer says that the datagram was sent to this socket alone. The error is
// [ErrMalformed] if at least one message could not be read.
func Parse(messages []Message, b []byte, from int32, answer bool) ([]Message, error) {
	var malformed error
	for len(b) > 0 {
		header, body, rest, err := split(b)
		if err != nil {
			return messages, err
		}
		b = rest
		m := Message{Type: header.Type, From: from, Interrupted: header.Flags&unix.NLM_F_DUMP_INTR != 0}
		if answer {
			m.Request = header.Seq
		}
		wanted, err := m.decode(body)
		if err != nil {
			malformed = fmt.Errorf("type %d: %w", header.Type, err)
		} else if wanted {
			messages = append(messages, m)
		}
	}
	return messages, malformed
}

// split takes the first message off a datagram.
func split(b []byte) (header unix.NlMsghdr, body, rest []byte, err error) {
	if len(b) < unix.NLMSG_HDRLEN {
		return header, nil, nil, fmt.Errorf("%w: %d bytes left, shorter than a header", ErrMalformed, len(b))
	}
	header = unix.NlMsghdr{
		Len: binary.NativeEndian.Uint32(b), Type: binary.NativeEndian.Uint16(b[4:]),
		Flags: binary.NativeEndian.Uint16(b[6:]), Seq: binary.NativeEndian.Uint32(b[8:]),
	}
	if header.Len < unix.NLMSG_HDRLEN || uint64(header.Len) > uint64(len(b)) {
		return header, nil, nil, fmt.Errorf("%w: length %d, %d bytes left", ErrMalformed, header.Len, len(b))
	}
	end := min((int(header.Len)+3)&^3, len(b))
	return header, b[unix.NLMSG_HDRLEN:header.Len], b[end:], nil
}

// decode reads the body of a message. wanted is false if the package ignores such messages.
func (m *Message) decode(body []byte) (wanted bool, err error) {
	switch m.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		m.Link, wanted, err = decodeLink(body)
		m.Link.Deleted = m.Type == unix.RTM_DELLINK
		return wanted, err
	case unix.RTM_NEWNSID, unix.RTM_DELNSID:
		m.NSID, err = decodeNSID(body)
		return true, err
	case unix.NLMSG_DONE, unix.NLMSG_ERROR:
		m.Errno, err = decodeErrno(body, m.Type == unix.NLMSG_DONE)
		return true, err
	}
	return false, nil
}

// parseAttributes parses route attributes. It pads b to a multiple of 4 bytes, because
// ParseRouteAttr panics on other lengths.
func parseAttributes(b []byte) ([]syscall.NetlinkRouteAttr, error) {
	if rest := len(b) & 3; rest != 0 {
		b = append(bytes.Clone(b), make([]byte, 4-rest)...)
	}
	all, err := nl.ParseRouteAttr(b)
	if err != nil {
		return nil, fmt.Errorf("%w: attributes: %w", ErrMalformed, err)
	}
	for i := range all {
		all[i].Attr.Type &= nl.NLA_TYPE_MASK // newer kernels flag nested attributes
	}
	return all, nil
}

// decodeLink reads a link message. veth is false if the link is no veth or the family is not
// AF_UNSPEC, because a bridge sends RTM_DELLINK of AF_BRIDGE when a link only leaves the bridge.
func decodeLink(body []byte) (l Link, veth bool, err error) {
	if len(body) < unix.SizeofIfInfomsg {
		return l, false, fmt.Errorf("%w: link message of %d bytes", ErrMalformed, len(body))
	}
	if body[0] != unix.AF_UNSPEC {
		return l, false, nil
	}
	header := nl.DeserializeIfInfomsg(body)
	l = Link{Ifindex: uint32(header.Index), Flags: header.Flags, Peer: Peer{NSID: NSIDLocal}} //nolint:gosec // checked below
	all, err := parseAttributes(body[unix.SizeofIfInfomsg:])
	for i := 0; i < len(all) && err == nil; i++ {
		switch value := all[i].Value; all[i].Attr.Type {
		case unix.IFLA_IFNAME:
			l.Name = string(untilNUL(value))
		case unix.IFLA_LINKINFO:
			veth, err = isVeth(value)
		case unix.IFLA_LINK:
			l.Peer.Ifindex, err = ifindexOf(value)
		case unix.IFLA_LINK_NETNSID:
			l.Peer.NSID, err = nsidOf(value)
		case unix.IFLA_NEW_NETNSID:
			l.Moved = true
			l.MovedTo.NSID, err = nsidOf(value)
		case unix.IFLA_NEW_IFINDEX:
			l.MovedTo.Ifindex, err = ifindexOf(value)
		}
	}
	if err != nil || !veth {
		return Link{}, false, err
	}
	if l.Ifindex == 0 || l.Ifindex > math.MaxInt32 || l.Name == "" || len(l.Name) > MaxName {
		return Link{}, false, fmt.Errorf("%w: ifindex %d with a name of %d bytes", ErrMalformed, header.Index, len(l.Name))
	}
	if l.Moved && l.MovedTo.Ifindex == 0 { // older kernels do not send it; the ifindex mostly stays
		l.MovedTo.Ifindex = l.Ifindex
	}
	return l, true, nil
}

// isVeth reports whether the kind in an IFLA_LINKINFO is veth.
func isVeth(b []byte) (veth bool, err error) {
	all, err := parseAttributes(b)
	for i := range all {
		if all[i].Attr.Type == unix.IFLA_INFO_KIND {
			veth = string(untilNUL(all[i].Value)) == "veth"
		}
	}
	return veth, err
}

func untilNUL(b []byte) []byte {
	before, _, _ := bytes.Cut(b, []byte{0})
	return before
}

func ifindexOf(b []byte) (uint32, error) {
	if len(b) < 4 || binary.NativeEndian.Uint32(b) > math.MaxInt32 {
		return 0, fmt.Errorf("%w: ifindex %x", ErrMalformed, b)
	}
	return binary.NativeEndian.Uint32(b), nil
}

// nsidOf reads an attribute with a namespace id. The value -1 means that the namespace has no id
// here. For the local namespace the kernel sends no attribute.
func nsidOf(b []byte) (int32, error) {
	if len(b) < 4 {
		return 0, fmt.Errorf("%w: nsid %x", ErrMalformed, b)
	}
	v := int32(binary.NativeEndian.Uint32(b)) //nolint:gosec // the sign bit is meant
	if v < 0 {
		return NSIDUnknown, nil
	}
	return v, nil
}

// decodeNSID reads an RTM_NEWNSID or RTM_DELNSID.
func decodeNSID(body []byte) (int32, error) {
	if len(body) < sizeofRtGenMsg {
		return 0, fmt.Errorf("%w: nsid message of %d bytes", ErrMalformed, len(body))
	}
	all, err := parseAttributes(body[sizeofRtGenMsg:])
	if err != nil {
		return 0, err
	}
	for i := range all {
		if all[i].Attr.Type == unix.NETNSA_NSID {
			return nsidOf(all[i].Value)
		}
	}
	return 0, fmt.Errorf("%w: nsid message without an nsid", ErrMalformed)
}

// decodeErrno reads the error number of an acknowledgement, or of the end of a dump, which may lack it.
func decodeErrno(body []byte, mayBeEmpty bool) (unix.Errno, error) {
	if len(body) == 0 && mayBeEmpty {
		return 0, nil
	}
	if len(body) < 4 {
		return 0, fmt.Errorf("%w: error message of %d bytes", ErrMalformed, len(body))
	}
	code := int64(int32(binary.NativeEndian.Uint32(body))) //nolint:gosec // the sign bit is meant
	if code > 0 {
		return 0, fmt.Errorf("%w: error code %d", ErrMalformed, code)
	}
	return unix.Errno(-code), nil
}
