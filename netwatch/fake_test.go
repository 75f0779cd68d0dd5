package netwatch

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/netwatch/rtnl"
)

// fakeLink is a veth of the model.
type fakeLink struct {
	name  string
	flags uint32
	peer  rtnl.Peer
}

// datagram is a queued datagram: its messages, or the error of reading them.
type datagram struct {
	messages []rtnl.Message
	err      error
}

// fake is a model of the kernel's side of the socket (net/netlink/af_netlink.c): a queue with room for
// some datagrams; an overrun that is reported once, after which all messages are dropped until the queue
// is empty; a dump whose next part is made after a receive. The zero fake has no links and no limit of
// room.
type fake struct {
	links     map[uint32]*fakeLink
	changed   int                     // links added or removed so far
	inner     map[rtnl.Peer]*fakeLink // the peers in other namespaces; their peer is the end here
	queue     []datagram
	room      int // datagrams; 0 is no limit
	congested bool
	pending   error // of the next receive

	dumping  bool
	dumpSeq  uint32 // of the request
	next     uint32 // ifindex at which the next part begins
	atPart   int    // value of changed at the last part
	dumps    int    // begun
	asked    int    // questions about links
	overruns int

	// Faults that happen once.
	loseRequest, failPart bool
	// between is called after a part was built, before it is queued.
	between func()
}

func (f *fake) Receive(bool) ([]rtnl.Message, error) {
	defer func() { // as netlink_rcv_wake does at the end of each receive
		if len(f.queue) == 0 {
			f.congested = false
		}
	}()
	if err := f.pending; err != nil {
		f.pending = nil
		return nil, err
	}
	if len(f.queue) == 0 {
		return nil, unix.EAGAIN
	}
	d := f.queue[0]
	f.queue = f.queue[1:]
	if f.dumping && (f.room == 0 || len(f.queue) <= f.room/2) {
		if !f.part() {
			f.pending = rtnl.ErrLost
		}
	}
	return d.messages, d.err
}

// part queues the next part of the dump.
func (f *fake) part() bool {
	if f.failPart || f.room != 0 && len(f.queue) >= f.room {
		f.failPart = false
		return false
	}
	interrupted := f.atPart != f.changed
	f.atPart = f.changed
	var d datagram
	add := func(m rtnl.Message) {
		m.From, m.Request, m.Interrupted = rtnl.NSIDLocal, f.dumpSeq, interrupted
		d.messages = append(d.messages, m)
	}
	for _, ifindex := range slices.Sorted(maps.Keys(f.links)) {
		if ifindex >= f.next && len(d.messages) < 3 {
			add(newLink(ifindex, f.links[ifindex]))
			f.next = ifindex + 1
		}
	}
	if len(d.messages) == 0 {
		add(rtnl.Message{Type: unix.NLMSG_DONE})
		f.dumping = false
	}
	if f.between != nil {
		f.between()
	}
	f.queue = append(f.queue, d)
	return true
}

func (f *fake) RequestDump(number uint32) error {
	switch {
	case f.loseRequest:
		f.loseRequest = false
	case f.dumping:
		f.refuse(number, unix.EBUSY)
	default:
		f.dumping, f.dumpSeq, f.next, f.atPart = true, number, 0, f.changed
		f.dumps++
		if !f.part() {
			f.refuse(number, unix.ENOBUFS)
		}
	}
	return nil
}

func (f *fake) Nudge(number uint32) error {
	f.refuse(number, 0)
	return nil
}

// refuse answers a request with an error; 0 is an acknowledgement.
func (f *fake) refuse(number uint32, why unix.Errno) {
	f.say(rtnl.Message{Type: unix.NLMSG_ERROR, From: rtnl.NSIDLocal, Request: number, Errno: why})
}

func (f *fake) Link(at rtnl.Peer) (rtnl.Link, error) {
	f.asked++
	l := f.inner[at]
	if at.NSID == rtnl.NSIDLocal {
		l = f.links[at.Ifindex]
	}
	if l == nil {
		return rtnl.Link{}, fmt.Errorf("fake: %w", unix.ENODEV)
	}
	return newLink(at.Ifindex, l).Link, nil
}

func (f *fake) SetDeadline(time.Time) error { return nil }
func (f *fake) Close() error                { return nil }

// say queues a message, or drops it.
func (f *fake) say(m rtnl.Message) {
	if !f.congested && (f.room == 0 || len(f.queue) < f.room) {
		f.queue = append(f.queue, datagram{messages: []rtnl.Message{m}})
		return
	}
	if !f.congested {
		f.congested = true
		f.pending = rtnl.ErrLost
		f.overruns++
	}
}

// sayFrom queues a message of another namespace.
func (f *fake) sayFrom(nsid int32, m rtnl.Message) {
	m.From = nsid
	f.say(m)
}

// tell queues a message about the present state of a link.
func (f *fake) tell(ifindex uint32) { f.say(newLink(ifindex, f.links[ifindex])) }

func newLink(ifindex uint32, l *fakeLink) rtnl.Message {
	return rtnl.Message{Type: unix.RTM_NEWLINK, From: rtnl.NSIDLocal, Link: rtnl.Link{
		Ifindex: ifindex, Flags: l.flags, Name: l.name, Peer: l.peer,
	}}
}

func delLink(ifindex uint32, l *fakeLink, to *rtnl.Peer) rtnl.Message {
	m := newLink(ifindex, l)
	m.Type, m.Link.Deleted = unix.RTM_DELLINK, true
	if to != nil {
		m.Link.Moved, m.Link.MovedTo = true, *to
	}
	return m
}

func nsidMessage(typ uint16, nsid int32) rtnl.Message {
	return rtnl.Message{Type: typ, From: rtnl.NSIDLocal, NSID: nsid}
}

// alone is the peer in a message that names none.
var alone = rtnl.Peer{NSID: rtnl.NSIDLocal}
