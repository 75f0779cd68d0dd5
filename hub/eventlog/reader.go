package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/osctl/eventd/hub"
)

var errNotSynced = errors.New("the machine went down before this segment and the end of the one before were synced")

// maxSegment is the size of the largest segment that is read, in bytes.
const maxSegment = 1 << 30

// reading is the replay of all segments of a log.
type reading struct {
	log      *Log
	ctx      context.Context //nolint:containedctx // of one Load
	replay   func(hub.Record) error
	old      storedHead
	dir      string
	segments []*segment // of the log that is read
	next     uint64     // number after the last event; 0 before the first record
	gap      bool       // a part of the log is gone
	down     bool       // the machine went down, so any part of what was not synced may be gone
}

// last returns the number of the last event that was read.
func (r *reading) last() uint64 { return max(r.next, 1) - 1 }

// doubt says why an event may be missing that was published, "" if none can be.
func (r *reading) doubt(whole bool) string {
	newest := &segment{}
	if n := len(r.segments); n > 0 {
		newest = r.segments[n-1]
	}
	switch {
	case !r.old.found && r.next == 0:
		return "there is no log yet"
	case !r.old.found:
		return "the head is missing"
	case r.old.problem != nil:
		return r.old.problem.Error()
	case r.old.abandoned:
		return "events were published while the log could not be written"
	case r.gap:
		return "a part of the log is gone"
	case r.last() < r.old.last:
		return fmt.Sprintf("event %d was published and is not in the log", r.old.last)
	case newest.index < r.old.newest || newest.index == r.old.newest && newest.size < r.old.size:
		return "the end of the log is gone"
	case r.down:
		return "the machine was restarted while the service ran"
	case !whole:
		return "a snapshot of the state is damaged"
	}
	return ""
}

// read replays all segments.
func (r *reading) read(dir string) error {
	r.dir = dir
	r.down = r.old.found && r.old.problem == nil && r.old.boot != bootHash(r.log.config.Boot) && !r.old.clean
	all, err := listSegments(dir)
	if err != nil {
		return err
	}
	for i, s := range all {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		if r.old.problem == nil && s.index < r.old.oldest {
			r.log.removeSegment(s, dir) // the process before had dropped it
			continue
		}
		content, err := readSegment(s.path(dir, segmentSuffix))
		if err != nil && !errors.Is(err, errFormat) {
			return err
		}
		if err := r.scan(s, content, i == len(all)-1); err != nil {
			return err
		}
	}
	return nil
}

// scan replays one segment up to its damage, if any. Of the last segment, reopen cuts off the
// damaged end. If another one is damaged, the newer segments count.
func (r *reading) scan(s *segment, content []byte, newest bool) error {
	path := slog.String("file", s.path(r.dir, segmentSuffix))
	var failed error // an error that is not the segment's
	err := s.scan(content, func(record hub.Record) error {
		if failed = r.follow(s, &record); failed != nil {
			return failed
		}
		if err := r.replay(record); err != nil {
			return fmt.Errorf("%w: %w", errRefused, err)
		}
		r.next = record.First + uint64(record.Count)
		return nil
	})
	if failed != nil && !errors.Is(failed, errNotSynced) {
		return failed
	}
	if errors.Is(err, errFormat) || err != nil && s.size == segmentHeader {
		r.gap = true
		r.log.log.Warn("a segment of the log cannot be read", path, slog.Any("error", err))
		return r.log.setAside(s.path(r.dir, segmentSuffix))
	}
	if s.size == segmentHeader {
		s.first, s.next = r.last()+1, r.last()+1
	}
	r.segments = append(r.segments, s)
	if err == nil {
		return nil
	}
	r.log.log.Warn("the log is damaged: its end is cut off", path, slog.Any("error", err), slog.Int64("bytes_cut", int64(len(content))-s.size))
	if newest && !errors.Is(err, errTorn) {
		r.log.copyAside(filepath.Base(s.path("", segmentSuffix)), content)
	}
	return nil
}

// follow checks that the first record of a segment follows those before. If a part is missing in
// between, it sets aside the older segments; unless the machine went down before this segment was
// synced, and they were.
func (r *reading) follow(s *segment, record *hub.Record) error {
	if r.next == 0 || record.First == r.next {
		return nil
	}
	r.gap = true
	if r.down && s.index > r.old.synced {
		return errNotSynced
	}
	var paths []string
	for _, s := range r.segments {
		paths = append(paths, s.path(r.dir, segmentSuffix))
	}
	r.segments = nil
	return r.log.setAside(paths...)
}

// readSegment reads a whole segment. The error is errFormat if the file cannot be one.
func readSegment(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSegment {
		return nil, errFormat
	}
	return os.ReadFile(path) //nolint:gosec // in the configured directory
}
