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
	old, found, headErr := head{}, false, error(nil)
	r := reading{log: l, replay: replay}
	problem := l.trouble
	l.unread = true
	if l.head != nil {
		old, found, headErr = readHead(l.head)
		err := r.segments()
		l.unread = err != nil
		problem = errors.Join(problem, err)
	}
	stored := hub.Stored{Epoch: old.epoch, Problem: problem}
	if why := r.doubt(old, found, headErr); why != "" {
		stored.Epoch = hub.NewEpoch()
		if found || len(l.segments) > 0 {
			l.log.Warn("cursors of before are no longer valid: a new epoch begins", slog.String("because", why), slog.Uint64("last_event", r.last()))
		}
	}
	l.state = head{epoch: stored.Epoch, boot: bootHash(l.config.Boot), last: r.last()}
	if stored.Problem == nil {
		stored.Problem = l.start(r.torn, headErr)
	}
	if stored.Problem != nil && stored.Epoch == old.epoch {
		stored.Epoch = hub.NewEpoch() // what is announced from now on is nowhere noted
		l.state.epoch = stored.Epoch
	}
	return stored
}

// reading is the replay of all segments.
type reading struct {
	log    *Log
	replay func(hub.Record) error
	next   uint64 // number after the last event; 0 if there was no record yet
	torn   bool   // the last segment has more than what is whole
	gap    bool   // something in between is gone
}

// last returns the number of the last event that was read.
func (r *reading) last() uint64 { return max(r.next, 1) - 1 }

// doubt says why events may be missing that were announced, "" if none are.
func (r *reading) doubt(old head, found bool, headErr error) string {
	switch {
	case !found && r.next == 0:
		return "there is no log yet"
	case !found:
		return "the head is missing"
	case headErr != nil:
		return headErr.Error()
	case r.gap:
		return "a part of the log is gone"
	case r.last() < old.last:
		return fmt.Sprintf("event %d was announced and is not in the log", old.last)
	case old.boot != bootHash(r.log.config.Boot) && !old.clean:
		return "the machine was restarted while the service ran"
	}
	return ""
}

// segments replays all segments. What is damaged in the last one is cut off by start;
// if it is in another one, what is newer counts.
func (r *reading) segments() error {
	l := r.log
	all, err := listSegments(l.config.Dir)
	if err != nil {
		return err
	}
	for i, s := range all {
		l.index = s.index
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

// scan replays one segment.
func (r *reading) scan(s *segment, content []byte, last bool) error {
	l := r.log
	err := s.scan(content, func(record hub.Record) error {
		switch {
		case record.First < r.next:
			return fmt.Errorf("%w: event %d again", errDamaged, record.First)
		case r.next != 0 && record.First > r.next:
			// The segments before end too early: what they have is of no use.
			if err := l.setAside(l.segments...); err != nil {
				return err
			}
			l.segments, r.gap = nil, true
		}
		if err := r.replay(record); err != nil {
			return err
		}
		r.next = record.First + uint64(record.Count)
		return nil
	})
	if errors.Is(err, errFormat) || err != nil && s.size == segmentHeader {
		r.gap = true
		l.log.Warn("a segment of the log cannot be read", slog.String("file", s.path(l.config.Dir, segmentSuffix)), slog.Any("error", err))
		return l.setAside(s)
	}
	if s.size == segmentHeader {
		s.first, s.next = max(r.next, 1), max(r.next, 1)
	}
	s.begin = segmentHeader
	l.segments = append(l.segments, s)
	if err != nil {
		l.log.Warn("the log is damaged: what follows is cut off", slog.String("file", s.path(l.config.Dir, segmentSuffix)), slog.Any("error", err), slog.Int64("bytes_cut", int64(len(content))-s.size))
		r.torn = last
	}
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
func (l *Log) start(torn bool, headErr error) error {
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
	} else if err := l.reopen(torn); err != nil {
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
	if err := l.begin(); err != nil {
		return err
	}
	l.pending.first, l.pending.next = l.state.last+1, l.state.last+1
	return l.finish()
}

// reopen opens the last segment, and cuts off what is not whole.
func (l *Log) reopen(torn bool) error {
	s := l.segments[len(l.segments)-1]
	file, err := os.OpenFile(s.path(l.config.Dir, segmentSuffix), os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	if torn {
		if err := file.Truncate(s.size); err != nil {
			return errors.Join(err, file.Close())
		}
	}
	l.file, l.dirty = file, true
	return nil
}
