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

// Load implements [hub.Log].
func (l *Log) Load(replay func(hub.Record) error) hub.Stored {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := reading{log: l, replay: replay}
	problem := l.trouble
	l.unread = true
	if l.head != nil {
		r.old, r.found, r.headErr = readHead(l.head)
		err := r.segments()
		l.unread = err != nil
		problem = errors.Join(problem, err)
	}
	stored := hub.Stored{Epoch: r.old.epoch, Next: r.last() + 1, Problem: problem}
	if why := r.doubt(); why != "" {
		stored.Epoch = hub.NewEpoch()
		if r.found || len(l.segments) > 0 {
			l.log.Warn("cursors of before are no longer valid: a new epoch begins", slog.String("because", why), slog.Uint64("last_event", r.last()))
		}
	}
	l.state = head{epoch: stored.Epoch, boot: bootHash(l.config.Boot), last: r.last()}
	if stored.Problem == nil {
		stored.Problem = l.start(r.headErr)
	}
	if stored.Problem != nil && stored.Epoch == r.old.epoch {
		stored.Epoch = hub.NewEpoch() // what is announced from now on is nowhere noted
	}
	return stored
}

// reading is the replay of all segments.
type reading struct {
	log     *Log
	replay  func(hub.Record) error
	old     head
	found   bool   // the head was there
	headErr error  // it cannot be read
	next    uint64 // number after the last event; 0 if there was no record yet
	gap     bool   // something that was stored is gone
}

// last returns the number of the last event that was read.
func (r *reading) last() uint64 { return max(r.next, 1) - 1 }

// doubt says why something may be missing that was announced, "" if nothing is.
func (r *reading) doubt() string {
	newest := &segment{}
	if n := len(r.log.segments); n > 0 {
		newest = r.log.segments[n-1]
	}
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
	case r.old.boot != bootHash(r.log.config.Boot) && !r.old.clean:
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
		if r.headErr == nil && s.index < r.old.oldest {
			l.doomed = append(l.doomed, s) // no longer counts, and was not removed yet
			continue
		}
		content, err := readSegment(s.path(l.config.Dir, segmentSuffix))
		if err != nil && !errors.Is(err, errFormat) {
			return err
		}
		if err := r.scan(s, content, i == len(all)-1); err != nil {
			return err
		}
	}
	return nil
}

// scan replays one segment. What is damaged in the last one is cut off by start; if it
// is in another one, what is newer counts.
func (r *reading) scan(s *segment, content []byte, newest bool) error {
	l := r.log
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
	where := slog.String("file", s.path(l.config.Dir, segmentSuffix))
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
func readSegment(path string) ([]byte, error) {
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
	content := make([]byte, info.Size())
	n, err := io.ReadFull(f, content)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = nil
	}
	return content[:n], err
}

// start makes the log ready for what is appended after what was read. The head says
// that it is in use before anything is announced.
func (l *Log) start(headErr error) error {
	if headErr != nil {
		if err := l.setAsideHead(); err != nil {
			return err
		}
	}
	l.fitDisk()
	if len(l.segments) == 0 {
		if err := l.first(); err != nil {
			return err
		}
	} else if err := l.reopen(); err != nil {
		return err
	}
	l.prune()
	if err := l.writeHead(); err != nil {
		return err
	}
	return datasync(l.head)
}

// first makes the first segment of all.
func (l *Log) first() error {
	if err := l.begin(l.state.epoch); err != nil {
		return err
	}
	l.pending.first, l.pending.next = l.state.last+1, l.state.last+1
	return l.finish()
}

// reopen opens the last segment, cuts off what is not whole, and notes the epoch in it.
func (l *Log) reopen() error {
	s := l.segments[len(l.segments)-1]
	file, err := os.OpenFile(s.path(l.config.Dir, segmentSuffix), os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	if err = file.Truncate(s.size); err == nil && s.epoch != l.state.epoch {
		s.epoch = l.state.epoch
		_, err = file.WriteAt(s.header(), 0)
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	l.file, l.dirty = file, true
	return nil
}
