package netwatch

import (
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/hub"
)

// maxDeleted is how many links that vanished during one dump are remembered.
const maxDeleted = 65536

// row is one veth on the host.
type row struct {
	hub.Interface               // as it is
	shown         hub.Interface // as the last change said it
	peer          Peer          // Ifindex 0: not known
	outdated      bool          // the owner is that of a former peer; until the next message
	asked         bool          // whose the peer is was asked
	announced     bool          // was announced as up before
	seen          uint64        // generation that saw it last, live or in its dump
	live          uint64        // generation in which a live message set it last
}

// table is the link table: a row for each veth of the namespace by ifindex, which
// the kernel does not reuse while it counts up, and never by name, which anybody
// may change. It is pure: messages go in through apply, changes come out. Its size
// is bounded by how many links the kernel has.
type table struct {
	rows     map[uint32]*row
	byPeer   map[Peer]uint32 // whose peer it is; so that what happens to a peer is O(1)
	identity Identity
	changes  []change // since the last take

	generation uint64              // counts dumps; 0 before the first
	deleted    map[uint32]struct{} // deleted live since the dump was asked for
}

func newTable(identity Identity) *table {
	return &table{
		rows: map[uint32]*row{}, byPeer: map[Peer]uint32{}, identity: identity,
		deleted: map[uint32]struct{}{},
	}
}

// seed fills the table with what was known before the first message. The first
// dump is compared with it. Who the peers are is not part of the view.
func (t *table) seed(rows []hub.Interface) {
	for _, known := range rows {
		t.rows[known.Ifindex] = &row{
			Interface: known, shown: known, peer: Peer{NSID: NSIDUnknown}, announced: known.State == hub.LinkUp,
		}
	}
}

// beginDump starts a generation: a dump was asked for.
func (t *table) beginDump() {
	t.generation++
	clear(t.deleted)
}

// apply takes one message, either live or from a dump. Doubt means that a record
// of a dump contradicts a live message that came before it in the same generation:
// the kernel builds a part of a dump under its lock but queues it after that, so a
// live message may get in front of it (see the package documentation). Nothing was
// changed then, and only another dump can tell.
func (t *table) apply(l *link, dumped bool) (doubt bool) {
	if l.deleted {
		t.remove(l, dumped)
		return false
	}
	r := t.rows[l.ifindex]
	if dumped {
		if r == nil && t.mayBeGone(l.ifindex) {
			return true
		}
		if r != nil && r.live == t.generation {
			return r.differs(l)
		}
	}
	if r == nil {
		r = &row{Interface: hub.Interface{Ifindex: l.ifindex, State: hub.LinkDown}, peer: Peer{NSID: NSIDUnknown}}
		r.Veth = showName(l.name, "")
		t.rows[l.ifindex] = r
	}
	r.seen = t.generation
	if !dumped {
		r.live = t.generation
		delete(t.deleted, l.ifindex)
	}
	t.update(r, l, dumped)
	return false
}

// update brings a row in line with a message, in the order in which it is told:
// a new name first, then the end of being up, which belongs to the owner so far,
// then the peer, then being up, which belongs to the owner from now on.
func (t *table) update(r *row, l *link, resync bool) {
	if name := showName(l.name, r.Veth); name != r.Veth {
		old := r.Veth
		r.Veth = name
		t.emit(change{action: actionRename, oldVeth: old, resync: resync}, r)
	}
	state := stateOf(l.flags)
	if r.State == hub.LinkUp && state != hub.LinkUp {
		r.State = state
		t.emit(change{action: actionDown, resync: resync}, r)
	}
	if r.outdated {
		r.forget()
	}
	rises := r.State != hub.LinkUp && state == hub.LinkUp
	other := t.meet(r, l)
	t.identify(r, rises)
	r.State = state
	if rises {
		r.announced = true
		t.emit(change{action: actionUp, resync: resync}, r)
	} else {
		t.show(r)
	}
	if other != nil {
		t.show(other)
	}
}

// remove takes a row away, announcing it as down if it was up, and tells the row
// whose peer it was where it went.
func (t *table) remove(l *link, resync bool) {
	if len(t.deleted) <= maxDeleted {
		t.deleted[l.ifindex] = struct{}{}
	}
	if r := t.rows[l.ifindex]; r != nil {
		t.drop(r, resync)
	}
	if !l.moved {
		return
	}
	if other := t.peerOf(Peer{NSIDLocal, l.ifindex}); other != nil {
		t.peerMoved(other, l.movedTo)
	}
}

// mayBeGone reports whether a link that the table does not have was deleted live
// since the dump was asked for. Beyond maxDeleted any may have been.
func (t *table) mayBeGone(ifindex uint32) bool {
	_, gone := t.deleted[ifindex]
	return gone || len(t.deleted) > maxDeleted
}

// drop takes a row out of the table.
func (t *table) drop(r *row, resync bool) {
	delete(t.rows, r.Ifindex)
	if t.byPeer[r.peer] == r.Ifindex {
		delete(t.byPeer, r.peer)
	}
	gone := change{removed: true, resync: resync}
	if r.State == hub.LinkUp {
		r.State = hub.LinkDown
		gone.action = actionDown
	}
	t.emit(gone, r)
}

// prune drops the rows that a whole dump did not have, in the order of their
// ifindex. Only for a dump that nothing was lost in.
func (t *table) prune() {
	for _, ifindex := range slices.Sorted(maps.Keys(t.rows)) {
		if r := t.rows[ifindex]; r.seen != t.generation {
			t.drop(r, true)
		}
	}
}

// emit records a change to a row as it is now.
func (t *table) emit(c change, r *row) {
	c.row = r.Interface
	r.shown = r.Interface
	t.changes = append(t.changes, c)
}

// show records that a row changed in a way that is no event.
func (t *table) show(r *row) {
	if r.Interface != r.shown {
		t.emit(change{}, r)
	}
}

// take returns the changes since the last call. They are valid until the next apply.
func (t *table) take() []change {
	taken := t.changes
	t.changes = t.changes[:0]
	return taken
}

// differs reports whether a message says something else than the row. What a
// message leaves out differs from nothing.
func (r *row) differs(l *link) bool {
	return stateOf(l.flags) != r.State || showName(l.name, r.Veth) != r.Veth ||
		l.peer.Ifindex != 0 && l.peer != r.peer
}

// stateOf takes the state from the flags. Carrier is read off them and not off
// the operational state, which comes from the same but is one more name for it.
func stateOf(flags uint32) hub.LinkState {
	const carrier = unix.IFF_RUNNING | unix.IFF_LOWER_UP
	switch {
	case flags&unix.IFF_UP == 0:
		return hub.LinkDown
	case flags&carrier != carrier:
		return hub.LinkNoCarrier
	default:
		return hub.LinkUp
	}
}
