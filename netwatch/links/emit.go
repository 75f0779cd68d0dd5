package links

import (
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/rtnl"
)

// emitChanges emits the changes that lead from the emitted version of a row to the current one. resync
// says that they were found by comparing.
func (t *Table) emitChanges(r *row, resync bool) {
	r.assignOwner(t.Owners)
	if r.hold != nil {
		setOwner(&r.emitted, &r.Interface) // releaseHold sets the final owner
	}
	is, was := r.Interface, r.emitted
	if was.Veth != "" && was.Veth != is.Veth {
		old := was.Veth
		was.Veth = is.Veth
		t.emitChange(r, Change{Action: ActionRename, Row: was, OldVeth: old, Resync: resync})
	}
	sameOwner := was.Pool == is.Pool && was.ID == is.ID
	wasUp, isUp := was.State == hub.LinkUp, is.State == hub.LinkUp
	handover := wasUp && isUp && !r.peerReplaced && !sameOwner
	if wasUp && (!isUp || r.peerReplaced || handover && was.ID != "") {
		was.State, was.Since = is.State, is.Since
		if isUp {
			was.State = hub.LinkNoCarrier
		}
		wasUp = false
		t.emitChange(r, Change{Action: ActionDown, Row: was, Resync: resync, Handover: handover})
	}
	r.peerReplaced = false
	if was.Announced && sameOwner && r.peer.Foreign() && was.Name != "" && is.Name != "" && was.Name != is.Name {
		old := was.Name
		was.Name = is.Name
		t.emitChange(r, Change{Action: ActionRename, Row: was, OldName: old, Resync: resync})
	}
	switch {
	case isUp && (!wasUp || handover):
		if !handover {
			t.awaitOwner(r)
		}
		r.Announced = true
		t.emitChange(r, Change{Action: ActionUp, Row: r.Interface, Resync: resync, Handover: handover})
	case is != was:
		t.emitChange(r, Change{Row: is})
	}
}

// awaitOwner queues a question for the owner of a row that comes up, and holds its changes until the
// answer. A throttled row starts no hold, because its changes wait already. When it resumes, the up comes here
// again; a verified owner needs no second question.
func (t *Table) awaitOwner(r *row) {
	if r.resuming && r.verified {
		return
	}
	if r.peer.NSID == rtnl.NSIDLocal || !r.peer.Foreign() && !r.due { // the peer has no namespace to ask about
		if !r.verified {
			r.owner, r.Kept = Owner{}, false
			r.assignOwner(t.Owners)
		}
		return
	}
	r.epoch = t.nextEpoch() // an answer to an earlier question may be outdated
	r.verified = false
	r.nameKnown = r.nameKnown && t.Hears // otherwise a rename went unnoticed
	t.queueQuestion(r)
	if !r.throttled {
		t.startHold(r)
	}
}

// emitChange announces a change of a row, or queues it if the row has a hold.
func (t *Table) emitChange(r *row, c Change) {
	r.emitted = c.Row
	switch h := r.hold; {
	case h == nil:
		t.announce(r, c)
	case len(h.changes) < t.Budgets.ofInterface.Burst:
		h.changes = append(h.changes, c)
	default:
		h.leftOut++
	}
}

// assignOwner sets the owner that counts: the container that was found, else the reported one, else the
// name of the namespace. A report counts only if no container was ever found for this peer, because the last
// search may just have missed that container. A report that does not count yet waits for the first answer.
func (r *row) assignOwner(owners bool) {
	r.Pool, r.ID, r.BoundBy, r.BoundPeer = r.owner.Pool, r.owner.ID, "", 0
	answered := !owners || !r.peer.Foreign() || r.answered
	if r.bound == nil || r.containerFound || !answered && r.emitted.BoundBy == "" {
		return
	}
	if r.owner.ID == "" || r.owner.Pool == PoolNetns {
		r.Pool, r.ID, r.BoundBy = r.bound.Owner.Pool, r.bound.Owner.ID, r.bound.Source
		r.BoundPeer = r.peer.Ifindex
	}
}
