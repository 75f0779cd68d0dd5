package netwatch

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

// Owner says whose interface a peer is.
type Owner struct {
	Pool, ID string // the container; "" if not known
	Name     string // name of the peer inside; "" if not known
}

// Identity says whose a veth is. An implementation may rely on this:
//
//   - Identify is called by the goroutine in [Watcher.Run] alone, one call at a
//     time, in the order in which the kernel said things. What it takes delays the
//     events behind it, so it must answer from memory or with one quick query.
//   - It is asked only for peers in another namespace that has an id (NSID >= 0)
//     and whose ifindex is known: when a link first names such a peer or names
//     another one, and whenever it is about to be announced as up. It is not asked
//     when a link goes down or away: then holds what it said last.
//   - Strings are UTF-8 without NUL; what the kernel names otherwise is written as
//     \xNN. An event with another string would not be announced.
//   - false means "not known (yet)", and keeps what was known of this peer. An
//     empty Name in an answer keeps the name.
//   - The kernel gives an nsid that was freed to another namespace at once, so an
//     answer must not outlive RTM_DELNSID.
type Identity interface {
	Identify(peer Peer) (Owner, bool)
}

// unknownIdentity is the Identity that never knows.
type unknownIdentity struct{}

func (unknownIdentity) Identify(Peer) (Owner, bool) { return Owner{}, false }
