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

const maxSegment = 1 << 30 // bytes

// reader replays all segments of a log.
type reader struct {
	log           *Log
	ctx           context.Context //nolint:containedctx // of one Load
	replay        func(hub.Record) error
	old           storedHead
	dir           string
	segments      []*segment
	next          uint64 // number after the last event; 0 before the first record
	gap           bool   // a part of the log is missing
	uncleanReboot bool   // the machine went down before the log was closed, so unsynced data may be missing
}

// last returns the number of the last replayed event.
func (r *reader) last() uint64 { return max(r.next, 1) - 1 }

// whyNewEpoch says why a published event may be missing, "" if none can be.
func (r *reader) whyNewEpoch(whole bool) string {
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
		return "a part of the log is missing"
	case r.last() < r.old.last:
		return fmt.Sprintf("event %d was published and is not in the log", r.old.last)
	case newest.index < r.old.newest || newest.index == r.old.newest && newest.size < r.old.size:
		return "the end of the log is missing"
	case r.uncleanReboot:
		return "the machine was restarted while the service ran"
	case !whole:
		return "a snapshot of the state is damaged"
	}
	return ""
}

// read replays all segments.
func (r *reader) read(dir string) error {
	r.dir = dir
	r.uncleanReboot = r.old.found && r.old.problem == nil && r.old.boot != bootHash(r.log.config.Boot) && !r.old.clean
	all, err := listSegments(dir)
	if err != nil {
		return err
	}
	for i, s := range all {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		if r.old.problem == nil && s.index < r.old.oldest {
			r.log.removeSegment(s, dir) // the previous process dropped it
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

// scan replays one segment up to its damage, if any. If it is the last segment, reopen cuts off the
// damaged end. Otherwise the newer segments replace it.
func (r *reader) scan(s *segment, content []byte, newest bool) error {
	path := slog.String("file", s.path(r.dir, segmentSuffix))
	var failed error // not caused by the segment
	err := s.scan(content, func(record hub.Record) error {
		if failed = r.checkFollows(s, &record); failed != nil {
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

// checkFollows checks that a record follows the last one. If a part is missing in between, it sets aside
// the older segments. If the machine went down when they were synced and this segment was not, it
// returns errNotSynced instead.
func (r *reader) checkFollows(s *segment, record *hub.Record) error {
	if r.next == 0 || record.First == r.next {
		return nil
	}
	r.gap = true
	if r.uncleanReboot && s.index > r.old.synced {
		return errNotSynced
	}
	var paths []string
	for _, s := range r.segments {
		paths = append(paths, s.path(r.dir, segmentSuffix))
	}
	r.segments = nil
	return r.log.setAside(paths...)
}

// readSegment reads a whole file. The error is errFormat if it cannot be a segment.
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
