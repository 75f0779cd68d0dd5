package links

import "github.com/osctl/eventd/hub"

// The actions that the Table announces. Managers report add and remove, which change the configuration
// of a container.
const (
	ActionUp     = "up"
	ActionDown   = "down"
	ActionRename = "rename"
)

// Change is one step of the Table: always a row of the view, maybe an event.
type Change struct {
	Action   string        // "" if the change makes no event
	Row      hub.Interface // the row after the change
	OldVeth  string        // of a rename on the host
	OldName  string        // of a rename inside
	Removed  bool          // the row leaves the view
	Resync   bool          // found by comparing, not seen live
	Handover bool          // the owner changed, the interface worked all the time

	// Coalesced is how many earlier changes were left out because they were over budget. If it is not
	// 0, Resync is true.
	Coalesced uint32
}

func (c *Change) setCoalesced(n uint32) {
	c.Coalesced = n
	c.Resync = c.Resync || n > 0
}

// Event returns the event of a change that has an action.
func (c *Change) Event() (*hub.Event, error) {
	options := make(hub.Options, 0, 14)
	text := func(name, value string) { options = append(options, hub.Option{Name: name, Value: hub.String(value)}) }
	flag := func(name string, set bool) {
		if set {
			options = append(options, hub.Option{Name: name, Value: hub.Bool(true)})
		}
	}
	text("pool", c.Row.Pool)
	text("id", c.Row.ID)
	text("action", c.Action)
	if c.OldName != "" {
		text("name", c.OldName)
	} else {
		text("name", c.Row.Name)
	}
	if c.Action == ActionRename {
		text("new_name", c.Row.Name)
	}
	text("veth", c.Row.Veth)
	if c.OldVeth != "" {
		text("old_veth", c.OldVeth)
	}
	options = append(options, hub.Option{Name: "ifindex", Value: hub.Uint32(c.Row.Ifindex)})
	if c.Row.BoundBy != "" {
		text("bound_by", c.Row.BoundBy)
	}
	if c.Coalesced > 0 {
		options = append(options, hub.Option{Name: "coalesced", Value: hub.Uint32(c.Coalesced)})
	}
	flag("gone", c.Removed)
	flag("handover", c.Handover)
	flag("kept", c.Row.Kept)
	flag("resync", c.Resync)
	return hub.NewEvent(hub.TypeNetif, options, hub.SourceNetlink)
}
