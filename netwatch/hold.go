package netwatch

import (
	"slices"
	"time"

	"github.com/osctl/eventd/hub"
)

const (
	// holdFor is how long an up waits for whose it is.
	holdFor = 500 * time.Millisecond
	// maxHeldChanges is how many changes of one row wait, and maxHeldRows how many
	// rows. What is more is not held back, but announced with what is known.
	maxHeldChanges = 32
	maxHeldRows    = 4096
)

// hold is what waits for whose a row is: its first change is an up, and all are of
// the same peer.
type hold struct {
	changes   []change
	before    hub.Interface // the row as the view has it
	announced bool          // the row was announced as up before that
	nameOnly  bool          // the owner is not waited for
	until     time.Time
}

// heldRow is a hold in the order in which they end; it is over if the row has another.
type heldRow struct {
	row  *row
	hold *hold
}

// pending reports whether something is outstanding that could tell whose a row is.
func (t *table) pending(r *row) bool {
	if r.ask != nil || r.wants != askNothing || r.space != nil && r.space.lost && !r.gone {
		return true
	}
	if r.hold != nil && r.hold.nameOnly {
		return false
	}
	if !t.finds || r.space == nil || r.space.gone {
		return false
	}
	if r.bound != nil { // the report counts as soon as no container was found
		return r.space.state == ownerAsked
	}
	return r.space.state != ownerKnown
}

// holdBack has the changes of a row wait, if there is something to wait for.
func (t *table) holdBack(r *row) {
	if r.hold != nil || len(t.held) >= maxHeldRows || !t.pending(r) {
		return
	}
	// An owner is waited for once, and that is enough.
	waived := r.space != nil && r.space.waived
	if waived && r.ask == nil && r.wants == askNothing {
		return
	}
	r.hold = &hold{before: r.shown, announced: r.Announced, nameOnly: waived, until: t.now().Add(t.longestHold)}
	t.held[r.Ifindex] = r
	t.holds = append(t.holds, heldRow{r, r.hold})
}

// settleHold ends a hold that waits for nothing any more.
func (t *table) settleHold(r *row) {
	if r.hold != nil && !t.pending(r) {
		t.release(r)
	}
}

// release announces what was held back with what is known by now.
func (t *table) release(r *row) {
	h := r.hold
	if h == nil {
		return
	}
	r.hold = nil
	delete(t.held, r.Ifindex)
	if t.finds && !r.verified() {
		r.disown() // from before: maybe no longer so
	}
	if r.peer.foreign() && !r.innerKnown {
		name := r.boundName()
		h.rename(r.Name, name)
		r.Name = name
	}
	for i := range h.changes {
		row := &h.changes[i].row
		row.Pool, row.ID, row.BoundBy = r.Pool, r.ID, r.BoundBy
	}
	t.changes = append(t.changes, h.changes...)
	if r.gone {
		t.leave(r)
		return
	}
	if n := len(h.changes); n > 0 {
		r.shown = h.changes[n-1].row
	}
	t.show(r)
}

// rename changes what the held changes have as the name inside, where it was not known.
func (h *hold) rename(from, to string) {
	for i := range h.changes {
		c := &h.changes[i]
		if c.row.Name == from {
			c.row.Name = to
		}
		if c.oldName == "" {
			continue
		}
		if c.oldName == from {
			c.oldName = to
		}
		if c.oldName == "" || c.oldName == c.row.Name {
			c.action, c.oldName = "", "" // no news any more
		}
	}
}

// renamed reports whether a new name inside is among what is held back.
func (h *hold) renamed() bool {
	return slices.ContainsFunc(h.changes, func(c change) bool { return c.oldName != "" })
}

// expire ends the holds whose time is over, and returns when the next is; the zero
// time is never.
func (t *table) expire(now time.Time) (next time.Time) {
	for len(t.holds) > 0 {
		first := t.holds[0]
		if first.row.hold == first.hold {
			if now.Before(first.hold.until) {
				return first.hold.until
			}
			t.giveUp(first.row)
		}
		t.holds = t.holds[1:]
	}
	return time.Time{}
}

// giveUp announces what was held back although something is still pending.
func (t *table) giveUp(r *row) {
	if r.space != nil && r.space.state != ownerKnown {
		r.space.waived = true
	}
	if r.innerKnown {
		t.nameAsLearned(r)
	}
	t.release(r)
}

// releaseAll is for the end: nobody is left to wait.
func (t *table) releaseAll() {
	for _, h := range t.holds {
		if h.row.hold == h.hold {
			t.giveUp(h.row)
		}
	}
	t.holds = nil
}
