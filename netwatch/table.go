package netwatch

import (
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/hub"
)

// maxDeleted is how many links and namespaces that vanished during one dump are remembered.
const maxDeleted = 65536

// row is one veth on the host.
type row struct {
	hub.Interface               // as it is
	shown         hub.Interface // as the last change said it
	peer          Peer          // Ifindex 0: not known
	space         *namespace    // of the peer, if that is in another one
	inner         string        // name of the peer in there, "" if it cannot be asked
	innerKnown    bool
	astray        bool     // the peer was not found where it is said to be
	bound         *binding // what was reported explicitly, nil for nothing
	ask           *ask     // the question that is outstanding
	wants         askKind  // the next one
	queued        bool     // in table.wanted
	hold          *hold    // what waits for whose it is
	outdated      bool     // the owner is that of a former peer; until the next message
	gone          bool     // no longer in the table
	seen          uint64   // generation that saw it last, live or in its dump
	live          uint64   // generation in which a live message set it last
}

// table is the link table: a row for each veth of the namespace by ifindex, which
// the kernel does not reuse while it counts up, and never by name, which anybody
// may change. It is pure: messages and answers go in, changes and questions come out. Its size
// is bounded by how many links and namespaces the kernel has.
type table struct {
	rows    map[uint32]*row
	byPeer  map[Peer]uint32   // whose peer it is; so that what happens to a peer is O(1)
	byName  map[string]uint32 // for reports, which know no ifindex
	spaces  map[int32]*namespace
	changes []change // since the last take
	now     func() time.Time
	finds   bool // owners can be asked for
	hears   bool // renames inside are heard

	held      map[uint32]*row // rows whose changes wait
	holds     []heldRow       // in the order in which that ends
	wanted    []*row          // with a question for the kernel
	asked     map[uint32]*ask // outstanding, by the number of the request
	questions []question      // for Owners, since they were last taken
	finding   int             // namespaces whose owner is being looked for
	consulted int             // of those, how many questions were taken
	searching []*namespace    // whose owner is looked for again later
	promises  promises

	longestHold time.Duration // holdFor, but for tests of what is found however late

	endedEarly time.Time // when one of spaces last ended that was brief

	generation uint64              // counts dumps; 0 before the first
	deleted    map[uint32]struct{} // deleted live since the dump was asked for
	freed      map[int32]struct{}  // ids of namespaces, likewise
}

func newTable(now func() time.Time, finds, hears bool) *table {
	return &table{
		rows: map[uint32]*row{}, byPeer: map[Peer]uint32{}, byName: map[string]uint32{}, spaces: map[int32]*namespace{},
		now: now, finds: finds, hears: hears, held: map[uint32]*row{}, longestHold: holdFor, asked: map[uint32]*ask{},
		deleted: map[uint32]struct{}{}, freed: map[int32]struct{}{},
	}
}

// seed fills the table with what was known before the first message. The first
// dump is compared with it. Who the peers are is not part of the view.
func (t *table) seed(rows []hub.Interface) {
	for _, known := range rows {
		r := &row{Interface: known, shown: known, peer: Peer{NSID: NSIDUnknown}}
		if known.BoundBy != "" {
			r.bound = &binding{pool: known.Pool, id: known.ID, name: known.Name, veth: known.Veth, source: known.BoundBy}
		}
		t.rows[known.Ifindex] = r
		t.byName[known.Veth] = known.Ifindex
	}
}

// forgetAll drops all rows: what was known is of links that are no more.
func (t *table) forgetAll() {
	for _, ifindex := range slices.Sorted(maps.Keys(t.rows)) {
		t.drop(t.rows[ifindex], true)
	}
}

// beginDump starts a generation: a dump was asked for.
func (t *table) beginDump() {
	t.generation++
	clear(t.deleted)
	clear(t.freed)
}

// apply takes one message, either live or from a dump. Doubt means that a record
// of a dump contradicts a live message that came before it in the same generation:
// the kernel builds a part of a dump under its lock but queues it after that, so a
// live message may get in front of it (see the package documentation). Nothing was
// changed then, and only another dump can tell.
func (t *table) apply(l *link, dumped bool) (doubt bool) {
	if l.deleted {
		t.remove(l, dumped)
		return false
	}
	r := t.rows[l.ifindex]
	if dumped {
		if r != nil && r.live == t.generation {
			return r.differs(l)
		}
		if r == nil && t.mayBeGone(l.ifindex) || l.peer.foreign() && t.mayBeFreed(l.peer.NSID) {
			if r != nil {
				r.seen = t.generation
			}
			return true
		}
	}
	if r == nil {
		r = t.add(l)
	}
	r.seen = t.generation
	if !dumped {
		r.live = t.generation
		delete(t.deleted, l.ifindex)
	}
	t.update(r, l, dumped)
	return false
}

// add makes the row of a link that was not there.
func (t *table) add(l *link) *row {
	if former := t.held[l.ifindex]; former != nil {
		t.giveUp(former) // the same link, that went away and came back
	}
	r := &row{Interface: hub.Interface{Ifindex: l.ifindex, State: hub.LinkDown}, peer: Peer{NSID: NSIDUnknown}}
	t.rows[l.ifindex] = r
	t.rename(r, showName(l.name, ""))
	return r
}

// rename gives a row its name on the host.
func (t *table) rename(r *row, veth string) {
	if t.byName[r.Veth] == r.Ifindex {
		delete(t.byName, r.Veth)
	}
	r.Veth = veth
	t.byName[veth] = r.Ifindex
}

// update brings a row in line with a message, in the order in which it is told:
// a new name first, then the end of being up, which belongs to the owner so far,
// then the peer, then being up, which belongs to the owner from now on. A peer that
// moves loses the carrier, of which the kernel may not tell if it is back soon.
func (t *table) update(r *row, l *link, resync bool) {
	if name := showName(l.name, r.Veth); name != r.Veth {
		old := r.Veth
		t.rename(r, name)
		t.emit(change{action: actionRename, oldVeth: old, resync: resync}, r)
	}
	state := stateOf(l.flags)
	if r.State == hub.LinkUp && (state != hub.LinkUp || r.replaces(l)) {
		if r.State = state; state == hub.LinkUp {
			r.State = hub.LinkNoCarrier
		}
		t.emit(change{action: actionDown, resync: resync}, r)
	}
	if r.outdated {
		r.forget()
		t.fill(r)
		t.nameAsLearned(r)
	}
	other := t.meet(r, l)
	t.keepPromise(r)
	if rises := r.State != hub.LinkUp && state == hub.LinkUp; rises {
		t.rise(r, resync)
	} else {
		r.State = state
		t.show(r)
	}
	if other != nil {
		t.show(other)
	}
}

// rise announces a row as up, as soon as it is known whose it is.
func (t *table) rise(r *row, resync bool) {
	if r.peer.foreign() {
		if !t.hears {
			r.innerKnown = false // it may have changed unheard
		}
		t.learn(r)
		t.holdBack(r)
	}
	if !r.peer.foreign() || r.hold == nil && t.finds && !r.verified() {
		r.disown() // from before, and maybe no longer so
	}
	r.State, r.Announced = hub.LinkUp, true
	t.emit(change{action: actionUp, resync: resync}, r)
}

// remove takes a row away, announcing it as down if it was up, and tells the row
// whose peer it was where it went.
func (t *table) remove(l *link, resync bool) {
	if len(t.deleted) <= maxDeleted {
		t.deleted[l.ifindex] = struct{}{}
	}
	if r := t.rows[l.ifindex]; r != nil {
		t.drop(r, resync)
	}
	if !l.moved {
		return
	}
	if other := t.peerOf(Peer{NSIDLocal, l.ifindex}); other != nil {
		t.peerMoved(other, l.movedTo)
	}
}

// mayBeGone reports whether a link that the table does not have was deleted live
// since the dump was asked for. Beyond maxDeleted any may have been.
func (t *table) mayBeGone(ifindex uint32) bool {
	_, gone := t.deleted[ifindex]
	return gone || len(t.deleted) > maxDeleted
}

// mayBeFreed reports whether an id of a namespace was given away since the dump was
// asked for, so that a record may mean the namespace that had it before.
func (t *table) mayBeFreed(nsid int32) bool {
	_, freed := t.freed[nsid]
	return freed || len(t.freed) > maxDeleted
}

// drop takes a row out of the table.
func (t *table) drop(r *row, resync bool) {
	delete(t.rows, r.Ifindex)
	if t.byPeer[r.peer] == r.Ifindex {
		delete(t.byPeer, r.peer)
	}
	if t.byName[r.Veth] == r.Ifindex {
		delete(t.byName, r.Veth)
	}
	r.gone, r.wants = true, askNothing
	gone := change{removed: true, resync: resync}
	if r.State == hub.LinkUp {
		r.State = hub.LinkDown
		gone.action = actionDown
	}
	t.emit(gone, r)
	// Who it was of can still be found while the namespace is there.
	if t.settleHold(r); r.hold == nil {
		t.leave(r)
	}
}

// prune drops the rows that a whole dump did not have, in the order of their
// ifindex. Only for a dump that nothing was lost in.
func (t *table) prune() {
	for _, ifindex := range slices.Sorted(maps.Keys(t.rows)) {
		if r := t.rows[ifindex]; r.seen != t.generation {
			t.drop(r, true)
		}
	}
}

// emit records a change to a row as it is now.
func (t *table) emit(c change, r *row) {
	c.row = r.Interface
	r.shown = r.Interface
	if r.hold == nil {
		t.changes = append(t.changes, c)
		return
	}
	r.hold.changes = append(r.hold.changes, c)
	if len(r.hold.changes) >= maxHeldChanges {
		t.giveUp(r)
	}
}

// show records that a row changed in a way that is no event.
func (t *table) show(r *row) {
	if r.Interface != r.shown {
		t.emit(change{}, r)
	}
}

// take returns the changes since the last call. They are valid until the next apply.
func (t *table) take() []change {
	taken := t.changes
	t.changes = t.changes[:0]
	return taken
}

// differs reports whether a message says something else than the row. What a
// message leaves out differs from nothing.
func (r *row) differs(l *link) bool {
	return stateOf(l.flags) != r.State || showName(l.name, r.Veth) != r.Veth ||
		l.peer.Ifindex != 0 && l.peer != r.peer
}

// stateOf takes the state from the flags. Carrier is read off them and not off
// the operational state, which comes from the same but is one more name for it.
func stateOf(flags uint32) hub.LinkState {
	const carrier = unix.IFF_RUNNING | unix.IFF_LOWER_UP
	switch {
	case flags&unix.IFF_UP == 0:
		return hub.LinkDown
	case flags&carrier != carrier:
		return hub.LinkNoCarrier
	default:
		return hub.LinkUp
	}
}

// takeQuestions returns the questions for Owners since the last call, as long as no
// more than some are to find.
func (t *table) takeQuestions(finds int) []question {
	n := 0
	for ; n < len(t.questions); n++ {
		if t.questions[n].find == nil {
			continue
		}
		if finds == 0 {
			break
		}
		finds--
		t.consulted++
	}
	taken := t.questions[:n:n]
	t.questions = t.questions[n:]
	return taken
}

// waits reports whether there is something that time will end.
func (t *table) waits() bool { return len(t.holds) > 0 || len(t.searching) > 0 }

// settled reports whether nothing is held back, and nothing asked that is not answered.
func (t *table) settled() bool {
	return len(t.held) == 0 && len(t.wanted) == 0 && len(t.asked) == 0 && t.finding == 0
}
