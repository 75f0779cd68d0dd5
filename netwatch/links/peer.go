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
	t.epochs++
	return t.epochs
}

// setPeerAsSaid brings the peer of a row in line with a message, and returns the row of the peer
// if that is on the host too. A message without a peer is the first of a pair that is being
// made, or the peer is gone: what was known is kept, because at removal the kernel no longer
// says it. So it is when the namespace has no id any more.
func (t *Table) setPeerAsSaid(r *row, p rtnl.Peer) (other *row) {
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
	t.setPeer(other, rtnl.Peer{NSID: rtnl.NSIDLocal, Ifindex: r.Ifindex}) // it is mutual
	if r.bound == nil {
		r.Name = other.Veth
	}
	if other.bound == nil {
		other.Name = r.Veth
	}
	return other
}

// setPeer gives a row its peer. When that is another one than before, what was known of the
// former says nothing about it. When the former was not known (at first, after a loss, or when
// the id of its namespace was given away) it may be the same, so what was known is kept until
// it was asked.
func (t *Table) setPeer(r *row, p rtnl.Peer) {
	if r.peer == p {
		return
	}
	known := r.peer.Ifindex != 0 && r.peer.NSID != rtnl.NSIDUnknown
	if known || p != r.former || r.compared && r.State != hub.LinkUp {
		t.release(r) // what is held is of the former, or may be
	}
	if known {
		if r.owner.ID != "" && r.owner.Pool != PoolNetns && p.NSID != rtnl.NSIDLocal {
			r.mover = r.owner
		}
		r.owner, r.kept, r.Name, r.waived, r.contained = Owner{}, false, r.boundName(), false, false
		r.broke = r.shown.State == hub.LinkUp
	}
	t.forgetPeer(r)
	r.peer = p
	t.renew(r)
	r.tries = 0
	if p.NSID == rtnl.NSIDLocal {
		r.owner, r.mover = Owner{}, Owner{} // what has both ends here is no container's
	}
	if p.NSID == rtnl.NSIDUnknown || p.Ifindex == 0 {
		return
	}
	if former := t.inside[p.NSID][p.Ifindex]; former != nil { // that is outdated
		t.doubtPeer(former)
		t.ask(former)
	}
	if t.inside[p.NSID] == nil {
		t.inside[p.NSID] = map[uint32]*row{}
	}
	t.inside[p.NSID][p.Ifindex] = r
	if p.Foreign() {
		t.ask(r)
	}
}

// renew begins an epoch of a row: answers to what was asked before do not count.
func (t *Table) renew(r *row) {
	r.epoch = t.nextEpoch()
	r.verified, r.answered, r.nameKnown = false, false, false
}

// forgetPeer takes a row from where it is found by its peer.
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

// doubtPeer notes that the peer of a row may be another one, by the same numbers too.
func (t *Table) doubtPeer(r *row) {
	t.forgetPeer(r)
	if r.peer.NSID != rtnl.NSIDUnknown {
		r.former = r.peer
	}
	r.peer.NSID = rtnl.NSIDUnknown
	t.renew(r)
}

// loseCarrier notes that the peer of a row went somewhere else. It loses the carrier by that, of
// which the kernel tells later, or not at all if it is back soon.
func (t *Table) loseCarrier(r *row, to rtnl.Peer) {
	t.setPeer(r, to)
	if r.State == hub.LinkUp {
		r.State, r.Since = hub.LinkNoCarrier, t.stamp(false)
	}
	r.live = t.generation // a record of a dump may be older
	t.tell(r, false)
}

// Inside applies a message about a link in another namespace. It ignores links that are not peers of the
// Table's links, like the veths of a runtime inside a container.
func (t *Table) Inside(l *rtnl.Link, nsid int32) {
	r := t.inside[nsid][l.Ifindex]
	switch {
	case r == nil || nsid < 0:
	case l.Deleted && l.Moved: // where to is said in the numbers of that namespace
		t.loseCarrier(r, unknownPeer)
		t.ask(r)
	case l.Deleted: // and so is the end here, which is said here
	case l.Peer.Ifindex == r.Ifindex: // its link is dropped first when it dies
		t.hear(r, l)
	}
}

// hear takes the name that a peer has from a live message. The kernel says that the end here
// lost its carrier some time after the other was set down (net/core/link_watch.c), and the
// name is news already.
func (t *Table) hear(r *row, l *rtnl.Link) {
	name, unheard := showName(l.Name), !r.nameKnown
	if r.nameKnown && name == r.Name {
		return
	}
	if r.nameKnown && r.State == hub.LinkUp && l.Flags&unix.IFF_UP == 0 {
		r.State, r.Since = hub.LinkNoCarrier, t.stamp(false)
		r.live = t.generation // a record of a dump may be older
	}
	t.setName(r, name)
	t.tell(r, unheard)
}

// setName gives a row the name of its peer.
func (t *Table) setName(r *row, name string) {
	if r.hold != nil && !r.nameKnown { // it may have had it all along
		r.hold.rename(r.Name, name)
		if r.shown.Name == r.Name {
			r.shown.Name = name
		}
	}
	r.Name, r.nameKnown = name, true
}

// Renumbered applies RTM_NEWNSID or RTM_DELNSID: an id has another meaning now. The kernel sends
// RTM_DELNSID without its lock (unhash_nsid in net/core/net_namespace.c), so the id may be in use
// again, and messages about it may come, before that. So both messages make questions about the peers
// due. Rows keep their values, because the interfaces are mostly deleted next.
func (t *Table) Renumbered(nsid int32) {
	if len(t.freed) <= maxDeleted {
		t.freed[nsid] = struct{}{}
	}
	if nsid < 0 {
		return
	}
	for _, r := range rowsOf(t.inside[nsid]) {
		t.doubtPeer(r)
		t.ask(r)
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
			r.compared = true
		}
	}
}

// rowsOf returns rows in a fixed order, so that the caller may change what it came from.
func rowsOf(all map[uint32]*row) []*row {
	rows := make([]*row, 0, len(all))
	for _, i := range slices.Sorted(maps.Keys(all)) {
		rows = append(rows, all[i])
	}
	return rows
}
