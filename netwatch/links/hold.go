package links

import (
	"time"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/rtnl"
)

const (
	// holdFor is how long an up waits for its owner.
	holdFor = 500 * time.Millisecond
	// maxHeld is how many rows may have a hold. Changes of other rows are announced without waiting.
	maxHeld = 4096
)

// hold queues the changes of a row until its owner is known. The first is an up, and all have
// the same peer. It has as many as an interface may announce at once, and counts further changes.
type hold struct {
	changes []Change
	named   bool // the name was known when the peer became doubtful; keep it
	leftOut uint32
	until   time.Time
}

// heldRow is an entry of Table.holds. It is outdated if the row has another hold.
type heldRow struct {
	row  *row
	hold *hold
}

// HoldFor sets how long an up waits for its owner. The default is half a second.
func (t *Table) HoldFor(d time.Duration) { t.holdTime = d }

// startHold starts to queue the changes of a row.
func (t *Table) startHold(r *row) {
	if r.hold != nil || t.held >= maxHeld {
		return
	}
	r.hold = &hold{until: t.Now().Add(t.holdTime)}
	t.held++
	t.holds = append(t.holds, heldRow{r, r.hold})
}

// cancelHold leaves out the held changes of a row.
func (t *Table) cancelHold(r *row) {
	if h := r.hold; h != nil {
		r.leftOut += uint32(len(h.changes)) + h.leftOut //nolint:gosec // a few
		r.hold = nil
		t.held--
	}
}

// releaseHold announces the held changes of a row with the owner and the name that are known by now.
func (t *Table) releaseHold(r *row) {
	h := r.hold
	if h == nil {
		return
	}
	r.hold = nil
	t.held--
	if !r.verified {
		r.owner, r.Kept = Owner{}, false // it is of an earlier epoch and may be outdated
		r.answered = true
	}
	if r.peer.NSID != rtnl.NSIDLocal && !r.nameKnown && !h.named {
		h.rename(r.Name, r.boundName())
		r.Name = r.boundName()
		r.emitted.Name = r.Name
	}
	r.assignOwner(t.Owners)
	setOwner(&r.emitted, &r.Interface)
	for i := range h.changes {
		c := &h.changes[i]
		setOwner(&c.Row, &r.Interface)
		if i == 0 && renamedUnheard(&r.published, &c.Row) {
			rename := Change{Action: ActionRename, Row: r.published, OldName: r.published.Name, Resync: true}
			rename.Row.Name = c.Row.Name
			t.announce(r, rename)
		}
		t.announce(r, *c)
	}
	if h.leftOut > 0 {
		t.throttle(r, t.Now())
		r.leftOut += h.leftOut
	} else {
		r.emitted = h.changes[len(h.changes)-1].Row
	}
}

// renamedUnheard reports whether the first change of a hold has the owner that the row had before, but
// another name inside.
func renamedUnheard(before, first *hub.Interface) bool {
	return before.Announced && before.Name != "" && first.Name != "" && before.Name != first.Name &&
		before.Pool == first.Pool && before.ID == first.ID
}

func setOwner(to, from *hub.Interface) {
	to.Pool, to.ID, to.BoundBy, to.BoundPeer, to.Kept = from.Pool, from.ID, from.BoundBy, from.BoundPeer, from.Kept
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
			c.Action, c.OldName = "", "" // no rename any more
		}
	}
}

// expireHold announces the held changes of a row although its owner is not known.
func (t *Table) expireHold(r *row) {
	if !r.verified {
		r.timedOut, r.tries = true, 0
		t.keepOwner(r)
	}
	t.releaseHold(r)
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
			t.expireHold(first.row)
		}
		t.holds = t.holds[1:]
	}
	t.resumeThrottled(now)
	t.queueRetries(now)
}
