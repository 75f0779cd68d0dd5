package netwatch

import (
	"context"
	"time"

	"github.com/osctl/eventd/netwatch/owner"
)

// Values of [Peer].NSID that are no namespace id.
const (
	// NSIDLocal says that the peer is in the watched namespace itself: the kernel
	// leaves IFLA_LINK_NETNSID out then.
	NSIDLocal int32 = -1
	// NSIDUnknown says that the peer is in a namespace that has no id here: the
	// kernel could not make one, or the peer has not been named yet.
	NSIDUnknown int32 = -2
)

// Peer names the other end of a veth as its end on the host sees it.
type Peer struct {
	NSID    int32  // namespace id of the peer as the watched namespace counts; NSIDLocal, NSIDUnknown
	Ifindex uint32 // in that namespace, and unique only there; 0 if not known
}

// foreign reports whether the peer is known to be in another namespace that has an id.
func (p Peer) foreign() bool { return p.NSID >= 0 && p.Ifindex != 0 }

// Owners says whose a namespace is. [owner.Finder] is one; tests have others.
//
// One goroutine of [Watcher.Run] makes all calls but Missing, one at a time and in
// the order in which the kernel said things, so an answer may take its time: it
// delays only those events that wait for it. It may be outdated by the time it is
// given. The watcher takes it only if the kernel said nothing of the nsid between
// when Find was called and when it returned.
type Owners interface {
	// Find returns the container whose namespace has the id, false if none is found
	// (yet). Strings are UTF-8 without NUL.
	Find(ctx context.Context, nsid int32) (owner.Container, bool)
	// NextWalk says from when on to ask again may help.
	NextWalk() time.Time
	// Forget drops what is known of an id: the kernel gives it to another namespace.
	Forget(nsid int32)
	// ForgetAll drops what is known of all: messages were lost, which may have said
	// of any id that it was given away.
	ForgetAll()
	// Missing says what cannot be told, and why; for the log and the status.
	Missing() []string
}
