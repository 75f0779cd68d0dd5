package hub

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// load has the hub continue from its log. If the disk hangs, the hub starts without it. The error is
// that of ctx. In both cases the load goes on until the disk returns, and nothing else touches the
// log before.
func (h *Hub) load(ctx context.Context, config *Config) error {
	loading, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	r := &replayer{state: newState(config)}
	loaded := make(chan Stored)
	h.tending.acquire()
	go func() {
		defer h.tending.release()
		stored := r.load(loading, h.log)
		select {
		case loaded <- stored:
		case <-loading.Done():
			if !errors.Is(context.Cause(loading), errUnread) { // there is no hub
				_ = h.log.Close()
			} else if stored.Writer != nil {
				_ = stored.Writer.Abandon()
			}
		}
	}()
	ticker := time.NewTicker(loadPatience)
	defer ticker.Stop()
	for seen := int64(0); ; {
		select {
		case stored := <-loaded:
			h.takeOver(r, &stored)
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		records := r.records.Load()
		if records == seen {
			giveUp(errUnread)
			h.problem = errUnread
			h.nudge()
			return ctx.Err()
		}
		seen = records
	}
}

// takeOver has the hub continue from what was loaded.
func (h *Hub) takeOver(r *replayer, stored *Stored) {
	h.state, h.epoch, h.problem = r.state, stored.Epoch, stored.Problem
	h.writer, h.finished = stored.Writer, stored.Writer != nil
	if r.began { // the process before may not have synced it
		h.written.Store(true)
	}
	if r.began || h.writer == nil {
		h.nudge()
	}
	if problem := errors.Join(stored.Problem, r.failed); problem != nil {
		h.abandonLog(problem)
	}
}

// replayer makes the state from stored records.
type replayer struct {
	state
	records atomic.Int64
	stored  storedReader
	batch   Batch
	parts   []*snapshot // of a snapshot of which parts are still to come
	began   bool        // there was a record
	viewed  bool        // the views are those after the last record
	failed  error       // of the snapshot that was to replace a damaged one
}

// load replays a log. If its snapshot is damaged, it adds one of what there is.
func (r *replayer) load(ctx context.Context, log Log) Stored {
	stored := log.Load(ctx, r.record, r.whole)
	r.startAt(stored.Next)
	if stored.Problem == nil && !r.whole() {
		r.failed = stored.Writer.Rotate(r.snapshotRecords())
	}
	return stored
}

// whole reports whether the views are those after the last record. If not, a snapshot is damaged,
// and the records before it are missing.
func (r *replayer) whole() bool { return !r.began || r.viewed && r.parts == nil }

func (r *replayer) record(record Record) error {
	r.records.Add(1)
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
		r.viewed = r.viewed && record.First == r.next && r.parts == nil
		r.parts = nil
		r.replay(record.First, &r.batch)
	case recordSnapshot:
		part, which := stored.snapshot()
		if err := stored.end(record); err != nil {
			return err
		}
		r.takePart(part, which, record.First)
	default:
		return fmt.Errorf("%w: of kind %q", errStored, kind)
	}
	return nil
}

// takePart takes one part of a snapshot. A snapshot counts only if its parts follow each other
// directly, from the first to the last.
func (r *replayer) takePart(part *snapshot, which byte, first uint64) {
	switch {
	case which&firstPart != 0:
		r.parts = nil
	case r.parts == nil:
		r.viewed = false
		return
	}
	if r.parts = append(r.parts, part); which&lastPart != 0 {
		r.views.restore(r.parts)
		r.startAt(first)
		r.parts, r.viewed = nil, true
	}
}
