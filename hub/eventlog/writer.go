package eventlog

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/osctl/eventd/hub"
)

const (
	// A segment is full when it has 1/segmentShare of the limit in bytes, or 1/eventShare of the
	// limit in events, and is at least twice as large as its snapshot. An unfinished log drops no
	// segments. Without its snapshot it takes at most unfinishedLimits times the limit.
	segmentShare     = 8
	eventShare       = 4
	minSegmentEvents = 256
	unfinishedLimits = 2
)

var (
	errAbandoned = errors.New("the log was abandoned")
	errVanished  = errors.New("the files of the log were removed or replaced")
	errTruncated = errors.New("a file of the log was truncated")
	errUnbounded = errors.New("the new log exceeds its limit before it is finished")
	errRecord    = errors.New("a record is empty or too large")
)

// Writer is a [hub.Writer]: one log, in a directory of its own.
type Writer struct {
	log       *Log
	number    uint64
	head      *os.File
	abandoned atomic.Bool
	isFull    atomic.Bool // for Full, because a Sync that hangs may hold the lock

	mu       sync.Mutex
	path     string // of its directory
	finished bool   // it is the current log, and the old one is removed
	closed   bool
	state    head
	segments []*segment // the oldest first
	dirty    bool       // the last segment needs a sync
	dirDirty bool       // the directory needs a sync
	limit    int64      // in bytes
	buffer   []byte
	headers  [headSize + 1]byte
}

// create creates an unfinished log.
func (l *Log) create(number uint64, epoch string) (*Writer, error) {
	l.removeUnfinished()
	path := filepath.Join(l.config.Dir, fmt.Sprint(logPrefix, number)) + unfinishedSuffix
	err := os.Mkdir(path, 0o700)
	if err != nil {
		return nil, err
	}
	w := &Writer{log: l, number: number, path: path, state: head{epoch: epoch, boot: bootHash(l.config.Boot)}}
	if w.head, err = openFile(filepath.Join(path, headName), os.O_RDWR|os.O_CREATE); err == nil {
		err = w.writeWholeHead()
	}
	if err == nil {
		err = w.nextSegment(nil)
	}
	if err != nil {
		return nil, errors.Join(err, w.Close(false))
	}
	return w, nil
}

// openFile opens a file of a log.
func openFile(path string, flags int) (*os.File, error) {
	return os.OpenFile(path, flags|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600) //nolint:gosec // in the configured directory
}

func (w *Writer) last() *segment { return w.segments[len(w.segments)-1] }

// Append implements [hub.Writer].
func (w *Writer) Append(r hub.Record) error {
	w.mu.Lock()
	defer w.unlock()
	switch {
	case w.closed:
		return errAbandoned
	case len(r.Data) == 0 || len(r.Data) > maxRecord:
		return fmt.Errorf("%w: %d bytes", errRecord, len(r.Data))
	case !w.finished && w.total()-w.last().snapshotEnd > unfinishedLimits*w.limit:
		return errUnbounded
	case !w.finished && w.segmentFull():
		if err := w.nextSegment(nil); err != nil {
			return err
		}
	}
	w.buffer = appendRecord(w.buffer[:0], r)
	s := w.last()
	if info, err := s.file.Stat(); err != nil || info.Size() < s.size {
		return cmp.Or(err, errTruncated) // a write beyond the end would leave a hole
	}
	if _, err := w.log.hooks.writeAt(s.file, w.buffer, s.size); err != nil {
		return err
	}
	s.addRecord(&r, int64(len(w.buffer)))
	if cap(w.buffer) > maxKeptBuffer {
		w.buffer = nil
	}
	w.dirty = true
	return w.writeHead()
}

// updateHead encodes the head for the current segments.
func (w *Writer) updateHead() {
	if len(w.segments) > 0 {
		s := w.last()
		w.state.oldest, w.state.newest, w.state.size = w.segments[0].index, s.index, s.size
		w.state.last = max(s.next, 1) - 1
		w.isFull.Store(w.finished && w.segmentFull())
	}
	w.state.encode(w.headers[:headSize])
}

// writeHead writes the head in place, without the mark.
func (w *Writer) writeHead() error {
	w.updateHead()
	_, err := w.log.hooks.writeAt(w.head, w.headers[:headSize], 0)
	return err
}

// writeWholeHead writes the head, and clears the mark.
func (w *Writer) writeWholeHead() error {
	w.updateHead()
	w.headers[markOffset] = 0
	_, err := w.log.hooks.writeAt(w.head, w.headers[:], 0)
	return err
}

// Abandon implements [hub.Writer].
func (w *Writer) Abandon() error {
	w.abandoned.Store(true)
	_, err := w.log.hooks.writeAt(w.head, []byte{1}, markOffset)
	w.closeIfAbandoned()
	return err
}

// unlock releases the lock.
func (w *Writer) unlock() {
	w.mu.Unlock()
	w.closeIfAbandoned()
}

// closeIfAbandoned closes the files of an abandoned log. If a method that hangs holds the lock, that
// method closes them when it returns.
func (w *Writer) closeIfAbandoned() {
	if w.abandoned.Load() && w.mu.TryLock() {
		defer w.mu.Unlock()
		w.closeFiles()
	}
}

// closeFiles closes all files.
func (w *Writer) closeFiles() {
	for _, s := range w.segments {
		s.close()
	}
	if w.head != nil {
		_ = w.head.Close()
	}
	w.closed = true
}

// Full implements [hub.Writer].
func (w *Writer) Full() bool { return w.isFull.Load() }

func (w *Writer) segmentFull() bool {
	s := w.last()
	grown := s.size - s.snapshotEnd
	return grown >= s.snapshotEnd && (grown >= w.limit/segmentShare ||
		s.next-s.first >= uint64(max(minSegmentEvents, w.log.config.MaxEvents/eventShare)))
}

// Rotate implements [hub.Writer].
func (w *Writer) Rotate(snapshot []hub.Record) error {
	w.mu.Lock()
	defer w.unlock()
	if w.closed {
		return errAbandoned
	}
	if err := w.nextSegment(snapshot); err != nil {
		return err
	}
	if w.finished { // otherwise the old log still takes room
		w.prune()
	}
	return w.writeHead()
}

// nextSegment begins another segment.
func (w *Writer) nextSegment(snapshot []hub.Record) error {
	s := &segment{index: 1, epoch: w.state.epoch, size: segmentHeader, first: w.state.last + 1, next: w.state.last + 1}
	if len(w.segments) > 0 {
		s.index, s.first, s.next = w.last().index+1, w.last().next, w.last().next
	}
	content := make([]byte, segmentHeader)
	for i := range snapshot {
		before := len(content)
		content = appendRecord(content, snapshot[i])
		s.addRecord(&snapshot[i], int64(len(content)-before))
	}
	s.snapshotEnd = s.size
	copy(content, s.header())
	pending := s.path(w.path, pendingSuffix)
	file, err := openFile(pending, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	if _, err = w.log.hooks.writeAt(file, content, 0); err == nil {
		err = os.Rename(pending, s.path(w.path, segmentSuffix))
	}
	if err != nil {
		return errors.Join(err, file.Close(), os.Remove(pending))
	}
	s.file, w.segments = file, append(w.segments, s)
	w.dirty, w.dirDirty = true, true
	w.updateLimit()
	return nil
}

// updateLimit sets the limit to that of the config, or to half of the room that the disk has for the log.
func (w *Writer) updateLimit() {
	w.limit = max(MinMaxBytes, min(w.log.config.MaxBytes, (w.log.free()+w.total())/2))
}

// total returns the size of all segments, in bytes.
func (w *Writer) total() int64 {
	total := int64(0)
	for _, s := range w.segments {
		total += s.size
	}
	return total
}

// prune deletes the oldest segments beyond the limits, but not the newest one with events.
func (w *Writer) prune() {
	total := w.total()
	for len(w.segments) > 1 {
		rest := w.last().next - w.segments[1].first
		if rest == 0 || total <= w.limit && rest < uint64(w.log.config.MaxEvents) { //nolint:gosec // positive
			return
		}
		total -= w.segments[0].size
		w.segments[0].close()                      // otherwise the file would keep its room
		w.log.removeSegment(w.segments[0], w.path) // if that fails, the next Load removes it
		w.segments = slices.Delete(w.segments, 0, 1)
	}
}

func (l *Log) removeSegment(s *segment, dir string) {
	if err := os.Remove(s.path(dir, segmentSuffix)); err != nil {
		l.log.Warn("an old segment of the log cannot be removed", slog.Any("error", err))
	}
}
