package hub

import "fmt"

// load takes over what the log holds.
func (h *Hub) load() {
	if h.log == nil {
		return
	}
	r := replayer{hub: h}
	stored := h.log.Load(r.record, r.whole)
	h.epoch, h.writer, h.finished, h.problem = stored.Epoch, stored.Writer, stored.Writer != nil, stored.Problem
	h.startAt(stored.Next)
	if r.began { // the process before may have synced none of it
		h.written.Store(true)
		h.nudge()
	}
	switch {
	case h.writer == nil:
		h.nudge()
	case !r.whole():
		if err := h.writer.Rotate(h.snapshotRecords()); err != nil {
			h.abandonLog(err)
		}
	}
}

// replayer takes stored records.
type replayer struct {
	hub    *Hub
	stored storedReader
	batch  Batch
	parts  []*snapshot // of a snapshot that is not whole yet
	began  bool        // there was a record
	viewed bool        // the views are those of the last record
}

// whole reports whether the views are those after the last record. If not, a snapshot is
// damaged, and what came before it is missing.
func (r *replayer) whole() bool { return !r.began || r.viewed && r.parts == nil }

func (r *replayer) record(record Record) error {
	if !r.began {
		r.began, r.viewed = true, record.First == 1
	}
	stored := &r.stored
	stored.rest, stored.bad = string(record.Data), false
	switch kind := stored.byte(); kind {
	case recordBatch:
		stored.batch(&r.batch, record.First)
		if err := stored.end(record); err != nil {
			return err
		}
		if len(r.batch.Events) != int(record.Count) {
			return fmt.Errorf("%w: %d events, %d were expected", errStored, len(r.batch.Events), record.Count)
		}
		r.viewed = r.viewed && record.First == r.hub.next
		r.hub.replay(record.First, &r.batch)
	case recordSnapshot:
		part, which := stored.snapshot()
		if err := stored.end(record); err != nil {
			return err
		}
		if which&firstPart != 0 {
			r.parts = nil
		}
		if r.parts = append(r.parts, part); which&lastPart != 0 {
			r.hub.views.restore(r.parts)
			r.hub.startAt(record.First)
			r.parts, r.viewed = nil, true
		}
	default:
		return fmt.Errorf("%w: of kind %q", errStored, kind)
	}
	return nil
}

// startAt has the ring go on with the event that has the given number: those before
// are dropped where others are missing in between.
func (h *Hub) startAt(first uint64) {
	if first == h.next {
		return
	}
	clear(h.ring)
	h.bytes, h.first, h.next = 0, max(first, 1), max(first, 1)
}

// replay is Commit for what was committed before.
func (h *Hub) replay(first uint64, batch *Batch) {
	h.startAt(first)
	h.views.apply(batch)
	for _, e := range batch.Events {
		h.push(e)
	}
}
