package links

import (
	"cmp"
	"slices"
	"time"

	"github.com/osctl/eventd/netwatch/rtnl"
)

const (
	// firstRetry is how soon a question is asked again that an up waits for; the pause doubles
	// to lastRetry.
	firstRetry = 5 * time.Millisecond
	lastRetry  = 100 * time.Millisecond
	// laterRetry is how soon it is asked again when no up waits; the pause grows fourfold, and
	// after laterRetries the next event asks.
	laterRetry   = 250 * time.Millisecond
	laterRetries = 4
)

// Question asks for the name of a link's peer, and for its owner.
type Question struct {
	Ifindex uint32
	Peer    rtnl.Peer // as far as known
	Named   bool      // the name of the peer is known
	Mover   Owner     // the owner that moved it to its present namespace; zero if none did
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
	Moved     bool      // no owner is found, and the Mover runs
	Next      time.Time // an earlier question would get the same answer
}

// ask makes a question about a row due.
func (t *Table) ask(r *row) {
	if r.due {
		return
	}
	if len(t.due) == 0 {
		t.dueSince = t.Now()
	}
	r.due = true
	t.due = append(t.due, r)
}

// Recheck makes questions due about the rows of an owner, and about those whose peer is in the namespace
// with the id nsid.
func (t *Table) Recheck(owner Owner, nsid int32) {
	var others []*row
	for _, r := range t.rows {
		if owner != (Owner{}) && r.owner == owner {
			others = append(others, r)
		}
	}
	slices.SortFunc(others, func(a, b *row) int { return cmp.Compare(a.Ifindex, b.Ifindex) })
	for _, r := range slices.Concat(rowsOf(t.inside[nsid]), others) {
		t.ask(r) // once
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
			all = append(all, Question{Ifindex: r.Ifindex, Peer: r.peer, Named: r.nameKnown, Mover: r.mover, epoch: r.epoch})
		}
	}
	t.dueSince = t.Now()
	return all
}

// DueSince returns since when a question is due; ok is false if none is.
func (t *Table) DueSince() (since time.Time, ok bool) { return t.dueSince, len(t.due) > 0 }

// Answer applies the answer to a question. It drops the answer if the peer may have been replaced.
func (t *Table) Answer(a *Answer) {
	r := t.rows[a.Ifindex]
	switch {
	case r == nil || r.epoch != a.epoch || a.Gone: // what became of it is said
	case a.Failed:
		t.retry(r, a.Next)
	case a.Link.Peer.Ifindex == 0: // it is about to go
	case a.Link.Peer != r.peer: // then the kernel has said nothing of the link since it was asked
		t.Apply(&a.Link, false)
	case !r.peer.Foreign(): // in a namespace that has no id here
		r.answered = true
		t.release(r)
		t.tell(r, r.compared)
	default:
		t.learn(r, a)
	}
}

// learn takes the name and the owner that an answer has.
func (t *Table) learn(r *row, a *Answer) {
	r.answered = true
	if !r.nameKnown && a.NameKnown {
		t.setName(r, showName(a.Name))
	}
	r.moverRuns = a.Moved
	t.takeOwner(r, a)
	if r.hold == nil {
		t.tell(r, r.compared)
	} else if r.nameKnown && (a.Found || r.bound != nil && !r.contained || !t.Owners || r.waived) {
		t.release(r)
	}
	if r.nameKnown && (a.Found || r.kept || !t.Owners) {
		r.compared, r.tries = false, 0
		return
	}
	t.retry(r, a.Next)
}

// takeOwner takes the owner that was found. When none was found, a row that is shown as up keeps
// the one that it had while it is asked again, because that may just have been missed.
func (t *Table) takeOwner(r *row, a *Answer) {
	switch {
	case a.Found:
		r.owner, r.verified, r.waived, r.kept = a.Owner, true, false, false
		r.contained = a.Owner.Pool != PoolNetns
		r.mover, r.moverRuns, r.lastOwner = Owner{}, false, a.Owner
	case a.Moved && (r.hold == nil || r.waived):
		t.keep(r)
	case r.hold == nil && r.shown.ID != "" && r.tries < laterRetries && t.Owners:
	default:
		r.owner, r.kept = Owner{}, false
	}
}

// keep gives a row that a container moved out of its own namespace the owner that it had, because
// only that container can have done so and nobody is found in the other namespace. Else a container
// could hide whose an interface is.
func (t *Table) keep(r *row) {
	if r.moverRuns {
		r.owner, r.kept, r.verified = r.mover, true, true
	}
}

// retry has a row be asked about again later.
func (t *Table) retry(r *row, earliest time.Time) {
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
	r.compared = r.compared && r.tries < laterRetries
	at := t.Now().Add(pause)
	if at.Before(earliest) {
		at = earliest
	}
	if r.again.IsZero() {
		t.later = append(t.later, r)
	}
	r.again = at
}

// askLater has asked what was to be asked again by now.
func (t *Table) askLater(now time.Time) {
	t.later = slices.DeleteFunc(t.later, func(r *row) bool {
		if !r.gone && now.Before(r.again) {
			return false
		}
		r.again = time.Time{}
		if !r.gone {
			t.ask(r)
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
	for _, r := range t.later {
		if next.IsZero() || r.again.Before(next) {
			next = r.again
		}
	}
	for _, r := range t.throttled {
		if !r.gone && (next.IsZero() || r.roomAt.Before(next)) {
			next = r.roomAt
		}
	}
	return next
}

// Settled reports whether no up waits for its owner and no question is due. Changes over budget may be
// held nevertheless.
func (t *Table) Settled() bool { return t.held == 0 && len(t.due) == 0 }
