package netwatch

import (
	"log/slog"

	"github.com/osctl/eventd/hub"
)

// The actions that the watcher announces. What a manager adds to or removes from
// a container's configuration is not ours to say.
const (
	actionUp     = "up"
	actionDown   = "down"
	actionRename = "rename"
	actionAdd    = "add"    // of a manager
	actionRemove = "remove" // of a manager
)

// change is one step of the table: always a row of the view, maybe an event.
type change struct {
	action  string // "" if it is no event
	row     hub.Interface
	oldVeth string // of a rename on the host
	oldName string // of a rename inside
	removed bool   // the row leaves the view
	resync  bool   // found by comparing, not seen live
}

// event returns the event of a change that has an action.
func (c *change) event() (*hub.Event, error) {
	options := make(hub.Options, 0, 10)
	add := func(name string, value hub.Value) { options = append(options, hub.Option{Name: name, Value: value}) }
	add("pool", hub.String(c.row.Pool))
	add("id", hub.String(c.row.ID))
	add("action", hub.String(c.action))
	if c.oldName != "" {
		add("name", hub.String(c.oldName))
	} else {
		add("name", hub.String(c.row.Name))
	}
	if c.action == actionRename {
		add("new_name", hub.String(c.row.Name))
	}
	add("veth", hub.String(c.row.Veth))
	if c.oldVeth != "" {
		add("old_veth", hub.String(c.oldVeth))
	}
	add("ifindex", hub.Uint32(c.row.Ifindex))
	if c.row.BoundBy != "" {
		add("bound_by", hub.String(c.row.BoundBy))
	}
	if c.resync {
		add("resync", hub.Bool(true))
	}
	return hub.NewEvent(hub.TypeNetif, options, hub.SourceNetlink)
}

// commit hands the changes of the table to the hub, in batches of at most
// [hub.MaxBatch], each event together with its row.
func (w *Watcher) commit() error {
	changes := w.table.take()
	for len(changes) > 0 {
		n := min(len(changes), hub.MaxBatch)
		batch := hub.Batch{Interfaces: make([]hub.InterfaceChange, 0, n)}
		for i := range changes[:n] {
			c := &changes[i]
			batch.Interfaces = append(batch.Interfaces, hub.InterfaceChange{Interface: c.row, Removed: c.removed})
			if c.action == "" {
				continue
			}
			e, err := c.event()
			if err != nil { // an owner that is no text; the row is still right
				w.log.Error("cannot announce a change", slog.Any("error", err), slog.Uint64("ifindex", uint64(c.row.Ifindex)))
				continue
			}
			batch.Events = append(batch.Events, e)
		}
		if _, err := w.hub.Commit(batch); err != nil {
			return err
		}
		changes = changes[n:]
	}
	return nil
}
