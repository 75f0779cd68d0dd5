package netwatch

import "github.com/osctl/eventd/hub"

// meet brings the peer of a row in line with a message, and returns the row of
// the peer if that is on the host too. A message without IFLA_LINK is the first of
// a pair that is being made, or the peer is gone: what was known is kept, as at
// removal the kernel no longer says it.
func (t *table) meet(r *row, l *link) *row {
	if l.peer.Ifindex != 0 {
		t.setPeer(r, l.peer)
	}
	var other *row
	switch {
	case r.peerOnHost() != 0:
		other = t.rows[r.peer.Ifindex]
	case r.peer.Ifindex == 0:
		other = t.peerOf(Peer{NSIDLocal, r.Ifindex})
	}
	if other == nil || other == r {
		return nil
	}
	t.setPeer(r, Peer{NSIDLocal, other.Ifindex})
	t.setPeer(other, Peer{NSIDLocal, r.Ifindex}) // it is mutual
	r.Name, other.Name = other.Veth, r.Veth
	return other
}

// peerOnHost returns the ifindex of the peer if that is on the host, else 0.
func (r *row) peerOnHost() uint32 {
	if r.peer.NSID != NSIDLocal {
		return 0
	}
	return r.peer.Ifindex
}

// peerOf returns the row whose peer this is, nil if there is none.
func (t *table) peerOf(p Peer) *row {
	ifindex, ok := t.byPeer[p]
	if !ok {
		return nil
	}
	return t.rows[ifindex]
}

// setPeer gives a row its peer. Who owned another peer says nothing about this
// one; but what a row was seeded with is kept when its peer is first named.
func (t *table) setPeer(r *row, p Peer) {
	if r.peer == p {
		return
	}
	if r.peer.Ifindex != 0 {
		r.forget()
	}
	t.repoint(r, p)
	t.identify(r, false)
}

// repoint changes the peer of a row and keeps what was known of the old one.
func (t *table) repoint(r *row, p Peer) {
	if t.byPeer[r.peer] == r.Ifindex {
		delete(t.byPeer, r.peer)
	}
	r.peer = p
	r.asked = false
	if p.NSID != NSIDUnknown && p.Ifindex != 0 {
		t.byPeer[p] = r.Ifindex
	}
}

// forget drops what was known of the peer.
func (r *row) forget() {
	r.Pool, r.ID, r.Name = "", "", ""
	r.asked, r.outdated = false, false
}

// peerMoved says that the peer of a row went to another namespace. The kernel
// says so before it says that the row lost its carrier by it: that end of being up
// still belongs to whom it was announced for.
func (t *table) peerMoved(r *row, to Peer) {
	t.repoint(r, to)
	if r.State == hub.LinkUp {
		r.outdated = true
		return
	}
	r.forget()
	t.identify(r, false)
	t.show(r)
}

// identify asks who owns the peer, once when it is new and again when it matters.
func (t *table) identify(r *row, again bool) {
	if r.peer.NSID < 0 || r.peer.Ifindex == 0 || r.asked && !again {
		return
	}
	r.asked = true
	owner, ok := t.identity.Identify(r.peer)
	if !ok {
		return
	}
	r.Pool, r.ID = owner.Pool, owner.ID
	if owner.Name != "" {
		r.Name = owner.Name
	}
}
