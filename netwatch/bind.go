package netwatch

import (
	"slices"
	"time"

	"github.com/osctl/eventd/hub"
)

const (
	// maxPromises is how many names of veths are remembered that were reported and
	// are not there yet; the oldest is dropped for another.
	maxPromises = 1024
	// promiseFor is how long.
	promiseFor = time.Minute
)

// binding is what a container manager reported of a veth. It counts until the veth goes
// away, unless the container's cgroup or the kernel says otherwise: then that counts.
type binding struct {
	pool, id string
	name     string // inside
	veth     string // on the host
	ends     bool   // the interface is no longer the container's
	source   string // of the report
	promised bool   // counts for a veth that is not there yet, too
}

// bindingOf reads a binding from an event; ok is false if it is none. What the
// manager says of the end of being up may come when another veth has the name, so it
// binds nothing.
func bindingOf(e *hub.Event) (b *binding, ok bool) {
	b = &binding{pool: e.Pool, id: e.ID, name: e.Options.Text("name"), veth: e.Options.Text("veth"), source: e.Source}
	if e.Source == hub.SourceNetlink || b.veth == "" || b.id == "" {
		return nil, false
	}
	switch e.Action {
	case actionRename:
		b.name = e.Options.Text("new_name")
		b.promised = true
	case actionUp, actionAdd:
		b.promised = true
	case actionRemove:
		b.ends = true
	default:
		return nil, false
	}
	return b, true
}

// promises are bindings of veths that are not there yet, the oldest first.
type promises struct {
	byVeth map[string]promise
	order  []string // may name a veth again that was promised again, or is there
}

type promise struct {
	*binding
	until time.Time
}

// put adds a promise. The last one for a veth counts.
func (p *promises) put(b *binding, now time.Time) {
	if p.byVeth == nil {
		p.byVeth = map[string]promise{}
	}
	p.drop(b.veth)
	for len(p.order) >= maxPromises || len(p.order) > 0 && now.After(p.byVeth[p.order[0]].until) {
		p.drop(p.order[0])
	}
	p.byVeth[b.veth] = promise{b, now.Add(promiseFor)}
	p.order = append(p.order, b.veth)
}

func (p *promises) drop(veth string) {
	if _, ok := p.byVeth[veth]; !ok {
		return
	}
	delete(p.byVeth, veth)
	p.order = slices.Delete(p.order, slices.Index(p.order, veth), slices.Index(p.order, veth)+1)
}

// take returns what was promised of a veth and drops it, nil for nothing.
func (p *promises) take(veth string, now time.Time) *binding {
	b, ok := p.byVeth[veth]
	if !ok {
		return nil
	}
	p.drop(veth)
	if now.After(b.until) {
		return nil
	}
	return b.binding
}

// bind takes a binding that was reported.
func (t *table) bind(b *binding) {
	ifindex, ok := t.byName[b.veth]
	r := t.rows[ifindex]
	switch {
	case b.ends:
		t.promises.drop(b.veth)
		if r != nil && r.bound != nil && r.bound.pool == b.pool && r.bound.id == b.id {
			t.unbind(r)
		}
	case ok && r != nil:
		t.bindRow(r, b)
	case b.promised:
		t.promises.put(b, t.now())
	}
}

// keepPromise binds a row that has the name of a promised one.
func (t *table) keepPromise(r *row) {
	if len(t.promises.byVeth) == 0 {
		return
	}
	if b := t.promises.take(r.Veth, t.now()); b != nil {
		t.bindRow(r, b)
	}
}

func (t *table) bindRow(r *row, b *binding) {
	r.bound = b
	t.fill(r)
	if !r.innerKnown {
		if r.hold != nil {
			r.hold.rename(r.Name, b.name)
		}
		r.Name = b.name
	}
	t.settleHold(r)
	if r.shown.Ifindex != 0 { // else its first message is being taken
		t.show(r)
	}
}

// unbind goes back to what was found.
func (t *table) unbind(r *row) {
	r.bound = nil
	r.forget()
	if other := t.rows[r.peerOnHost()]; other != nil {
		r.facing(other)
	}
	t.nameAsLearned(r)
	t.learn(r)
	t.show(r)
}
