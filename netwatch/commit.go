package netwatch

import (
	"log/slog"
	"slices"
	"strings"

	"github.com/osctl/eventd/hub"
)

// stateStopped is the state of a container that does not run.
const stateStopped = "stopped"

// endFormerBoot announces the containers of another boot as stopped, because nothing runs that
// nobody started. The place names the boot in front of the first slash.
func (w *Watcher) endFormerBoot() error {
	if former, _, known := strings.Cut(w.hub.Place(), "/"); !known || former == w.place {
		return nil
	}
	rows, _ := w.hub.Containers()
	var events []*hub.Event
	for _, row := range rows {
		if row.State == stateStopped {
			continue
		}
		e, err := hub.NewEvent(hub.TypeState, hub.Options{
			{Name: "pool", Value: hub.String(row.Pool)},
			{Name: "id", Value: hub.String(row.ID)},
			{Name: "state", Value: hub.String(stateStopped)},
			{Name: "resync", Value: hub.Bool(true)},
		}, hub.SourceCgroup)
		if err != nil { // not of what was taken once
			w.log.Error("cannot announce the end of a container", slog.Any("error", err))
			continue
		}
		events = append(events, e)
	}
	for batch := range slices.Chunk(events, hub.MaxBatch) {
		if _, err := w.hub.Commit(hub.Batch{Events: batch}); err != nil {
			return err
		}
	}
	return nil
}

// begin takes over what the hub's view holds from before a restart. It counts only in the
// same boot and the same network namespace: elsewhere the same numbers are of other
// links, so all of it is gone. The place is noted once that is committed.
func (w *Watcher) begin() error {
	rows, _ := w.hub.Interfaces()
	w.table.Seed(rows)
	switch before := w.hub.Place(); before {
	case w.place:
		return nil
	case "":
	default:
		w.log.Info("what was known is of another boot or network namespace", slog.Int("interfaces", len(rows)))
		w.table.ForgetAll()
	}
	if err := w.commit(); err != nil {
		return err
	}
	_, err := w.hub.Commit(hub.Batch{Place: w.place})
	return err
}

// commit hands the changes of the table to the hub, in batches of at most [hub.MaxBatch], each
// event together with its row.
func (w *Watcher) commit() error {
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
			if err != nil { // an owner that is no text; the row is still right
				w.log.Error("cannot announce a change", slog.Any("error", err), slog.Uint64("ifindex", uint64(c.Row.Ifindex)))
				continue
			}
			batch.Events = append(batch.Events, e)
		}
		if err := w.submit(batch); err != nil {
			return err
		}
		changes = changes[n:]
	}
	w.sayReady()
	return nil
}
