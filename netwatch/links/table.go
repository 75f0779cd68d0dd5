package links

import (
	"maps"
	"slices"
	"time"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/rtnl"
)

// maxDeleted is how many deleted links, and how many reused namespace ids, the Table remembers during
// one dump.
const maxDeleted = 65536

// Table is the link table. Its rows are keyed by ifindex, because the kernel does not reuse one while
// it counts up. They are never keyed by name, because a name may change at any time.
type Table struct {
	Config

	rows    map[uint32]*row
	inside  map[int32]map[uint32]*row // rows by their peer: nsid, ifindex there
	byName  map[string]*row           // for reports, which know no ifindex
	changes []Change                  // since the last Take

	holds      []heldRow // in the order in which they end
	due        []*row    // rows with a question that is due
	dueSince   time.Time // when the first question became due
	retries    []*row    // rows with a question that is repeated at retryAt
	throttled  []*row    // in the order in which they were throttled
	pending    pendingBindings
	holdTime   time.Duration       // how long an up waits for its owner
	lastEpoch  uint64              // the last epoch of any row
	held       int                 // rows with a hold
	generation uint64              // counts dumps; 0 before the first
	deleted    map[uint32]struct{} // links deleted live since the dump was asked for
	freed      map[int32]struct{}  // namespace ids reused since the dump was asked for
}

// Config is what a Table needs.
type Config struct {
	Now    func() time.Time
	Owners bool // owners can be found
	Hears  bool // live messages of other namespaces arrive, so renames there are noticed

	Budgets *Budgets // the caller takes tokens of it for states of containers
}

// New returns an empty Table.
func New(config Config) *Table {
	return &Table{
		Config: config, holdTime: holdFor,
		rows: map[uint32]*row{}, inside: map[int32]map[uint32]*row{}, byName: map[string]*row{},
		deleted: map[uint32]struct{}{}, freed: map[int32]struct{}{},
	}
}

// Seed fills the Table with the rows that were known before the first message. The first dump is
// compared with them.
func (t *Table) Seed(rows []hub.Interface) {
	for _, known := range rows {
		r := t.seedRow(known)
		t.rows[known.Ifindex] = r
		t.byName[known.Veth] = r
	}
}

// seedRow returns a row that is as the view has it.
func (t *Table) seedRow(known hub.Interface) *row {
	known.ContainerName, known.Image = "", "" // only views have them
	r := &row{Interface: known, emitted: known, published: known, peer: unknownPeer, stale: true, epoch: t.nextEpoch()}
	if known.BoundBy != "" {
		r.bound = &Binding{Owner: Owner{known.Pool, known.ID}, Name: known.Name, Veth: known.Veth, Source: known.BoundBy}
	} else {
		r.owner = Owner{known.Pool, known.ID}
		r.lastOwner = r.owner
	}
	if known.Kept {
		r.mover = r.owner
	}
	return r
}

// Rebase takes the rows of the view for the published ones, because changes that Take returned did not get
// there. Their outcome is announced like that of changes over budget.
func (t *Table) Rebase(view []hub.Interface) {
	t.changes = t.changes[:0]
	seeds := make(map[uint32]*row, len(view))
	for _, known := range view {
		seeds[known.Ifindex] = t.seedRow(known)
	}
	for _, r := range rowsOf(t.rows) {
		var published hub.Interface
		if seed := seeds[r.Ifindex]; seed != nil {
			published = seed.published
			delete(seeds, r.Ifindex)
		}
		if published != r.published {
			r.peerReplaced = r.hold != nil && published.State == hub.LinkUp // it was down in between
			t.cancelHold(r)
			r.published = published
			t.throttle(r, t.Now())
		}
	}
	for _, seed := range rowsOf(seeds) {
		t.drop(seed, true)
	}
}

// ForgetAll drops all rows, because none of their links exists any more.
func (t *Table) ForgetAll() {
	for _, ifindex := range slices.Sorted(maps.Keys(t.rows)) {
		t.drop(t.rows[ifindex], true)
	}
}

// BeginDump starts a generation. Call it when you ask for a dump.
func (t *Table) BeginDump() {
	t.generation++
	clear(t.deleted)
	clear(t.freed)
}

// EndDump drops the rows that the dump lacks. Call it only for a complete dump: it was not
// interrupted, and no message was lost since it was asked for.
func (t *Table) EndDump() {
	for _, ifindex := range slices.Sorted(maps.Keys(t.rows)) {
		if r := t.rows[ifindex]; r.seen != t.generation {
			t.drop(r, true)
		}
	}
}

// Apply applies a message about a link in the watched namespace: a live one, or a record of a dump if
// dumped is true. doubt is true if a record contradicts a live message that came since the dump was asked
// for, or if a live message may be from another namespace. Then the message changed nothing, and another
// dump is needed.
func (t *Table) Apply(l *rtnl.Link, dumped bool) (doubt bool) {
	r := t.rows[l.Ifindex]
	if !dumped && r != nil && r.looksForeign(l) {
		return true
	}
	if l.Deleted {
		t.remove(l)
		return false
	}
	if dumped && t.mayBeOutdated(r, l) {
		if r != nil {
			r.seen = t.generation
		}
		return r == nil || r.live != t.generation || r.differs(l)
	}
	if r != nil && r.wasReplaced(l) {
		t.drop(r, true)
		r = nil
	}
	isNew := r == nil
	if isNew {
		r = &row{Interface: hub.Interface{Ifindex: l.Ifindex, State: hub.LinkDown}, peer: unknownPeer, epoch: t.nextEpoch()}
		t.rows[l.Ifindex] = r
	}
	r.seen = t.generation
	if !dumped {
		r.live = t.generation
		delete(t.deleted, l.Ifindex)
	}
	t.updateRow(r, l, dumped)
	if isNew && !dumped && l.Peer.Ifindex == 0 {
		t.queueQuestion(r) // the first end of a new pair, or a link of another namespace: see looksForeign
	}
	return false
}

// mayBeOutdated reports whether a record of a dump may be older than live messages about its link, or about the
// namespace of the link's peer. r is the row of the link, or nil.
func (t *Table) mayBeOutdated(r *row, l *rtnl.Link) bool {
	if r != nil && r.live == t.generation {
		return true
	}
	return r == nil && t.mayBeGone(l.Ifindex) || l.Peer.Foreign() && t.mayBeFreed(l.Peer.NSID)
}

// updateRow applies a message to a row.
func (t *Table) updateRow(r *row, l *rtnl.Link, dumped bool) {
	if name := showName(l.Name); name != r.Veth {
		t.setVeth(r, name)
	}
	if state := stateOf(l.Flags); state != r.State {
		r.State, r.Since = state, t.stamp(dumped)
	}
	other := t.updatePeer(r, l.Peer)
	if b := t.pending.take(r.Veth, t.Now()); b != nil {
		r.bound = b
	}
	t.emitChanges(r, dumped)
	if other != nil {
		t.emitChanges(other, dumped)
	}
}

// stamp returns the Since of a state that begins now. If the state was found by comparing, that is the
// zero Time, because nobody knows when it began.
func (t *Table) stamp(compared bool) time.Time {
	if compared {
		return time.Time{}
	}
	return t.Now().UTC().Truncate(time.Microsecond)
}

// setVeth gives a row its name on the host.
func (t *Table) setVeth(r *row, veth string) {
	if t.byName[r.Veth] == r {
		delete(t.byName, r.Veth)
	}
	r.Veth = veth
	t.byName[veth] = r
}

// remove drops the row of a deleted link. If the link moved, remove updates the row of its peer.
func (t *Table) remove(l *rtnl.Link) {
	if len(t.deleted) <= maxDeleted {
		t.deleted[l.Ifindex] = struct{}{}
	}
	if r := t.rows[l.Ifindex]; r != nil {
		t.drop(r, false)
	}
	if other := t.inside[rtnl.NSIDLocal][l.Ifindex]; l.Moved && other != nil {
		t.loseCarrier(other, l.MovedTo)
	}
}

// mayBeGone reports whether a link that the Table does not have was deleted live since the
// dump was asked for. It is true for any link once maxDeleted is exceeded.
func (t *Table) mayBeGone(ifindex uint32) bool {
	_, gone := t.deleted[ifindex]
	return gone || len(t.deleted) > maxDeleted
}

// mayBeFreed reports whether the id of a namespace was reused since the dump was asked for,
// so that a record may mean the namespace that had it before.
func (t *Table) mayBeFreed(nsid int32) bool {
	_, freed := t.freed[nsid]
	return freed || len(t.freed) > maxDeleted
}

// drop removes a row from the Table, and announces a down if the interface was announced as up.
func (t *Table) drop(r *row, resync bool) {
	if r.hold != nil && r.lastOwner == (Owner{}) {
		r.lastOwner = shortLived
	}
	t.releaseHold(r)
	t.forgetPeer(r)
	delete(t.rows, r.Ifindex)
	if t.byName[r.Veth] == r {
		delete(t.byName, r.Veth)
	}
	r.gone = true
	if r.published.Ifindex == 0 { // the view never had it
		return
	}
	c := Change{Row: r.published, Removed: true, Resync: resync}
	if c.Row.State == hub.LinkUp {
		c.Action = ActionDown
		c.Row.State = hub.LinkDown
		if r.emitted.State != hub.LinkUp && r.leftOut > 0 {
			r.leftOut-- // the down that is announced now
		}
		t.spendTokens(r, &c)
	}
	t.publish(r, c)
}

// Take returns the changes since the last call, valid until the next input.
func (t *Table) Take() []Change {
	taken := t.changes
	t.changes = t.changes[:0]
	return taken
}
