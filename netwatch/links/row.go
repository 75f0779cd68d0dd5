package links

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/rtnl"
)

// Owner is the container that an interface belongs to. The zero Owner is none.
type Owner struct{ Pool, ID string }

// row is one veth on the host.
type row struct {
	hub.Interface               // as it is
	shown         hub.Interface // as the last change showed it, which may wait
	told          hub.Interface // as the last change that does not wait: the row of the view
	peer          rtnl.Peer     // Ifindex 0: not known
	former        rtnl.Peer     // the last that was known for sure
	epoch         uint64        // moves when the peer is another one, or may be
	owner         Owner         // as it was found last
	lastOwner     Owner         // the last that was found
	mover         Owner         // whose namespace it was moved out of to where it is
	moverRuns     bool          // as the last answer said
	kept          bool          // the owner is the mover
	shownKept     bool          // as the last change showed it
	toldKept      bool          // as the view has it
	bound         *Binding      // what was reported, nil for nothing
	contained     bool          // a container was found for this peer, so a report does not count
	verified      bool          // the owner was found since the last rise, in this epoch
	answered      bool          // it was asked for the owner, in this epoch
	nameKnown     bool          // the name inside was heard or asked for, in this epoch
	broke         bool          // it is no longer up the way it was shown, although it is up
	compared      bool          // what is known is from before a loss or a restart
	waived        bool          // an up was told without the owner, so no other waits for it
	gone          bool
	due           bool      // in Table.due
	tries         int       // questions in a row that found no owner
	again         time.Time // when it is asked about again; the zero Time is never
	hold          *hold
	bucket        bucket
	throttled     bool      // over budget: changes are counted, and the outcome is told at roomAt
	resuming      bool      // the outcome is told now
	roomAt        time.Time // when there may be a token
	left          uint32    // changes that were left out since the last event
	seen          uint64    // generation that saw it last, live or in its dump
	live          uint64    // generation in which a live message set it last
}

// differs reports whether a message says something else than the row. What a message leaves out
// differs from nothing.
func (r *row) differs(l *rtnl.Link) bool {
	return stateOf(l.Flags) != r.State || showName(l.Name) != r.Veth || l.Peer.Ifindex != 0 && l.Peer != r.peer
}

// isOfAnother reports whether a live message is of a link of another namespace that has the number
// of the row: its name is new, and so is its peer, or it says that the link is gone. The kernel
// (do_one_broadcast) leaves out the id of the sender's namespace if that is freed in between, and the
// message then looks as if the watched namespace had sent it.
func (r *row) isOfAnother(l *rtnl.Link) bool {
	otherPeer := l.Peer.Ifindex != 0 && r.peer.Ifindex != 0 && l.Peer.Ifindex != r.peer.Ifindex
	return l.Name != "" && showName(l.Name) != r.Veth && (otherPeer || l.Deleted)
}

// stateOf returns the state that the flags tell. IFF_LOWER_UP is the carrier itself. IFF_RUNNING does not
// count: it is the operational state, which the kernel derives from the carrier in a work queue, up to a
// second later if both ends of a veth have the same ifindex (linkwatch_urgent_event in
// net/core/link_watch.c). The end that is set up last passes packets at once, and the message about it
// has IFF_LOWER_UP without IFF_RUNNING.
func stateOf(flags uint32) hub.LinkState {
	switch {
	case flags&unix.IFF_UP == 0:
		return hub.LinkDown
	case flags&unix.IFF_LOWER_UP == 0:
		return hub.LinkNoCarrier
	default:
		return hub.LinkUp
	}
}

// showName returns an interface name as text: the kernel allows nearly any bytes in one, and
// each may be shown as four.
func showName(raw string) string { return hub.PlainText([]byte(raw), 4*rtnl.MaxName) }
