package eventlog

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"syscall"

	"github.com/osctl/eventd/hub"
)

// maxSegment is how large a segment may be to be read, in bytes.
const maxSegment = 1 << 30

// reading is the replay of all segments.
type reading struct {
	log     *Log
	replay  func(hub.Record) error
	old     head
	found   bool   // the head was there
	headErr error  // it cannot be read
	next    uint64 // number after the last event; 0 if there was no record yet
	gap     bool   // something that was stored is gone
	down    bool   // the machine went down without a clean end: what was not synced may be gone in parts
}

// last returns the number of the last event that was read.
func (r *reading) last() uint64 { return max(r.next, 1) - 1 }

// newest returns the newest segment that was read, an empty one if none was.
func (r *reading) newest() *segment {
	if n := len(r.log.segments); n > 0 {
		return r.log.segments[n-1]
	}
	return &segment{}
}

// doubt says why something may be missing that was announced, "" if nothing is.
func (r *reading) doubt() string {
	newest := r.newest()
	switch {
	case !r.found && r.next == 0:
		return "there is no log yet"
	case !r.found:
		return "the head is missing"
	case r.headErr != nil:
		return r.headErr.Error()
	case r.gap:
		return "a part of the log is gone"
	case r.last() < r.old.last:
		return fmt.Sprintf("event %d was announced and is not in the log", r.old.last)
	case newest.index < r.old.newest || newest.index == r.old.newest && newest.size < r.old.size:
		return "the end of the log is gone"
	case newest.epoch != r.old.epoch:
		return "the head is of another epoch than the log"
	case r.down:
		return "the machine was restarted while the service ran"
	}
	return ""
}

// segments replays all segments.
func (r *reading) segments() error {
	l := r.log
	all, err := listSegments(l.config.Dir)
	if err != nil {
		return err
	}
	for i, s := range all {
		l.index = s.index
		if r.dropped(s) {
			l.doomed = append(l.doomed, s)
			continue
		}
		content, err := readSegment(s.path(l.config.Dir, segmentSuffix))
		if err != nil && !errors.Is(err, errFormat) {
			return err
		}
		if i+1 < len(all) {
			content = l.upTo(s, content, all[i+1])
		}
		if err := r.scan(s, content, i == len(all)-1); err != nil {
			return err
		}
	}
	return nil
}

// dropped reports whether a segment no longer counts, and was not removed yet. After the
// machine went down that is so only if what came in its place was on the disk.
func (r *reading) dropped(s *segment) bool {
	return r.headErr == nil && s.index < r.old.oldest && (!r.down || r.old.oldest <= r.old.synced)
}

// upTo returns the content of a segment up to where it ended when the next one began to
// follow it. Beyond that is what could be neither stored nor cut off: the next one has it.
func (l *Log) upTo(s *segment, content []byte, next *segment) []byte {
	begin, err := readBegin(next.path(l.config.Dir, segmentSuffix), segmentHeader)
	follower := &segment{index: next.index}
	if err == nil {
		err = follower.readHeader(begin) // what is wrong with it is told when it is read
	}
	if err != nil || follower.after != s.index {
		return content
	}
	return content[:min(follower.afterSize, int64(len(content)))]
}

// useless reports whether a segment that was not synced before the machine went down is of
// less use than those before: it does not follow them, or was to take their place and is
// not whole.
func (r *reading) useless(s *segment, content []byte) bool {
	if !r.down || s.index <= r.old.synced || r.next == 0 {
		return false
	}
	probe := segment{index: s.index}
	if err := probe.scan(content, func(hub.Record) error { return nil }); errors.Is(err, errFormat) {
		return true
	}
	return probe.size < probe.begin || probe.size > segmentHeader && probe.first > r.next
}

// scan replays one segment. What is damaged in the last one is cut off by start; if it
// is in another one, what is newer counts.
func (r *reading) scan(s *segment, content []byte, newest bool) error {
	l := r.log
	where := slog.String("file", s.path(l.config.Dir, segmentSuffix))
	if r.useless(s, content) {
		r.gap = true
		l.log.Warn("a segment of the log was not on the disk yet when the machine went down", where)
		return l.setAside(s)
	}
	var failed error // of what is no fault of the segment
	err := s.scan(content, func(record hub.Record) error {
		if failed = r.follow(&record); failed != nil {
			return failed
		}
		if err := r.replay(record); err != nil {
			return fmt.Errorf("%w: %w", errRefused, err)
		}
		r.next = record.First + uint64(record.Count)
		return nil
	})
	if failed != nil {
		return failed
	}
	if errors.Is(err, errFormat) || err != nil && s.size == segmentHeader {
		r.gap = true
		l.log.Warn("a segment of the log cannot be read", where, slog.Any("error", err))
		return l.setAside(s)
	}
	if s.size == segmentHeader {
		s.first, s.next = r.last()+1, r.last()+1
	}
	l.segments = append(l.segments, s)
	if err == nil {
		return nil
	}
	l.log.Warn("the log is damaged: what follows is cut off", where, slog.Any("error", err), slog.Int64("bytes_cut", int64(len(content))-s.size))
	if newest && !errors.Is(err, errTorn) {
		l.copyAside(s, content)
	}
	return nil
}

// follow looks at how a record follows those before. At the begin of a segment it may not:
// where a part is missing in between, what is before is of no use, and where it begins
// anew, it takes the place of what is before.
func (r *reading) follow(record *hub.Record) error {
	l := r.log
	switch {
	case r.next == 0 || record.First == r.next:
		return nil
	case record.First < r.next:
		l.doomed = append(l.doomed, l.segments...)
	default:
		r.gap = true
		if err := l.setAside(l.segments...); err != nil {
			return err
		}
	}
	l.segments = nil
	return nil
}

// readSegment reads a whole segment. The error is errFormat if it can be none.
func readSegment(path string) ([]byte, error) { return readBegin(path, maxSegment) }

// readBegin reads so many bytes of a segment, or all if it has less.
func readBegin(path string, size int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0) //nolint:gosec // in the configured directory
	if errors.Is(err, syscall.ELOOP) {
		return nil, errFormat
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSegment {
		return nil, errFormat
	}
	content := make([]byte, min(info.Size(), size))
	n, err := io.ReadFull(f, content)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = nil
	}
	return content[:n], err
}
