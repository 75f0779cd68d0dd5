package links

import (
	"time"

	"github.com/osctl/eventd/hub"
)

// announce publishes a change of a row if the interface and its container have a token. If not, it
// throttles the row: changes are counted, and their outcome is published when there is a token.
func (t *Table) announce(r *row, c Change) {
	if !r.throttled {
		at, ok := t.takeTokens(r, &c)
		if ok {
			t.publish(r, c)
			return
		}
		t.throttle(r, at)
	}
	r.leftOut += 1 + c.Coalesced
}

// publish appends a change to those of Take. An event says how many changes were left out before it.
func (t *Table) publish(r *row, c Change) {
	if c.Action != "" && r.leftOut > 0 {
		c.setCoalesced(c.Coalesced + r.leftOut)
		r.leftOut = 0
	}
	r.published = c.Row
	t.changes = append(t.changes, c)
}

// takeTokens takes the tokens for a change. If there are none, there may be some at the time at. The up
// of a handover takes its tokens in any case, because it must follow its down.
func (t *Table) takeTokens(r *row, c *Change) (at time.Time, ok bool) {
	if c.Handover && c.Action == ActionUp && r.published.State != hub.LinkUp {
		t.spendTokens(r, c)
		return at, true
	}
	now := t.Now()
	if at = r.bucket.nextToken(t.Budgets.ofInterface); now.Before(at) {
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

// spendTokens takes the tokens for a change that cannot wait, even if there are none.
func (t *Table) spendTokens(r *row, c *Change) {
	now := t.Now()
	r.bucket.spend(t.Budgets.ofInterface, now)
	if owner := r.payer(c); owner != (Owner{}) {
		t.Budgets.Spend(owner, now)
	}
}

// shortLived is charged for all interfaces that are deleted before their owner was found. Otherwise a
// container that reboots as fast as it can would have a new budget each time.
var shortLived = Owner{Pool: "@"}

// payer returns the container whose budget a change draws on: the owner, or the last known owner if
// there is none now. Otherwise a container would escape its budget by dying, or by moving its interface
// to a namespace without an owner.
func (r *row) payer(c *Change) Owner {
	if c.Row.ID == "" {
		return r.lastOwner
	}
	return Owner{c.Row.Pool, c.Row.ID}
}

// throttle makes a row only count its changes until there may be a token.
func (t *Table) throttle(r *row, until time.Time) {
	r.tokenAt = until
	if !r.throttled {
		r.throttled = true
		t.throttled = append(t.throttled, r)
	}
}

// resumeThrottled resumes the rows that may have a token by now.
func (t *Table) resumeThrottled(now time.Time) {
	all := t.throttled
	t.throttled = all[:0] // safe, because each row is appended at most once, after it was read
	for _, r := range all {
		switch {
		case r.gone:
		case now.Before(r.tokenAt):
			t.throttled = append(t.throttled, r)
		default:
			t.resume(r)
		}
	}
	clear(all[len(t.throttled):])
}

// resume compares a throttled row with its published version, and emits the outcome. If there is no
// difference, the next event says how many changes were left out.
func (t *Table) resume(r *row) {
	leftOut := r.leftOut
	r.throttled, r.leftOut = false, 0
	r.emitted, r.Announced = r.published, r.published.Announced
	if r.State == r.published.State {
		r.Since = r.published.Since // the states in between were left out
	}
	before := len(t.changes)
	r.resuming = true
	t.emitChanges(r, true)
	r.resuming = false
	outcome := t.changes[before:]
	announced := len(outcome)
	if r.hold != nil {
		outcome = r.hold.changes // they follow those of t.changes
		announced += len(outcome)
	}
	leftOut -= min(leftOut, uint32(announced)) //nolint:gosec // a few
	n := len(outcome)
	if r.throttled || n == 0 || outcome[n-1].Action == "" {
		r.leftOut = leftOut
		return
	}
	outcome[n-1].setCoalesced(leftOut)
}
