package links

import "github.com/osctl/eventd/hub"

// tell makes the changes that lead from a row as it was shown to the row as it is. resync says
// that they were found by comparing.
func (t *Table) tell(r *row, resync bool) {
	r.assign(t.Owners)
	if r.hold != nil {
		setOwner(&r.shown, &r.Interface) // which release sets for good
	}
	is, was, wasKept := r.Interface, r.shown, r.shownKept
	if was.Veth != "" && was.Veth != is.Veth {
		old := was.Veth
		was.Veth = is.Veth
		t.emit(r, Change{Action: ActionRename, Row: was, OldVeth: old, Resync: resync, Kept: wasKept})
	}
	sameOwner := was.Pool == is.Pool && was.ID == is.ID
	wasUp, isUp := was.State == hub.LinkUp, is.State == hub.LinkUp
	handover := wasUp && isUp && !r.broke && !sameOwner
	if wasUp && (!isUp || r.broke || handover && was.ID != "") {
		was.State, was.Since = is.State, is.Since
		if isUp {
			was.State = hub.LinkNoCarrier
		}
		wasUp = false
		t.emit(r, Change{Action: ActionDown, Row: was, Resync: resync, Handover: handover, Kept: wasKept})
	}
	r.broke = false
	if was.Announced && sameOwner && r.peer.Foreign() && was.Name != "" && is.Name != "" && was.Name != is.Name {
		old := was.Name
		was.Name = is.Name
		t.emit(r, Change{Action: ActionRename, Row: was, OldName: old, Resync: resync, Kept: wasKept})
	}
	switch {
	case isUp && (!wasUp || handover):
		if !handover {
			t.rise(r)
		}
		r.Announced = true
		t.emit(r, Change{Action: ActionUp, Row: r.Interface, Resync: resync, Handover: handover, Kept: r.kept})
	case is != was:
		t.emit(r, Change{Row: is, Kept: r.kept})
	}
}

// rise has the owner of a row that comes up be asked for, and its changes wait for that. A row that is
// throttled waits already, and if its owner was found meanwhile it need not wait again.
func (t *Table) rise(r *row) {
	if r.resuming && r.verified {
		return
	}
	if !r.peer.Foreign() && !r.due { // nobody can be asked
		if !r.verified {
			r.owner, r.kept = Owner{}, false
			r.assign(t.Owners)
		}
		return
	}
	r.epoch = t.nextEpoch() // what was asked before says nothing of now
	r.verified = false
	r.nameKnown = r.nameKnown && t.Hears // else it may have changed unheard
	t.ask(r)
	if !r.throttled {
		t.holdBack(r)
	}
}

// emit announces a change to a row, or has it wait if the row is held.
func (t *Table) emit(r *row, c Change) {
	r.shown, r.shownKept = c.Row, c.Kept
	switch h := r.hold; {
	case h == nil:
		t.announce(r, c)
	case len(h.changes) < t.Budgets.ofInterface.Burst:
		h.changes = append(h.changes, c)
	default:
		h.left++
	}
}

// assign sets the owner that counts: the container that was found, then what was reported, then
// the name of the namespace. What was reported counts once it was asked for a container, and only
// if none was ever found for this peer: one that was found may just be missed.
func (r *row) assign(owners bool) {
	r.Pool, r.ID, r.BoundBy = r.owner.Pool, r.owner.ID, ""
	if r.bound == nil || r.contained || owners && r.peer.Foreign() && !r.answered {
		return
	}
	if r.owner.ID == "" || r.owner.Pool == PoolNetns {
		r.Pool, r.ID, r.BoundBy = r.bound.Owner.Pool, r.bound.Owner.ID, r.bound.Source
	}
}
