package netwatch

import "github.com/osctl/eventd/hub"

// meet brings the peer of a row in line with a message, and returns the row of
// the peer if that is on the host too. A message without IFLA_LINK is the first of
// a pair that is being made, or the peer is gone: what was known is kept, as at
// removal the kernel no longer says it.
func (t *table) meet(r *row, l *link) *row {
	if l.peer.Ifindex != 0 && !r.dying(l) {
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
	r.facing(other)
	other.facing(r)
	return other
}

// dying reports whether a message names the peer without its namespace, as that died
// and has no id any more.
func (r *row) dying(l *link) bool {
	return l.peer.NSID == NSIDUnknown && r.space != nil && r.space.gone && l.peer.Ifindex == r.peer.Ifindex
}

// replaces reports whether a message is of another peer than the row had, though that
// had one.
func (r *row) replaces(l *link) bool {
	return r.outdated || r.peer.Ifindex != 0 && l.peer.Ifindex != 0 && l.peer != r.peer && !r.dying(l)
}

// facing gives a row the name of its peer on the host.
func (r *row) facing(other *row) {
	if r.bound == nil {
		r.Name = other.Veth
	}
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
// one; but what a row was seeded with is kept when its peer is first named, and what
// was known when messages were lost when it is named again. The same numbers are
// another peer if the nsid was given away meanwhile.
func (t *table) setPeer(r *row, p Peer) {
	same := r.peer == p
	if same && (r.space == nil || !r.space.gone) {
		t.reclaim(r)
		return
	}
	again := same && r.space.lost
	if !same || again && r.State != hub.LinkUp {
		t.release(r) // what waits is of the former one, or may be
	}
	if first := r.peer.Ifindex == 0 && p.foreign(); !first && !again {
		r.forget()
	}
	t.repoint(r, p)
	t.learn(r)
}

// reclaim gives a row back the peer that another row was thought to have: that was
// outdated. What was said of the peer meanwhile was not taken for this row.
func (t *table) reclaim(r *row) {
	if r.space == nil || t.byPeer[r.peer] == r.Ifindex {
		return
	}
	t.byPeer[r.peer] = r.Ifindex
	r.innerKnown = false
	t.learn(r)
}

// repoint changes the peer of a row and keeps what was known of the old one.
func (t *table) repoint(r *row, p Peer) {
	t.leave(r)
	r.peer, r.space = p, nil
	r.inner, r.innerKnown, r.astray = "", false, false
	if p.NSID != NSIDUnknown && p.Ifindex != 0 {
		t.byPeer[p] = r.Ifindex
	}
	if p.foreign() {
		r.space = t.namespace(p.NSID)
		r.space.rows[r.Ifindex] = r
	}
}

// leave takes a row from its peer.
func (t *table) leave(r *row) {
	if t.byPeer[r.peer] == r.Ifindex {
		delete(t.byPeer, r.peer)
	}
	if r.space != nil && r.space.rows[r.Ifindex] == r {
		delete(r.space.rows, r.Ifindex)
	}
}

// forget drops what was found of the peer, and leaves what was reported.
func (r *row) forget() {
	r.disown()
	r.Name = r.boundName()
	r.outdated = false
}

// peerMoved says that the peer of a row went to another namespace. The kernel
// says so before it says that the row lost its carrier by it: that end of being up
// still belongs to whom it was announced for.
func (t *table) peerMoved(r *row, to Peer) {
	t.release(r)
	t.repoint(r, to)
	if r.State == hub.LinkUp {
		r.outdated = true
	} else {
		r.forget()
	}
	t.learn(r)
	t.show(r)
}

// learn takes what is known of the peer, and asks for what is not.
func (t *table) learn(r *row) {
	if r.space == nil || r.space.gone {
		return
	}
	t.find(r.space)
	if !r.outdated {
		t.fill(r)
	}
	if !r.innerKnown {
		t.want(r, askPeer)
	}
}
