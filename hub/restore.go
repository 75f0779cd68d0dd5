package hub

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// load restores the hub from its log. If the disk hangs, the hub starts without the log. The error is
// that of ctx. In both cases the load goes on until the disk responds, and nothing else touches the
// log before.
func (h *Hub) load(ctx context.Context, config *Config) error {
	loading, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	r := &replayer{state: newState(config)}
	loaded := make(chan Stored)
	h.logLock.acquire()
	go func() {
		defer h.logLock.release()
		stored := r.load(loading, h.log)
		select {
		case loaded <- stored:
		case <-loading.Done():
			if !errors.Is(context.Cause(loading), errUnread) { // New failed, there is no hub
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
			h.adopt(r, &stored)
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		records := r.records.Load()
		if records == seen {
			giveUp(errUnread)
			h.problem = errUnread
			h.wakeRun()
			return ctx.Err()
		}
		seen = records
	}
}

// adopt makes the loaded state that of the hub.
func (h *Hub) adopt(r *replayer, stored *Stored) {
	h.state, h.epoch, h.problem = r.state, stored.Epoch, stored.Problem
	h.writer, h.finished = stored.Writer, stored.Writer != nil
	if r.hasRecords { // the previous process may not have synced them
		h.unsynced.Store(true)
	}
	if r.hasRecords || h.writer == nil {
		h.wakeRun()
	}
	if problem := errors.Join(stored.Problem, r.failed); problem != nil {
		h.abandonLog(problem)
	}
}

// replayer rebuilds the state from stored records.
type replayer struct {
	state
	records      atomic.Int64
	stored       storedReader
	batch        Batch
	parts        []*snapshot // the parts so far of an incomplete snapshot
	hasRecords   bool
	viewsCurrent bool  // whether the views are those after the last record
	failed       error // of the snapshot that replaces a damaged one
}

// load replays a log. If its snapshot is damaged, it adds a snapshot of the restored state.
func (r *replayer) load(ctx context.Context, log Log) Stored {
	stored := log.Load(ctx, r.record, r.whole)
	r.startAt(stored.Next)
	if stored.Problem == nil && !r.whole() {
		r.failed = stored.Writer.Rotate(r.snapshotRecords())
	}
	return stored
}

// whole reports whether the records make up the whole state. If not, a snapshot is damaged, and the
// records before it are missing.
func (r *replayer) whole() bool { return !r.hasRecords || r.viewsCurrent && r.parts == nil }

func (r *replayer) record(record Record) error {
	r.records.Add(1)
	if !r.hasRecords {
		r.hasRecords, r.viewsCurrent = true, record.First == 1
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
			return fmt.Errorf("%w: %d events, expected %d", errStored, len(r.batch.Events), record.Count)
		}
		r.viewsCurrent = r.viewsCurrent && record.First == r.next && r.parts == nil
		r.parts = nil
		r.replay(record.First, &r.batch)
	case recordSnapshot:
		part, flags := stored.snapshot()
		if err := stored.end(record); err != nil {
			return err
		}
		r.addPart(part, flags, record.First)
	default:
		return fmt.Errorf("%w: unknown kind %q", errStored, kind)
	}
	return nil
}

// addPart adds one part of a snapshot. A snapshot counts only if its parts follow each other
// directly, from the first to the last.
func (r *replayer) addPart(part *snapshot, flags byte, first uint64) {
	switch {
	case flags&firstPart != 0:
		r.parts = nil
	case r.parts == nil:
		r.viewsCurrent = false
		return
	}
	if r.parts = append(r.parts, part); flags&lastPart != 0 {
		r.views.restore(r.parts)
		r.startAt(first)
		r.parts, r.viewsCurrent = nil, true
	}
}
