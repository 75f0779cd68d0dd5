package netwatch

import (
	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/owner"
)

// inner takes a live message of another namespace. Only known peers count: what else
// a container has, like the veths of a runtime in it, is its own.
func (t *table) inner(l *link, nsid int32) {
	r := t.peerOf(Peer{nsid, l.ifindex})
	switch {
	case r == nil || r.space == nil || r.space.gone:
	case l.deleted && l.moved:
		// Where to is said in the numbers of that namespace, so it has to be asked.
		t.peerMoved(r, Peer{NSID: NSIDUnknown})
		t.want(r, askHost)
	case l.deleted: // and so is the end here, which is said here
	case l.peer.Ifindex == r.Ifindex: // its link is dropped first when it dies
		t.named(r, l)
	}
}

// named takes the name that a peer has in its namespace from a live message.
func (t *table) named(r *row, l *link) {
	name := showName(l.name, r.inner)
	heard := r.innerKnown && (r.hold != nil || !t.undecided(r))
	if r.innerKnown && name == r.inner {
		return
	}
	if r.outdated { // the row is still that of the former peer
		r.inner, r.innerKnown = name, true
		return
	}
	if r.hold != nil {
		t.nameAsLearned(r) // the one from before, which waits for the owner
	}
	r.inner, r.innerKnown = name, true
	if !heard {
		t.learned(r)
		return
	}
	// The kernel says that the end here lost its carrier some time after the other
	// was set down (net/core/link_watch.c), and the name is news already.
	if r.State == hub.LinkUp && l.flags&unix.IFF_UP == 0 {
		r.State = hub.LinkNoCarrier
		r.live, r.seen = t.generation, t.generation
		t.emit(change{action: actionDown}, r)
	}
	old := r.Name
	r.Name = name
	if r.Announced && old != "" && old != name {
		t.emit(change{action: actionRename, oldName: old}, r)
	} else {
		t.show(r)
	}
}

// undecided reports whether what is known of a row is from before, and whether it is
// still so is being asked.
func (t *table) undecided(r *row) bool {
	return r.space != nil && r.space.state == ownerAsked && !r.space.waived
}

// learned brings a row in line with what answers said.
func (t *table) learned(r *row) {
	if r.gone && r.hold == nil {
		return // nothing more is said of it
	}
	if !r.outdated && !t.undecided(r) {
		was := owner.Container{Pool: r.Pool, ID: r.ID}
		t.fill(r)
		if was != (owner.Container{Pool: r.Pool, ID: r.ID}) || !t.renamedUnheard(r) {
			t.nameAsLearned(r)
		} else {
			t.announceRename(r)
		}
	}
	t.settleHold(r)
	if !r.gone {
		t.show(r)
	}
}

// fill takes over the owner as far as it is known. The container whose cgroup has the
// namespace counts first, then what was reported, then the name of the namespace.
func (t *table) fill(r *row) {
	known := r.space != nil && r.space.state == ownerKnown
	switch {
	case known && (r.bound == nil || r.space.owner.Pool != owner.PoolNetns):
		r.Pool, r.ID, r.BoundBy = r.space.owner.Pool, r.space.owner.ID, ""
	case r.bound != nil && !t.undecided(r):
		r.disown()
	}
}

// disown takes the owner that was found from a row, and leaves it the one that was reported.
func (r *row) disown() {
	r.Pool, r.ID, r.BoundBy = "", "", ""
	if r.bound != nil {
		r.Pool, r.ID, r.BoundBy = r.bound.pool, r.bound.id, r.bound.source
	}
}

// boundName returns the name inside that was reported, "" for none.
func (r *row) boundName() string {
	if r.bound == nil {
		return ""
	}
	return r.bound.name
}

// verified reports whether the owner of a row is known to be so now.
func (r *row) verified() bool {
	return r.space == nil || r.space.state == ownerKnown
}

// renamedUnheard reports whether an interface that was announced has another name now.
func (t *table) renamedUnheard(r *row) bool {
	announced := r.Announced
	if r.hold != nil {
		announced = r.hold.announced
	}
	return announced && r.innerKnown && r.Name != "" && r.inner != "" && r.Name != r.inner
}

// announceRename announces a new name that was found by asking: before what is held
// back, as that has the new name.
func (t *table) announceRename(r *row) {
	c := change{action: actionRename, oldName: r.Name, resync: true}
	if r.hold == nil {
		r.Name = r.inner
		t.emit(c, r)
		return
	}
	again := r.hold.renamed()
	t.nameAsLearned(r)
	if again {
		return // what is announced of it has the newest name now
	}
	c.row = r.hold.before
	c.row.Name = r.inner
	r.hold.changes = append([]change{c}, r.hold.changes...)
}

// nameAsLearned gives a row the name of its peer without a word.
func (t *table) nameAsLearned(r *row) {
	if !r.innerKnown || r.Name == r.inner {
		return
	}
	if r.hold != nil {
		r.hold.rename(r.Name, r.inner)
	}
	r.Name = r.inner
}
