package links

import (
	"time"

	"github.com/osctl/eventd/hub"
)

// announce records a change of a row if the interface and its container have room for it in their
// budgets. If not, the row is throttled: its changes are counted, and their outcome is told
// when there is room.
func (t *Table) announce(r *row, c Change) {
	if !r.throttled {
		at, ok := t.take(r, &c)
		if ok {
			t.publish(r, c)
			return
		}
		t.throttle(r, at)
	}
	r.left += 1 + c.Coalesced
}

// publish records a change, which says how many were left out before it.
func (t *Table) publish(r *row, c Change) {
	if c.Action != "" && r.left > 0 {
		c.setCoalesced(c.Coalesced + r.left)
		r.left = 0
	}
	r.told, r.toldKept = c.Row, c.Kept
	t.changes = append(t.changes, c)
}

// take takes the tokens for a change. If there are none, there may be some at the time at. The up of
// a handover has room where its down had.
func (t *Table) take(r *row, c *Change) (at time.Time, ok bool) {
	if c.Handover && c.Action == ActionUp && r.told.State != hub.LinkUp {
		t.spend(r, c)
		return at, true
	}
	now := t.Now()
	if at = r.bucket.room(t.Budgets.ofInterface); now.Before(at) {
		return at, false
	}
	if owner := r.payer(c); owner != (Owner{}) {
		if at, ok = t.Budgets.Take(owner, now); !ok {
			return at, false
		}
	}
	r.bucket.spend(t.Budgets.ofInterface, now)
	return at, true
}

// spend takes the tokens for a change that cannot wait.
func (t *Table) spend(r *row, c *Change) {
	now := t.Now()
	r.bucket.spend(t.Budgets.ofInterface, now)
	if owner := r.payer(c); owner != (Owner{}) {
		t.Budgets.Spend(owner, now)
	}
}

// shortLived pays for interfaces that go before their owner was found, all together. A container that
// reboots as fast as it can would have a new budget each time.
var shortLived = Owner{Pool: "@"}

// payer returns the container whose budget a change draws on: the owner, or the last one where none is
// found now. Else a container would gain by dying, or by moving its interface to where no owner is found.
func (r *row) payer(c *Change) Owner {
	if c.Row.ID == "" {
		return r.lastOwner
	}
	return Owner{c.Row.Pool, c.Row.ID}
}

// throttle has the changes of a row be counted until there may be a token.
func (t *Table) throttle(r *row, until time.Time) {
	r.roomAt = until
	if !r.throttled {
		r.throttled = true
		t.throttled = append(t.throttled, r)
	}
}

// resumeThrottled tells the outcomes of the rows that may have room by now.
func (t *Table) resumeThrottled(now time.Time) {
	all := t.throttled
	t.throttled = all[:0] // each row comes back at most once, so not before it was read
	for _, r := range all {
		switch {
		case r.gone:
		case now.Before(r.roomAt):
			t.throttled = append(t.throttled, r)
		default:
			t.resume(r)
		}
	}
	clear(all[len(t.throttled):])
}

// resume compares a row that was throttled with what was told of it, and tells the outcome. If that
// is nothing, the next event says what was left out.
func (t *Table) resume(r *row) {
	left := r.left
	r.throttled, r.left = false, 0
	r.shown, r.shownKept, r.Announced = r.told, r.toldKept, r.told.Announced
	if r.State == r.told.State {
		r.Since = r.told.Since // that it had another meanwhile was left out
	}
	before := len(t.changes)
	r.resuming = true
	t.tell(r, true)
	r.resuming = false
	outcome := t.changes[before:]
	announced := len(outcome)
	if r.hold != nil {
		outcome = r.hold.changes // the last of it
		announced += len(outcome)
	}
	left -= min(left, uint32(announced)) //nolint:gosec // a few
	n := len(outcome)
	if r.throttled || n == 0 || outcome[n-1].Action == "" {
		r.left = left
		return
	}
	outcome[n-1].setCoalesced(left)
}
