package netwatch

import (
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/containers"
	"github.com/osctl/eventd/netwatch/links"
)

// endFormerBoot announces the containers of another boot as stopped, because none can run before it is
// started in this boot. The place has the boot in front of the first slash. The new boot is committed
// after the events, so that the next start does not announce containers that run by then as stopped.
func (w *Watcher) endFormerBoot() error {
	if former, _, known := strings.Cut(w.hub.Place(), "/"); !known || former == w.place {
		return nil
	}
	rows, _ := w.hub.Containers()
	events := make([]stateEvent, 0, len(rows))
	for i := range rows {
		name := containers.Container{Pool: rows[i].Pool, ID: rows[i].ID}
		events = append(events, stateEvent{StateChange: containers.StateChange{Container: name, To: containers.Stopped, Resync: true}})
	}
	if err := w.commitStates(events); err != nil {
		return err
	}
	return w.commitNow(hub.Batch{Place: w.place + "/"})
}

// beginStates announces the states of cgroups that the hub's view does not have.
func (w *Watcher) beginStates() error {
	if w.owners == nil {
		return nil
	}
	rows, _ := w.hub.Containers()
	listed := map[containers.Container]containers.State{}
	for i := range rows {
		if state := containers.State(rows[i].State); state == containers.Running || state == containers.Frozen {
			listed[containers.Container{Pool: rows[i].Pool, ID: rows[i].ID}] = state
		}
	}
	var events []stateEvent
	for _, c := range w.owners.Begin(listed) {
		events = append(events, stateEvent{StateChange: c})
	}
	return w.commitStates(events)
}

// announceStates submits the states that the Owners reported, first those that the hub refused before. While
// the hub's queue is full they stay in the inbox, which has a bounded number for each container.
func (w *Watcher) announceStates() error {
	if w.lagging() {
		return nil
	}
	w.unsent = append(w.unsent, w.inbox.takeStates(w.now(), w.spendToken)...)
	for len(w.unsent) > 0 {
		n := min(len(w.unsent), hub.MaxBatch)
		if err := w.submit(w.stateBatch(w.unsent[:n])); err != nil || w.lagging() {
			return err
		}
		w.unsent = w.unsent[n:]
	}
	w.unsent = nil
	return nil
}

// spendToken takes a token of a container's budget, which its interfaces share.
func (w *Watcher) spendToken(c containers.Container) (at time.Time, ok bool) {
	return w.budgets.Take(links.Owner(c), w.now())
}

// commitStates returns once states are committed.
func (w *Watcher) commitStates(states []stateEvent) error {
	for some := range slices.Chunk(states, hub.MaxBatch) {
		if err := w.commitNow(w.stateBatch(some)); err != nil {
			return err
		}
	}
	return nil
}

// stateBatch returns a batch of states. The hub leaves out states that its view has already, whoever
// reported them.
func (w *Watcher) stateBatch(states []stateEvent) hub.Batch {
	batch := hub.Batch{NewStates: true}
	for i := range states {
		e, err := states[i].event()
		if err != nil { // the name is no valid text
			w.log.Error("cannot announce a state", slog.Any("error", err))
			continue
		}
		batch.Events = append(batch.Events, e)
	}
	return batch
}

// commitNow returns once a batch is committed.
func (w *Watcher) commitNow(batch hub.Batch) error {
	_, err := w.hub.Commit(batch)
	return err
}

// seedTable fills the table with the rows of the hub's view. If these are of another boot or network
// namespace, where the same numbers mean other links, all of them are gone. The new place is committed
// after that.
func (w *Watcher) seedTable() error {
	rows, _ := w.hub.Interfaces()
	w.table.Seed(rows)
	switch before := w.hub.Place(); before {
	case w.place:
		return nil
	case "":
	default:
		w.log.Info("dropping interfaces of another boot or network namespace", slog.Int("interfaces", len(rows)))
		w.table.ForgetAll()
	}
	if err := w.commitChanges(w.commitNow); err != nil {
		return err
	}
	return w.commitNow(hub.Batch{Place: w.place})
}

// commitChanges passes the changes of the table to commit, in batches of at most [hub.MaxBatch], each event
// together with its row.
func (w *Watcher) commitChanges(commit func(hub.Batch) error) error {
	changes := w.table.Take()
	for len(changes) > 0 {
		n := min(len(changes), hub.MaxBatch)
		batch := hub.Batch{Interfaces: make([]hub.InterfaceChange, 0, n)}
		for i := range changes[:n] {
			c := &changes[i]
			batch.Interfaces = append(batch.Interfaces, hub.InterfaceChange{Interface: c.Row, Removed: c.Removed})
			if c.Action == "" {
				continue
			}
			e, err := c.Event()
			if err != nil { // the owner is no valid text; the row is still right
				w.log.Error("cannot announce a change", slog.Any("error", err), slog.Uint64("ifindex", uint64(c.Row.Ifindex)))
				continue
			}
			batch.Events = append(batch.Events, e)
		}
		if err := commit(batch); err != nil {
			return err
		}
		changes = changes[n:]
	}
	return nil
}
