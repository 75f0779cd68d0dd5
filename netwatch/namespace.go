package netwatch

import (
	"maps"
	"slices"
	"time"

	"github.com/osctl/eventd/netwatch/owner"
)

const (
	// firstRetry is how soon at the least an owner is looked for again that an event
	// waits for.
	firstRetry = 5 * time.Millisecond
	// laterRetry is how soon it is looked for again when none does; then after four
	// times as long, and so on for laterRetries times. After that the next event asks.
	laterRetry   = 250 * time.Millisecond
	laterRetries = 4
)

// ownerState is what is known of whose a namespace is.
type ownerState int

const (
	ownerUnasked ownerState = iota
	ownerAsked
	ownerUnknown // was asked, and not found so far
	ownerKnown
)

// namespace is another namespace for as long as it has its id. The kernel gives an
// id that was freed to the next one at once, so it is the pointer that names a
// namespace: what was asked about one is never taken for another.
type namespace struct {
	nsid    int32
	since   time.Time       // when it was first heard of; zero if a dump told
	gone    bool            // the id was taken from it
	lost    bool            // or that may have been said unheard; the next dump tells
	rows    map[uint32]*row // whose peers are in it, by ifindex on the host
	state   ownerState
	owner   owner.Container
	waived  bool // an up was announced without the owner, so no other waits for it
	tries   int  // in vain
	retryAt time.Time
}

// question is something for [Owners]: to forget one id or all, or to find an owner.
type question struct {
	forget    int32
	forgetAll bool
	find      *namespace // nil is to forget
}

// maxQuestions is how many questions wait before those to forget are made one. The
// others are bounded by how many namespaces there are.
const maxQuestions = 4096

// forgetTogether makes all questions to forget one, in front of the others: what
// is found from now on is newer than all of them.
func forgetTogether(all []question) []question {
	rest := slices.DeleteFunc(all, func(q question) bool { return q.find == nil })
	return slices.Insert(rest, 0, question{forgetAll: true})
}

// namespace returns the namespace that has an id now.
func (t *table) namespace(nsid int32) *namespace {
	s := t.spaces[nsid]
	if s == nil {
		s = &namespace{nsid: nsid, since: t.now(), rows: map[uint32]*row{}}
		t.spaces[nsid] = s
	}
	return s
}

// ageSpaces takes all namespaces for old, after a dump: it does not tell since when they are.
func (t *table) ageSpaces() {
	for _, s := range t.spaces {
		s.since = time.Time{}
	}
}

// eachRow calls fn for the rows whose peers are in a namespace, by their ifindex. It
// may change them.
func (s *namespace) eachRow(fn func(r *row)) {
	for _, ifindex := range slices.Sorted(maps.Keys(s.rows)) {
		if r := s.rows[ifindex]; r != nil {
			fn(r)
		}
	}
}

// find asks whose a namespace is, unless that is known or asked already.
func (t *table) find(s *namespace) {
	if !t.finds || s.gone || s.state == ownerAsked || s.state == ownerKnown {
		return
	}
	s.state = ownerAsked
	t.questions = append(t.questions, question{find: s})
	t.finding++
}

// found takes the answer to find. next is when to ask again may help.
func (t *table) found(s *namespace, c owner.Container, ok bool, next time.Time) {
	t.finding--
	t.consulted--
	if s.gone || s.state != ownerAsked {
		return
	}
	if ok {
		s.state, s.owner, s.waived = ownerKnown, c, false
	} else {
		s.state = ownerUnknown
		t.findLater(s, next)
	}
	s.eachRow(t.learned)
}

// findLater has an owner looked for again that was not found.
func (t *table) findLater(s *namespace, next time.Time) {
	now := t.now()
	held := false
	s.eachRow(func(r *row) { held = held || r.hold != nil })
	switch {
	case held:
		s.retryAt = now.Add(firstRetry)
	case s.tries < laterRetries:
		s.retryAt = now.Add(laterRetry << (2 * s.tries))
		s.tries++
	default:
		return
	}
	if s.retryAt.Before(next) {
		s.retryAt = next
	}
	t.searching = append(t.searching, s)
}

// retry asks again for the owners whose time has come, and returns when the next
// time is; the zero time is never.
func (t *table) retry(now time.Time) (next time.Time) {
	t.searching = slices.DeleteFunc(t.searching, func(s *namespace) bool {
		if s.gone || s.state != ownerUnknown || len(s.rows) == 0 {
			return true
		}
		if now.Before(s.retryAt) {
			next = earlier(next, s.retryAt)
			return false
		}
		t.find(s)
		return true
	})
	return next
}

// earlier returns the earlier of two times; the zero time is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// renumbered takes RTM_NEWNSID or RTM_DELNSID: an id is no longer what it was. The
// kernel says RTM_DELNSID without its lock (unhash_nsid in
// net/core/net_namespace.c), so that the id may be in use again, and of that be heard,
// before. So both mean the same: what the peers of such an id are must be said anew.
// Their rows keep what was known, as what the kernel says next is mostly their end.
func (t *table) renumbered(nsid int32, deleted bool) {
	s := t.spaces[nsid]
	if deleted && len(t.freed) <= maxDeleted {
		t.freed[nsid] = struct{}{}
	}
	if t.finds && (deleted || s != nil) {
		if t.questions = append(t.questions, question{forget: nsid}); len(t.questions) > maxQuestions {
			t.questions = forgetTogether(t.questions)
		}
	}
	if s == nil {
		return
	}
	delete(t.spaces, nsid)
	s.gone = true
	if now := t.now(); deleted && now.Sub(s.since) < brief {
		t.endedEarly = now
	}
	s.eachRow(func(r *row) {
		if r.hold != nil && !r.gone {
			t.want(r, askHost)
		}
		t.settleHold(r)
	})
}

// suspect is for when messages were lost: names of peers and owners of ids may have
// changed unheard. Rows keep what was known until the next dump says who their peers
// are, and then until the answers about those are there.
func (t *table) suspect() {
	for _, number := range slices.Sorted(maps.Keys(t.asked)) {
		a := t.asked[number]
		a.row.ask = nil
		t.want(a.row, a.kind)
	}
	clear(t.asked)
	if t.finds {
		t.finding = t.consulted // the others are of namespaces that are gone now
		t.questions = []question{{forgetAll: true}}
	}
	for _, s := range t.spaces {
		s.gone, s.lost = true, true
	}
	clear(t.spaces)
}
