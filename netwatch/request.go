package netwatch

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// extFilterSkipStats asks for links without their counters, which are a good part
// of a record (RTEXT_FILTER_SKIP_STATS, include/uapi/linux/rtnetlink.h).
const extFilterSkipStats = 1 << 3

// dumpRequest returns a request for all veths. The kernel filters by the kind, so
// other links cost nothing.
func dumpRequest(seq uint32) []byte {
	kind := appendAttribute(nil, unix.IFLA_INFO_KIND, []byte("veth\x00"))
	body := make([]byte, unix.SizeofIfInfomsg) // family AF_UNSPEC
	body = appendAttribute(body, unix.IFLA_LINKINFO|unix.NLA_F_NESTED, kind)
	body = appendAttribute(body, unix.IFLA_EXT_MASK, binary.NativeEndian.AppendUint32(nil, extFilterSkipStats))
	return appendMessage(unix.RTM_GETLINK, unix.NLM_F_REQUEST|unix.NLM_F_DUMP, seq, body)
}

// linkRequest returns a request for one link, in the namespace with an id or here.
func linkRequest(seq, ifindex uint32, nsid int32) []byte {
	body := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(body[4:], ifindex)
	if nsid >= 0 {
		body = appendAttribute(body, unix.IFLA_TARGET_NETNSID, binary.NativeEndian.AppendUint32(nil, uint32(nsid)))
	}
	body = appendAttribute(body, unix.IFLA_EXT_MASK, binary.NativeEndian.AppendUint32(nil, extFilterSkipStats))
	return appendMessage(unix.RTM_GETLINK, unix.NLM_F_REQUEST, seq, body)
}

// nsidRequest returns a request for the id of the namespace that a file descriptor holds.
func nsidRequest(seq uint32, fd uintptr) []byte {
	body := appendAttribute(make([]byte, sizeofRtGenMsg), unix.NETNSA_FD, binary.NativeEndian.AppendUint32(nil, uint32(fd))) //nolint:gosec // a file descriptor fits
	return appendMessage(unix.RTM_GETNSID, unix.NLM_F_REQUEST, seq, body)
}

// fenceRequest returns a request that does nothing but be acknowledged: what the
// kernel queued before the acknowledgement was there before the request.
func fenceRequest(seq uint32) []byte {
	return appendMessage(unix.NLMSG_NOOP, unix.NLM_F_REQUEST|unix.NLM_F_ACK, seq, nil)
}

func appendMessage(typ, flags uint16, seq uint32, body []byte) []byte {
	b := make([]byte, 0, unix.NLMSG_HDRLEN+align(len(body)))
	b = binary.NativeEndian.AppendUint32(b, uint32(unix.NLMSG_HDRLEN+len(body))) //nolint:gosec // short
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = binary.NativeEndian.AppendUint16(b, flags)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = binary.NativeEndian.AppendUint32(b, 0) // the kernel knows who we are
	return pad(append(b, body...))
}

func appendAttribute(b []byte, typ uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(attrHeaderLen+len(value))) //nolint:gosec // short
	b = binary.NativeEndian.AppendUint16(b, typ)
	return pad(append(b, value...))
}

func pad(b []byte) []byte {
	for len(b) != align(len(b)) {
		b = append(b, 0)
	}
	return b
}
