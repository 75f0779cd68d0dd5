package netwatch

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const fakePort = 4711

// fakeLink is a veth of the model.
type fakeLink struct {
	name  string
	flags uint32
	peer  Peer
}

// datagram is one that waits, and where it is from.
type datagram struct {
	b    []byte
	from origin
}

// fake is a model of the kernel's side of the socket (net/netlink/af_netlink.c):
// a queue with room for some datagrams; ENOBUFS said once and then everything
// dropped until the queue is empty; a dump whose next part is made when something
// was read. The zero fake has no links and no room limit.
type fake struct {
	links     map[uint32]*fakeLink
	changed   int                // links added or removed so far
	inner     map[Peer]*fakeLink // the peers in other namespaces; their peer is the end here
	queue     []datagram
	last      origin
	room      int // datagrams; 0 is no limit
	congested bool
	pending   error // said by the next receive

	dumping  bool
	finished bool   // all records are out, NLMSG_DONE is not
	dumpSeq  uint32 // of the request
	next     uint32 // ifindex to go on from
	atPart   int    // changed at the last part
	dumps    int    // begun
	sent     int    // requests
	overruns int

	// Faults, each for once.
	loseRequest, failPart bool
	// between is called when a part was built and before it is queued.
	between func()
}

func (f *fake) receive(b []byte, _ bool) (int, error) {
	defer func() { // as netlink_rcv_wake does at the end of each receive
		if len(f.queue) == 0 {
			f.congested = false
		}
	}()
	if err := f.pending; err != nil {
		f.pending = nil
		return 0, err
	}
	if len(f.queue) == 0 {
		return 0, unix.EAGAIN
	}
	d := f.queue[0].b
	f.last = f.queue[0].from
	f.queue = f.queue[1:]
	if f.dumping && (f.room == 0 || len(f.queue) <= f.room/2) {
		if !f.part() {
			f.pending = unix.ENOBUFS
		}
	}
	if len(d) > len(b) {
		return len(b), errTruncated
	}
	return copy(b, d), nil
}

// part queues the next part of the dump.
func (f *fake) part() bool {
	if f.failPart || f.room != 0 && len(f.queue) >= f.room {
		f.failPart = false
		return false
	}
	var flags uint16 = unix.NLM_F_MULTI
	if f.atPart != f.changed {
		flags |= unix.NLM_F_DUMP_INTR
	}
	f.atPart = f.changed
	var b []byte
	switch {
	case f.finished:
		b = answer(unix.NLMSG_DONE, flags, f.dumpSeq, make([]byte, 4))
		f.dumping = false
	default:
		n := 0
		for _, ifindex := range slices.Sorted(maps.Keys(f.links)) {
			if ifindex < f.next {
				continue
			}
			if n++; n > 3 {
				break
			}
			b = append(b, answer(unix.RTM_NEWLINK, flags, f.dumpSeq, linkBody(ifindex, f.links[ifindex], nil))...)
			f.next = ifindex + 1
		}
		if n <= 3 {
			f.finished = true
		}
		if n == 0 {
			return f.part()
		}
	}
	if f.between != nil {
		f.between()
	}
	f.queue = append(f.queue, datagram{b, answered})
	return true
}

var (
	local    = origin{nsid: NSIDLocal}
	answered = origin{nsid: NSIDLocal, answer: true}
)

func (f *fake) send(b []byte) error {
	f.sent++
	m, _, err := splitMessage(b)
	if err != nil {
		return err
	}
	switch {
	case m.typ == unix.NLMSG_NOOP:
		f.unicast(answer(unix.NLMSG_ERROR, 0, m.seq, make([]byte, 20)))
	case m.typ == unix.RTM_GETLINK && m.flags&unix.NLM_F_DUMP != unix.NLM_F_DUMP:
		f.tellOne(&m)
	case f.loseRequest:
		f.loseRequest = false
	case f.dumping:
		f.refuse(m.seq, unix.EBUSY)
	default:
		f.dumping, f.finished, f.dumpSeq, f.next, f.atPart = true, false, m.seq, 0, f.changed
		f.dumps++
		if !f.part() {
			f.refuse(m.seq, unix.ENOBUFS)
		}
	}
	return nil
}

// tellOne answers a question about one link, here or in another namespace.
func (f *fake) tellOne(m *message) {
	ifindex := binary.NativeEndian.Uint32(m.body[4:])
	l, missing := f.links[ifindex], unix.ENODEV
	for b := m.body[unix.SizeofIfInfomsg:]; len(b) > 0; {
		var typ uint16
		var value []byte
		typ, value, b, _ = splitAttribute(b)
		if typ == unix.IFLA_TARGET_NETNSID {
			l = f.inner[Peer{int32(binary.NativeEndian.Uint32(value)), ifindex}]
		}
	}
	if l == nil {
		f.refuse(m.seq, missing)
		return
	}
	f.unicast(answer(unix.RTM_NEWLINK, 0, m.seq, linkBody(ifindex, l, nil)))
}

func (f *fake) refuse(seq uint32, why unix.Errno) {
	body := binary.NativeEndian.AppendUint32(nil, uint32(-int32(why)))
	f.unicast(answer(unix.NLMSG_ERROR, 0, seq, append(body, make([]byte, 16)...)))
}

func (f *fake) unicast(b []byte) { f.say(b, answered) } // it may be dropped the same way

// broadcast queues a live message, or drops it.
func (f *fake) broadcast(b []byte) { f.say(b, local) }

func (f *fake) say(b []byte, from origin) {
	if !f.congested && (f.room == 0 || len(f.queue) < f.room) {
		f.queue = append(f.queue, datagram{b, from})
		return
	}
	if !f.congested {
		f.congested = true
		f.pending = unix.ENOBUFS
		f.overruns++
	}
}

func (f *fake) port() uint32                { return fakePort }
func (f *fake) sender() origin              { return f.last }
func (f *fake) ownNSID() (int32, error)     { return NSIDLocal, nil }
func (f *fake) setDeadline(time.Time) error { return nil }
func (f *fake) close() error                { return nil }

// tell says how a link is now.
func (f *fake) tell(ifindex uint32) { f.broadcast(newLink(ifindex, f.links[ifindex])) }

func newLink(ifindex uint32, l *fakeLink) []byte {
	return appendMessage(unix.RTM_NEWLINK, 0, 0, linkBody(ifindex, l, nil))
}

func delLink(ifindex uint32, l *fakeLink, to *Peer) []byte {
	return appendMessage(unix.RTM_DELLINK, 0, 0, linkBody(ifindex, l, to))
}

// answer is a message that answers the watcher.
func answer(typ, flags uint16, seq uint32, body []byte) []byte {
	b := appendMessage(typ, flags, seq, body)
	binary.NativeEndian.PutUint32(b[12:], fakePort)
	return b
}

func linkBody(ifindex uint32, l *fakeLink, to *Peer) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], ifindex)
	binary.NativeEndian.PutUint32(b[8:], l.flags)
	number := func(typ uint16, v uint32) {
		b = appendAttribute(b, typ, binary.NativeEndian.AppendUint32(nil, v))
	}
	b = appendAttribute(b, unix.IFLA_IFNAME, append([]byte(l.name), 0))
	number(unix.IFLA_LINK, l.peer.Ifindex)
	b = appendAttribute(b, unix.IFLA_LINKINFO|unix.NLA_F_NESTED, appendAttribute(nil, unix.IFLA_INFO_KIND, []byte("veth\x00")))
	switch l.peer.NSID {
	case NSIDLocal:
	case NSIDUnknown:
		number(unix.IFLA_LINK_NETNSID, math.MaxUint32)
	default:
		number(unix.IFLA_LINK_NETNSID, uint32(l.peer.NSID))
	}
	if to != nil {
		number(unix.IFLA_NEW_NETNSID, uint32(to.NSID))
		number(unix.IFLA_NEW_IFINDEX, to.Ifindex)
	}
	return b
}
