package links

import (
	"maps"
	"slices"
	"time"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/rtnl"
)

// maxDeleted is how many links and namespace ids that vanished during one dump are remembered.
const maxDeleted = 65536

// Table is the link table: a row for each veth by ifindex, which the kernel does not reuse
// while it counts up, and never by name, which anybody may change.
type Table struct {
	Config

	rows    map[uint32]*row
	inside  map[int32]map[uint32]*row // rows by their peer: nsid, ifindex there
	byName  map[string]*row           // for reports, which know no ifindex
	changes []Change                  // since the last Take

	holds      []heldRow // in the order in which they end
	due        []*row    // to be asked about
	dueSince   time.Time // when the first of them became due
	later      []*row    // to be asked about again
	throttled  []*row    // in the order in which they came
	promises   promises
	longest    time.Duration       // an up waits for its owner
	epochs     uint64              // the last that was given out
	held       int                 // rows that are held
	generation uint64              // counts dumps; 0 before the first
	deleted    map[uint32]struct{} // links deleted live since the dump was asked for
	freed      map[int32]struct{}  // ids of namespaces given away since then
}

// Config is what a Table needs.
type Config struct {
	Now    func() time.Time
	Owners bool // owners can be asked for
	Hears  bool // renames in other namespaces are heard

	Budgets *Budgets // nil has the Table make its own
}

// New returns an empty Table.
func New(config Config) *Table {
	if config.Budgets == nil {
		config.Budgets = NewBudgets(InterfaceBudget, ContainerBudget)
	}
	return &Table{
		Config: config, longest: holdFor,
		rows: map[uint32]*row{}, inside: map[int32]map[uint32]*row{}, byName: map[string]*row{},
		deleted: map[uint32]struct{}{}, freed: map[int32]struct{}{},
	}
}

// Seed fills the Table with the rows that were known before the first message. The first dump is
// compared with them.
func (t *Table) Seed(rows []hub.Interface) {
	for _, known := range rows {
		r := &row{Interface: known, shown: known, told: known, peer: unknownPeer, compared: true, epoch: t.nextEpoch()}
		if known.BoundBy != "" {
			r.bound = &Binding{Owner: Owner{known.Pool, known.ID}, Name: known.Name, Veth: known.Veth, Source: known.BoundBy}
		} else {
			r.owner = Owner{known.Pool, known.ID}
			r.lastOwner = r.owner
		}
		t.rows[known.Ifindex] = r
		t.byName[known.Veth] = r
	}
}

// Restart has the Table begin anew with the rows of a view that lacks some of its changes. The next dump
// is compared with them. What the kernel says of the one that runs is still understood.
func (t *Table) Restart(rows []hub.Interface) {
	before, fresh := t.rows, New(t.Config)
	fresh.longest, fresh.promises, fresh.epochs = t.longest, t.promises, t.epochs
	fresh.generation, fresh.deleted, fresh.freed = t.generation, t.deleted, t.freed
	*t = *fresh
	t.Seed(rows)
	for ifindex, r := range t.rows {
		if b := before[ifindex]; b != nil {
			r.bucket = b.bucket
		}
	}
}

// ForgetAll drops all rows, because none of their links exists any more.
func (t *Table) ForgetAll() {
	for _, ifindex := range slices.Sorted(maps.Keys(t.rows)) {
		t.drop(t.rows[ifindex], true)
	}
}

// BeginDump starts a generation. Call it when a dump is asked for.
func (t *Table) BeginDump() {
	t.generation++
	clear(t.deleted)
	clear(t.freed)
}

// EndDump drops the rows that the dump did not have. Call it only for a complete dump: it was not
// interrupted, and no message was lost since it was asked for.
func (t *Table) EndDump() {
	for _, ifindex := range slices.Sorted(maps.Keys(t.rows)) {
		if r := t.rows[ifindex]; r.seen != t.generation {
			t.drop(r, true)
		}
	}
}

// Apply applies a message about a link in the watched namespace, live or of a dump. doubt is true if
// a record of a dump contradicts a live message that came since the dump was asked for, or if a live
// message may be of another namespace. Then the message changed nothing, and another dump is needed.
func (t *Table) Apply(l *rtnl.Link, dumped bool) (doubt bool) {
	r := t.rows[l.Ifindex]
	if !dumped && r != nil && r.isOfAnother(l) {
		return true
	}
	if l.Deleted {
		t.remove(l)
		return false
	}
	if dumped {
		if r != nil && r.live == t.generation {
			r.seen = t.generation
			return r.differs(l)
		}
		if r == nil && t.mayBeGone(l.Ifindex) || l.Peer.Foreign() && t.mayBeFreed(l.Peer.NSID) {
			if r != nil {
				r.seen = t.generation
			}
			return true
		}
	}
	if r == nil {
		r = &row{Interface: hub.Interface{Ifindex: l.Ifindex, State: hub.LinkDown}, peer: unknownPeer, epoch: t.nextEpoch()}
		t.rows[l.Ifindex] = r
	}
	r.seen = t.generation
	if !dumped {
		r.live = t.generation
		delete(t.deleted, l.Ifindex)
	}
	t.update(r, l, dumped)
	return false
}

// update brings a row in line with a message.
func (t *Table) update(r *row, l *rtnl.Link, dumped bool) {
	if name := showName(l.Name); name != r.Veth {
		t.setVeth(r, name)
	}
	if state := stateOf(l.Flags); state != r.State {
		r.State, r.Since = state, t.stamp(dumped)
	}
	other := t.setPeerAsSaid(r, l.Peer)
	if b := t.promises.take(r.Veth, t.Now()); b != nil {
		r.bound = b
	}
	t.tell(r, dumped)
	if other != nil {
		t.tell(other, dumped)
	}
}

// stamp returns the time that a state has from now on; the zero Time if it was found by
// comparing, because then nobody knows.
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

// remove takes a row away, and tells the row whose peer it was where it went.
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
// dump was asked for. Beyond maxDeleted any may have been.
func (t *Table) mayBeGone(ifindex uint32) bool {
	_, gone := t.deleted[ifindex]
	return gone || len(t.deleted) > maxDeleted
}

// mayBeFreed reports whether an id of a namespace was given away since the dump was asked for,
// so that a record may mean the namespace that had it before.
func (t *Table) mayBeFreed(nsid int32) bool {
	_, freed := t.freed[nsid]
	return freed || len(t.freed) > maxDeleted
}

// drop takes a row out of the Table, and announces it as down if it was announced as up.
func (t *Table) drop(r *row, resync bool) {
	if r.hold != nil && r.lastOwner == (Owner{}) {
		r.lastOwner = shortLived
	}
	t.release(r)
	t.forgetPeer(r)
	delete(t.rows, r.Ifindex)
	if t.byName[r.Veth] == r {
		delete(t.byName, r.Veth)
	}
	r.gone = true
	if r.told.Ifindex == 0 { // the view never had it
		return
	}
	c := Change{Row: r.told, Removed: true, Resync: resync}
	if c.Row.State == hub.LinkUp {
		c.Action = ActionDown
		c.Row.State = hub.LinkDown
		if r.shown.State != hub.LinkUp && r.left > 0 {
			r.left-- // this one
		}
		t.spend(r, &c)
	}
	t.publish(r, c)
}

// Take returns the changes since the last call, valid until the next input.
func (t *Table) Take() []Change {
	taken := t.changes
	t.changes = t.changes[:0]
	return taken
}
