package rtnl

import (
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// AnswerTimeout is how long [Socket.Link] waits for the kernel.
const AnswerTimeout = time.Second

// extFilterSkipStats asks for links without their counters, because these are a large part of a
// record (RTEXT_FILTER_SKIP_STATS, include/uapi/linux/rtnetlink.h).
const extFilterSkipStats = 1 << 3

// dumpRequest returns a request for all veths. The kernel filters by kind, so it sends no other links.
func dumpRequest(number uint32) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
	r.Seq = number
	r.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	info := nl.NewRtAttr(unix.IFLA_LINKINFO|unix.NLA_F_NESTED, nil)
	info.AddRtAttr(unix.IFLA_INFO_KIND, nl.ZeroTerminated("veth"))
	r.AddData(info)
	r.AddData(nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(extFilterSkipStats)))
	return r
}

// nudgeRequest returns a request that the kernel acknowledges, and that has no other effect.
func nudgeRequest(number uint32) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(unix.NLMSG_NOOP, unix.NLM_F_ACK)
	r.Seq = number
	return r
}

// linkRequest returns a request for one link.
func linkRequest(at Peer) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	header := nl.NewIfInfomsg(unix.AF_UNSPEC)
	header.Index = int32(at.Ifindex) //nolint:gosec // an ifindex fits
	r.AddData(header)
	if at.NSID >= 0 {
		r.AddData(nl.NewRtAttr(unix.IFLA_TARGET_NETNSID, nl.Uint32Attr(uint32(at.NSID))))
	}
	r.AddData(nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(extFilterSkipStats)))
	return r
}

// RequestDump asks for a dump of all veths. Receive returns its records, and its end or its
// refusal, with number as their Request.
func (s *Socket) RequestDump(number uint32) error { return s.send(dumpRequest(number)) }

// Nudge asks for an acknowledgement, which Receive returns. A Nudge resumes a dump whose next part
// had no room in the queue, because the kernel continues a dump only when a message is received.
func (s *Socket) Nudge(number uint32) error { return s.send(nudgeRequest(number)) }

// Link asks for one veth, in the namespace with the id at.NSID or, for NSIDLocal, in the watched
// one. Errors are those of the kernel: ENODEV if there is no such veth, EINVAL if the nsid is not
// in use, EPERM without CAP_NET_ADMIN over that namespace, and EAGAIN if the kernel did not
// answer within AnswerTimeout.
func (s *Socket) Link(at Peer) (Link, error) {
	r := linkRequest(at)
	r.Sockets = s.questions
	answers, err := r.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil {
		return Link{}, fmt.Errorf("ask for link %d of nsid %d: %w", at.Ifindex, at.NSID, err)
	}
	for _, answer := range answers {
		if l, veth, err := decodeLink(answer); err != nil || veth {
			return l, err
		}
	}
	return Link{}, fmt.Errorf("ask for link %d of nsid %d: %w", at.Ifindex, at.NSID, unix.ENODEV)
}

// openQuestionSockets opens the sockets for questions, in the namespace of the calling thread.
func (s *Socket) openQuestionSockets() error {
	socket, err := nl.GetNetlinkSocketAt(-1, -1, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink socket for questions: %w", err)
	}
	s.questions = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: socket}}
	limit := unix.NsecToTimeval(AnswerTimeout.Nanoseconds())
	if s.ids, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("netlink socket for ids: %w", err)
	}
	return errors.Join(socket.SetSendTimeout(&limit), socket.SetReceiveTimeout(&limit), s.ids.SetSocketTimeout(AnswerTimeout))
}

// refreshOwnID asks which id the watched namespace has in itself. If it has one, all of its
// messages carry it.
func (s *Socket) refreshOwnID() error {
	id, err := s.ids.GetNetNsIdByFd(int(s.namespace.Fd()))
	if err != nil {
		return fmt.Errorf("own namespace id: %w", err)
	}
	s.own = max(int32(id), NSIDLocal) //nolint:gosec // the kernel counts in int
	return nil
}
