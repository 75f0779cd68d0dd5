package links

import (
	"slices"
	"strings"
	"time"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/rtnl"
)

const (
	// maxPromises is how many names of veths are remembered that were reported and
	// are not there yet; the oldest is dropped for another.
	maxPromises = 1024
	// promiseFor is how long.
	promiseFor = time.Minute
	// maxBound is the most bytes that a text of a binding may have.
	maxBound = 255
)

// PoolNetns is the pool of namespaces that have a name and no container. A report counts before
// such a name.
const PoolNetns = "netns"

// Binding is a manager's report of the owner of a veth. It counts until the veth is deleted, unless a
// cgroup or the kernel contradicts it.
type Binding struct {
	Owner    Owner
	Name     string // inside
	Veth     string // on the host
	Source   string // of the report
	ends     bool   // the interface is no longer the container's
	promised bool   // counts for a veth that is not there yet, too
}

// BindingOf reads a binding from an event; ok is false if the event has none. A reported down binds
// nothing, because it may come when another veth has the name already.
func BindingOf(e *hub.Event) (b *Binding, ok bool) {
	b = &Binding{
		Owner: Owner{strings.Clone(e.Pool), strings.Clone(e.ID)}, Source: strings.Clone(e.Source),
		Name: strings.Clone(e.Options.Text("name")), Veth: strings.Clone(e.Options.Text("veth")),
	}
	if e.Source == hub.SourceNetlink || b.Veth == "" || b.Owner.ID == "" || b.tooLong() {
		return nil, false
	}
	switch e.Action {
	case ActionRename:
		b.Name = strings.Clone(e.Options.Text("new_name"))
		b.promised = true
	case ActionUp, "add":
		b.promised = true
	case "remove":
		b.ends = true
	default:
		return nil, false
	}
	return b, true
}

// tooLong reports whether a text is longer than the name of any interface or container.
func (b *Binding) tooLong() bool {
	return max(len(b.Owner.Pool), len(b.Owner.ID), len(b.Name), len(b.Veth)) > maxBound
}

// promises are bindings of veths that are not there yet, the oldest first.
type promises struct {
	byVeth map[string]promise
	order  []string // may name a veth again that was promised again, or is there
}

type promise struct {
	*Binding
	until time.Time
}

// put adds a promise. The last one for a veth counts.
func (p *promises) put(b *Binding, now time.Time) {
	if p.byVeth == nil {
		p.byVeth = map[string]promise{}
	}
	p.drop(b.Veth)
	for len(p.order) >= maxPromises || len(p.order) > 0 && now.After(p.byVeth[p.order[0]].until) {
		p.drop(p.order[0])
	}
	p.byVeth[b.Veth] = promise{b, now.Add(promiseFor)}
	p.order = append(p.order, b.Veth)
}

func (p *promises) drop(veth string) {
	if _, ok := p.byVeth[veth]; !ok {
		return
	}
	delete(p.byVeth, veth)
	p.order = slices.Delete(p.order, slices.Index(p.order, veth), slices.Index(p.order, veth)+1)
}

// take returns what was promised of a veth and drops it, nil for nothing.
func (p *promises) take(veth string, now time.Time) *Binding {
	b, ok := p.byVeth[veth]
	if !ok {
		return nil
	}
	p.drop(veth)
	if now.After(b.until) {
		return nil
	}
	return b.Binding
}

// Bind applies a reported binding.
func (t *Table) Bind(b *Binding) {
	r := t.byName[b.Veth]
	switch {
	case b.ends:
		t.promises.drop(b.Veth)
		if r != nil && r.bound != nil && r.bound.Owner == b.Owner {
			r.bound = nil
			t.rename(r, "")
		}
	case r != nil:
		r.bound = b
		t.rename(r, b.Name)
	case b.promised:
		t.promises.put(b, t.Now())
	}
}

// rename gives a row the name that was reported, where the kernel does not say it, and tells
// what became of the report.
func (t *Table) rename(r *row, name string) {
	switch other := t.rows[r.peer.Ifindex]; {
	case r.nameKnown:
	case name == "" && r.peer.NSID == rtnl.NSIDLocal && other != nil:
		r.Name = other.Veth
	case r.hold != nil:
		t.setName(r, name)
		r.nameKnown = false
	default:
		r.Name = name
	}
	if r.hold == nil {
		t.tell(r, false)
	} else if r.answered && r.bound != nil && !r.contained {
		t.release(r)
	}
}

// boundName returns the name inside that was reported, "" for none.
func (r *row) boundName() string {
	if r.bound == nil {
		return ""
	}
	return r.bound.Name
}
