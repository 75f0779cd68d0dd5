package links

import (
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/rtnl"
)

var unknownPeer = rtnl.Peer{NSID: rtnl.NSIDUnknown}

func (t *Table) nextEpoch() uint64 {
	t.lastEpoch++
	return t.lastEpoch
}

// updatePeer sets the peer of a row from a message. If the peer is on the host, too, it returns the
// peer's row. A message without a peer is the first of a new pair, or the peer is gone: the row keeps
// the known peer, because during removal the kernel no longer names it. The row also keeps its peer if
// the message only says that the namespace of that peer has no id any more.
func (t *Table) updatePeer(r *row, p rtnl.Peer) (other *row) {
	dying := p.NSID == rtnl.NSIDUnknown && p.Ifindex == r.peer.Ifindex
	if p.Ifindex != 0 && !dying {
		t.setPeer(r, p)
	}
	switch {
	case r.peer.NSID == rtnl.NSIDLocal:
		other = t.rows[r.peer.Ifindex]
	case r.peer.Ifindex == 0:
		other = t.inside[rtnl.NSIDLocal][r.Ifindex]
	}
	if other == nil || other == r {
		return nil
	}
	t.setPeer(r, rtnl.Peer{NSID: rtnl.NSIDLocal, Ifindex: other.Ifindex})
	t.setPeer(other, rtnl.Peer{NSID: rtnl.NSIDLocal, Ifindex: r.Ifindex}) // peers name each other
	if r.bound == nil {
		r.Name = other.Veth
	}
	if other.bound == nil {
		other.Name = r.Veth
	}
	return other
}

// setPeer replaces the peer of a row. If the former peer was certain, its owner and name are dropped,
// because they say nothing about the new peer. If it was not certain (at first, after a loss, or after
// the id of its namespace was reused), it may be the same peer, so the row keeps its values until the
// next answer.
func (t *Table) setPeer(r *row, p rtnl.Peer) {
	if r.peer == p {
		return
	}
	known := r.peer.Ifindex != 0 && r.peer.NSID != rtnl.NSIDUnknown
	if known || p != r.former || r.stale && r.State != hub.LinkUp {
		t.releaseHold(r) // the held changes belong to the former peer, or may
	}
	if known {
		if r.owner.ID != "" && r.owner.Pool != PoolNetns && p.NSID != rtnl.NSIDLocal {
			r.mover = r.owner
		}
		r.owner, r.Kept, r.Name, r.timedOut, r.containerFound = Owner{}, false, r.boundName(), false, false
		r.peerReplaced = r.emitted.State == hub.LinkUp
	}
	t.forgetPeer(r)
	r.peer = p
	t.renewEpoch(r)
	r.tries = 0
	if p.NSID == rtnl.NSIDLocal {
		r.owner, r.mover = Owner{}, Owner{} // a pair with both ends on the host has no owner
	}
	if p.NSID == rtnl.NSIDUnknown || p.Ifindex == 0 {
		return
	}
	if former := t.inside[p.NSID][p.Ifindex]; former != nil { // its peer is outdated
		t.doubtPeer(former)
		t.queueQuestion(former)
	}
	if t.inside[p.NSID] == nil {
		t.inside[p.NSID] = map[uint32]*row{}
	}
	t.inside[p.NSID][p.Ifindex] = r
	if p.Foreign() {
		t.queueQuestion(r)
	}
}

// renewEpoch begins a new epoch of a row, so that answers to earlier questions are dropped.
func (t *Table) renewEpoch(r *row) {
	r.epoch = t.nextEpoch()
	r.verified, r.answered, r.nameKnown = false, false, false
}

// forgetPeer removes a row from Table.inside.
func (t *Table) forgetPeer(r *row) {
	all := t.inside[r.peer.NSID]
	if all[r.peer.Ifindex] != r {
		return
	}
	delete(all, r.peer.Ifindex)
	if len(all) == 0 {
		delete(t.inside, r.peer.NSID)
	}
}

// doubtPeer notes that the peer of a row may have been replaced, maybe by one with the same numbers.
func (t *Table) doubtPeer(r *row) {
	t.forgetPeer(r)
	if r.peer.NSID != rtnl.NSIDUnknown {
		r.former = r.peer
	}
	r.peer.NSID = rtnl.NSIDUnknown
	if r.hold != nil && r.nameKnown {
		r.hold.named = true
	}
	t.renewEpoch(r)
}

// loseCarrier notes that the peer of a row moved to another namespace. The row loses its carrier by
// the move. The kernel reports that later, or not at all if the carrier soon returns.
func (t *Table) loseCarrier(r *row, to rtnl.Peer) {
	t.setPeer(r, to)
	if r.State == hub.LinkUp {
		r.State, r.Since = hub.LinkNoCarrier, t.stamp(false)
	}
	r.live = t.generation // a record of a dump may be older
	t.emitChanges(r, false)
}

// Inside applies a message about a link in another namespace. It ignores links that are not peers of the
// Table's links, like the veths of a runtime inside a container.
func (t *Table) Inside(l *rtnl.Link, nsid int32) {
	r := t.inside[nsid][l.Ifindex]
	switch {
	case r == nil || nsid < 0:
	case l.Deleted && l.Moved: // MovedTo has an id that counts only in that namespace
		t.loseCarrier(r, unknownPeer)
		t.queueQuestion(r)
	case l.Deleted: // a message about the end here follows, because the kernel deletes both
	case l.Peer.Ifindex == r.Ifindex: // a peer that is being deleted names no peer
		t.updatePeerName(r, l)
	}
}

// updatePeerName takes the name of a peer from a live message. If the peer has a new name and is down,
// the row loses its carrier before the rename, because the kernel reports the lost carrier only some
// time after the peer was set down (net/core/link_watch.c).
func (t *Table) updatePeerName(r *row, l *rtnl.Link) {
	name, unheard := showName(l.Name), !r.nameKnown
	if r.nameKnown && name == r.Name {
		return
	}
	if r.nameKnown && r.State == hub.LinkUp && l.Flags&unix.IFF_UP == 0 {
		r.State, r.Since = hub.LinkNoCarrier, t.stamp(false)
		r.live = t.generation // a record of a dump may be older
	}
	t.setName(r, name)
	t.emitChanges(r, unheard)
}

// setName gives a row the name of its peer.
func (t *Table) setName(r *row, name string) {
	if r.hold != nil && !r.nameKnown { // the peer may have had this name all along
		r.hold.rename(r.Name, name)
		if r.emitted.Name == r.Name {
			r.emitted.Name = name
		}
	}
	r.Name, r.nameKnown = name, true
}

// Renumbered applies RTM_NEWNSID or RTM_DELNSID: the id now belongs to another namespace, or to none.
// The kernel sends RTM_DELNSID without its lock (unhash_nsid in net/core/net_namespace.c), so before that
// message the id may be in use again, and messages about its new namespace may arrive. Therefore either
// message queues questions about the peers with that id. Rows keep their values, because in most cases
// the interfaces are deleted next.
func (t *Table) Renumbered(nsid int32) {
	if len(t.freed) <= maxDeleted {
		t.freed[nsid] = struct{}{}
	}
	if nsid < 0 {
		return
	}
	for _, r := range rowsOf(t.inside[nsid]) {
		t.doubtPeer(r)
		t.queueQuestion(r)
	}
}

// Suspect notes that messages were lost: peers, their names, and ids of namespaces may have
// changed. Rows keep their values until the next dump names their peers and questions about these are
// answered.
func (t *Table) Suspect() {
	for _, nsid := range slices.Sorted(maps.Keys(t.inside)) {
		if nsid == rtnl.NSIDLocal {
			continue
		}
		for _, r := range rowsOf(t.inside[nsid]) {
			t.doubtPeer(r)
			r.stale = true
		}
	}
}

// rowsOf returns the rows of a map in a fixed order. The caller may then change the map.
func rowsOf(all map[uint32]*row) []*row {
	rows := make([]*row, 0, len(all))
	for _, i := range slices.Sorted(maps.Keys(all)) {
		rows = append(rows, all[i])
	}
	return rows
}
