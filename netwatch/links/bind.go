package links

import (
	"slices"
	"strings"
	"time"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/rtnl"
)

const (
	// maxPending is how many bindings may wait for their veth. Beyond that, the oldest is dropped.
	maxPending = 1024
	// pendingFor is how long a binding waits for its veth.
	pendingFor = time.Minute
	// maxBound is the most bytes that a text of a binding may have.
	maxBound = 255
)

// PoolNetns is the pool of namespaces that have a name and no container. A report counts before
// such a name.
const PoolNetns = "netns"

// Binding is a manager's report of the owner of a veth. It counts until the veth is deleted, unless a
// cgroup or the kernel contradicts it.
type Binding struct {
	Owner  Owner
	Name   string // inside
	Veth   string // on the host
	Source string // of the report
	ends   bool   // the container no longer has the interface
}

// BindingOf reads a binding from an event; ok is false if the event has none. A reported down binds
// nothing, because another veth may have the name by then.
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
	case ActionUp, "add":
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

// pendingBindings are bindings whose veth does not exist yet, the oldest first.
type pendingBindings []pendingBinding

type pendingBinding struct {
	*Binding
	until time.Time
}

// put adds a binding. It replaces an earlier one of the same veth.
func (p *pendingBindings) put(b *Binding, now time.Time) {
	*p = slices.DeleteFunc(*p, func(other pendingBinding) bool { return other.Veth == b.Veth || now.After(other.until) })
	if len(*p) == maxPending {
		*p = slices.Delete(*p, 0, 1)
	}
	*p = append(*p, pendingBinding{b, now.Add(pendingFor)})
}

// take returns the binding of a veth and drops it; nil if there is none.
func (p *pendingBindings) take(veth string, now time.Time) *Binding {
	at := slices.IndexFunc(*p, func(b pendingBinding) bool { return b.Veth == veth })
	if at < 0 {
		return nil
	}
	b := (*p)[at]
	*p = slices.Delete(*p, at, at+1)
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
		t.pending.take(b.Veth, t.Now())
		if r != nil && r.bound != nil && r.bound.Owner == b.Owner {
			r.bound = nil
			t.setBoundName(r, "")
		}
	case r != nil:
		r.bound = b
		t.setBoundName(r, b.Name)
	default:
		t.pending.put(b, t.Now())
	}
}

// setBoundName sets the reported name of a row, unless the kernel's is known, and emits the changes that
// the report causes.
func (t *Table) setBoundName(r *row, name string) {
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
		t.emitChanges(r, false)
	} else if r.answered && r.bound != nil && !r.containerFound {
		t.releaseHold(r)
	}
}

// boundName returns the name inside that was reported, "" for none.
func (r *row) boundName() string {
	if r.bound == nil {
		return ""
	}
	return r.bound.Name
}
