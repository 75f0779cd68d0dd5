package links

import (
	"time"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/rtnl"
)

const (
	// holdFor is how long an up waits for its owner.
	holdFor = 500 * time.Millisecond
	// maxHeld is how many rows wait. What is more is announced with what is known.
	maxHeld = 4096
)

// hold queues the changes of a row until its owner is known. The first is an up, and all are
// of the same peer. It has as many as an interface may announce at once, and counts the rest.
type hold struct {
	changes []Change
	left    uint32
	until   time.Time
}

// heldRow is a hold in the order in which they end. It is over if the row has another.
type heldRow struct {
	row  *row
	hold *hold
}

// HoldFor sets how long an up waits for its owner. The default is half a second.
func (t *Table) HoldFor(d time.Duration) { t.longest = d }

// holdBack has the changes of a row wait.
func (t *Table) holdBack(r *row) {
	if r.hold != nil || t.held >= maxHeld {
		return
	}
	r.hold = &hold{until: t.Now().Add(t.longest)}
	t.held++
	t.holds = append(t.holds, heldRow{r, r.hold})
}

// release announces what was held back with what is known by now.
func (t *Table) release(r *row) {
	h := r.hold
	if h == nil {
		return
	}
	r.hold = nil
	t.held--
	if !r.verified {
		r.owner, r.kept = Owner{}, false // it is from before: maybe no longer so
		r.answered = true
	}
	if r.peer.NSID != rtnl.NSIDLocal && !r.nameKnown {
		h.rename(r.Name, r.boundName())
		r.Name = r.boundName()
		r.shown.Name = r.Name
	}
	r.assign(t.Owners)
	r.shownKept = r.kept
	setOwner(&r.shown, &r.Interface)
	for i := range h.changes {
		c := &h.changes[i]
		setOwner(&c.Row, &r.Interface)
		c.Kept = r.kept
		if i == 0 && renamedUnheard(&r.told, &c.Row) {
			rename := Change{Action: ActionRename, Row: r.told, OldName: r.told.Name, Resync: true}
			rename.Row.Name = c.Row.Name
			t.announce(r, rename)
		}
		t.announce(r, *c)
	}
	if h.left > 0 {
		t.throttle(r, t.Now())
		r.left += h.left
	} else {
		r.shown = h.changes[len(h.changes)-1].Row
	}
}

// renamedUnheard reports whether the first change of a hold has another name inside than the row
// had before, of the same owner.
func renamedUnheard(before, first *hub.Interface) bool {
	return before.Announced && before.Name != "" && first.Name != "" && before.Name != first.Name &&
		before.Pool == first.Pool && before.ID == first.ID
}

func setOwner(to, from *hub.Interface) {
	to.Pool, to.ID, to.BoundBy = from.Pool, from.ID, from.BoundBy
}

// rename replaces a name inside that was not known for sure.
func (h *hold) rename(from, to string) {
	for i := range h.changes {
		c := &h.changes[i]
		if c.Row.Name == from {
			c.Row.Name = to
		}
		if c.OldName == from && from != "" {
			c.OldName = to
		}
		if c.Action == ActionRename && c.OldVeth == "" && (c.OldName == "" || c.OldName == c.Row.Name) {
			c.Action, c.OldName = "", "" // no news any more
		}
	}
}

// giveUp announces what was held back although the owner is not known.
func (t *Table) giveUp(r *row) {
	if !r.verified {
		r.waived, r.tries = true, 0
		t.keep(r)
	}
	t.release(r)
}

// Expire does what is due by now: it ends holds, announces changes that were over budget, and repeats
// questions.
func (t *Table) Expire() {
	now := t.Now()
	for len(t.holds) > 0 {
		first := t.holds[0]
		if first.row.hold == first.hold {
			if now.Before(first.hold.until) {
				break
			}
			t.giveUp(first.row)
		}
		t.holds = t.holds[1:]
	}
	t.resumeThrottled(now)
	t.askLater(now)
}
