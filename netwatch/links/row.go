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
	hub.Interface               // the current version
	emitted       hub.Interface // the version of the last emitted change, which may be held or throttled
	published     hub.Interface // the version of the last published change: the row of the view
	peer          rtnl.Peer     // Ifindex 0: not known
	former        rtnl.Peer     // the last peer that was certain
	epoch         uint64        // moves when the peer was replaced, or may have been
	owner         Owner         // the result of the last search
	lastOwner     Owner         // the last owner that a search found
	mover         Owner         // the owner that moved it to its present namespace
	moverRuns     bool          // according to the last answer

	bound          *Binding // the reported owner; nil for none
	containerFound bool     // a container was found for this peer, so a report does not count
	verified       bool     // the owner was found in this epoch
	answered       bool     // the question for the owner was answered in this epoch
	nameKnown      bool     // the name inside was learnt in this epoch
	peerReplaced   bool     // the emitted up has ended with its peer, although the interface is up
	stale          bool     // values are from before a loss or a restart
	timedOut       bool     // a hold ended without an owner, so the next hold ends with any answer
	gone           bool
	due            bool      // in Table.due
	tries          int       // questions in a row that found no owner
	retryAt        time.Time // when the question is repeated; the zero Time is never
	hold           *hold

	bucket    bucket
	throttled bool      // over budget: changes are counted, and their outcome is emitted at tokenAt
	resuming  bool      // the outcome is being emitted
	tokenAt   time.Time // when there may be a token
	leftOut   uint32    // changes that were left out since the last event

	seen uint64 // generation of the last message about it, live or of a dump
	live uint64 // generation of the last live message that set it
}

// differs reports whether a message contradicts the row. A message without a peer does not
// contradict the peer of the row.
func (r *row) differs(l *rtnl.Link) bool {
	return stateOf(l.Flags) != r.State || showName(l.Name) != r.Veth || l.Peer.Ifindex != 0 && l.Peer != r.peer
}

// looksForeign reports whether a live message is about a link of another namespace with the same
// ifindex: it has another name, and either not the row's peer or the deletion of the link. If the id of the
// sender's namespace is freed while the message is on its way, the kernel leaves the id out
// (do_one_broadcast), so the message seems to come from the watched namespace. The last messages about a
// link name no peer.
func (r *row) looksForeign(l *rtnl.Link) bool {
	otherPeer := l.Peer.Ifindex == 0 || l.Peer.Ifindex != r.peer.Ifindex
	return l.Name != "" && showName(l.Name) != r.Veth && (otherPeer || l.Deleted)
}

// wasReplaced reports whether the ifindex of a bound veth now belongs to another veth, which its peer shows. It looks
// only at the first message after a loss or a restart.
func (r *row) wasReplaced(l *rtnl.Link) bool {
	unconfirmed := r.stale && r.peer.NSID == rtnl.NSIDUnknown && l.Peer.Ifindex != 0
	return unconfirmed && r.BoundPeer != 0 && l.Peer.Ifindex != r.BoundPeer
}

// stateOf returns the state of a link with these flags. IFF_LOWER_UP is the carrier itself. IFF_RUNNING does not
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

// showName returns an interface name as text. The kernel allows nearly any bytes in a name, and each
// may be shown as four.
func showName(raw string) string { return hub.PlainText([]byte(raw), 4*rtnl.MaxName) }
