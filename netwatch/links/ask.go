package links

import (
	"cmp"
	"slices"
	"time"

	"github.com/osctl/eventd/netwatch/rtnl"
)

const (
	// firstRetry is the first pause before a question is repeated while an up waits for the answer.
	// The pause doubles up to lastRetry.
	firstRetry = 5 * time.Millisecond
	lastRetry  = 100 * time.Millisecond
	// laterRetry is the first pause while no up waits. The pause grows fourfold. After laterRetries
	// the question is repeated only when something happens to the row.
	laterRetry   = 250 * time.Millisecond
	laterRetries = 4
)

// Question asks for the name of a link's peer, and for its owner.
type Question struct {
	Ifindex uint32
	Peer    rtnl.Peer // as far as known
	Named   bool      // the name of the peer is known
	Mover   Owner     // the last owner that was found; zero if none was
	Stayed  bool      // the peer is still in the namespace where the Mover was found
	epoch   uint64
}

// Answer is the answer to a Question. It must have been true at one time after the question was asked,
// and everything that the kernel had queued by then must be applied before it.
type Answer struct {
	Question
	Gone      bool      // there is no such link
	Failed    bool      // the kernel could not be asked
	Link      rtnl.Link // the link, as the kernel returned it
	Name      string    // of the peer, as raw bytes; "" if the kernel denies it
	NameKnown bool
	Owner     Owner
	Found     bool
	// Moved says that no owner was found, and the Mover still runs, so it is taken for the one that moved the peer.
	// If the peer Stayed, Moved is true only if the Mover's init has left the peer's namespace.
	Moved bool
	Next  time.Time // an earlier question would get the same answer
}

// queueQuestion makes a question about a row due.
func (t *Table) queueQuestion(r *row) {
	if r.due {
		return
	}
	if len(t.due) == 0 {
		t.dueSince = t.Now()
	}
	r.due = true
	t.due = append(t.due, r)
}

// Recheck makes questions due about the rows of an owner, and about the rows whose peer is in the
// namespace with the id nsid.
func (t *Table) Recheck(owner Owner, nsid int32) {
	var others []*row
	for _, r := range t.rows {
		if owner != (Owner{}) && r.owner == owner {
			others = append(others, r)
		}
	}
	slices.SortFunc(others, func(a, b *row) int { return cmp.Compare(a.Ifindex, b.Ifindex) })
	for _, r := range slices.Concat(rowsOf(t.inside[nsid]), others) {
		t.queueQuestion(r)
	}
}

// Questions returns at most limit of the questions that are due.
func (t *Table) Questions(limit int) []Question {
	var all []Question
	for len(t.due) > 0 && len(all) < limit {
		r := t.due[0]
		t.due = t.due[1:]
		r.due = false
		if !r.gone {
			q := Question{Ifindex: r.Ifindex, Peer: r.peer, Named: r.nameKnown, Mover: r.mover, epoch: r.epoch}
			if q.Mover == (Owner{}) && r.containerFound && !r.stale {
				q.Mover, q.Stayed = r.lastOwner, true
			}
			all = append(all, q)
		}
	}
	t.dueSince = t.Now()
	return all
}

// DueSince returns since when a question is due; ok is false if none is.
func (t *Table) DueSince() (since time.Time, ok bool) { return t.dueSince, len(t.due) > 0 }

// Answer applies the answer to a question. It drops the answer if the peer may have been replaced. doubt is
// true if another dump is needed, because the link of a row does not exist, or has become another one.
func (t *Table) Answer(a *Answer) (doubt bool) {
	r := t.rows[a.Ifindex]
	switch {
	case r == nil || r.epoch != a.epoch: // a message says what happened to the link
	case a.Gone:
		return true
	case a.Failed:
		t.retryQuestion(r, a.Next)
	case a.Link.Peer.Ifindex == 0: // the link is being deleted
	case a.Link.Peer != r.peer: // the answer is newer than every message about the link
		return t.Apply(&a.Link, false)
	case !r.peer.Foreign(): // in a namespace that has no id here
		r.answered = true
		t.releaseHold(r)
		t.emitChanges(r, r.stale)
	default:
		t.applyAnswer(r, a)
	}
	return false
}

// applyAnswer sets the name and the owner of a row from an answer.
func (t *Table) applyAnswer(r *row, a *Answer) {
	r.answered = true
	if !r.nameKnown && a.NameKnown {
		t.setName(r, showName(a.Name))
	}
	if r.moverRuns = a.Moved; a.Moved {
		r.mover = a.Mover
	}
	t.updateOwner(r, a)
	if r.hold == nil {
		t.emitChanges(r, r.stale)
	} else if r.nameKnown && (a.Found || r.bound != nil && !r.containerFound || !t.Owners || r.timedOut) {
		t.releaseHold(r)
	}
	if r.nameKnown && (a.Found || r.Kept && a.Moved || !t.Owners) {
		r.stale, r.tries = false, 0
		return
	}
	t.retryQuestion(r, a.Next)
}

// updateOwner sets the owner that was found. If none was found, a row that was announced with an owner
// keeps it while the question is repeated, because the search may just have missed that owner.
func (t *Table) updateOwner(r *row, a *Answer) {
	switch {
	case a.Found:
		r.owner, r.verified, r.timedOut, r.Kept = a.Owner, true, false, false
		r.containerFound = a.Owner.Pool != PoolNetns
		r.mover, r.moverRuns, r.lastOwner = Owner{}, false, a.Owner
	case a.Moved && (r.hold == nil || r.timedOut):
		t.keepOwner(r)
	case r.hold == nil && r.emitted.ID != "" && r.tries < laterRetries && t.Owners:
	default:
		r.owner, r.Kept = Owner{}, false
		if r.hold == nil {
			r.mover = Owner{} // a later container of that name did not move it
		}
	}
}

// keepOwner keeps the owner of an interface that its container moved to a namespace without an owner,
// because only that container can have moved it. Otherwise a container could hide that it owns the
// interface.
func (t *Table) keepOwner(r *row) {
	if r.moverRuns {
		r.owner, r.Kept, r.verified = r.mover, true, true
	}
}

// retryQuestion schedules a repetition of the question about a row.
func (t *Table) retryQuestion(r *row, earliest time.Time) {
	var pause time.Duration
	switch {
	case r.hold != nil:
		pause = min(firstRetry<<min(r.tries, 10), lastRetry)
	case r.tries < laterRetries:
		pause = laterRetry << (2 * r.tries)
	default:
		return
	}
	r.tries++
	r.stale = r.stale && r.tries < laterRetries
	at := t.Now().Add(pause)
	if at.Before(earliest) {
		at = earliest
	}
	if r.retryAt.IsZero() {
		t.retries = append(t.retries, r)
	}
	r.retryAt = at
}

// queueRetries makes the questions due whose pause is over.
func (t *Table) queueRetries(now time.Time) {
	t.retries = slices.DeleteFunc(t.retries, func(r *row) bool {
		if !r.gone && now.Before(r.retryAt) {
			return false
		}
		r.retryAt = time.Time{}
		if !r.gone {
			t.queueQuestion(r)
		}
		return true
	})
}

// Next returns when Expire has something to do; the zero Time is never.
func (t *Table) Next() (next time.Time) {
	for _, h := range t.holds {
		if h.row.hold == h.hold {
			next = h.hold.until
			break
		}
	}
	for _, r := range t.retries {
		if next.IsZero() || r.retryAt.Before(next) {
			next = r.retryAt
		}
	}
	for _, r := range t.throttled {
		if !r.gone && (next.IsZero() || r.tokenAt.Before(next)) {
			next = r.tokenAt
		}
	}
	return next
}

// Settled reports whether no up waits for its owner and no question is due. Changes over budget may be
// held nevertheless.
func (t *Table) Settled() bool { return t.held == 0 && len(t.due) == 0 }
