package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/osctl/eventd/hub"
)

// Defaults and limits of a [Config].
const (
	DefaultMaxBytes = 32 << 20
	MinMaxBytes     = 64 << 10
	MaxMaxBytes     = 4 << 30
	maxKeptBuffer   = 256 << 10 // bytes
	// A segment is full with a segmentShare-th of the bytes, or with an eventShare-th
	// of the events that are kept.
	segmentShare     = 8
	eventShare       = 4
	minSegmentEvents = 256
	// patience is how long Open waits for another process.
	patience = 3 * time.Second
)

// Config configures a [Log].
type Config struct {
	Dir string // made if it is not there, for its owner only
	// MaxBytes is how large all segments may be together; DefaultMaxBytes if 0. It is
	// half of what the disk has left for them where that is less. One record and the
	// snapshot before it may come on top.
	MaxBytes int64
	// MaxEvents is how many events are kept at least while they fit; a quarter more
	// may be there. hub.DefaultHistory if 0.
	MaxEvents int
	Boot      string       // names this boot of the machine, as /proc/sys/kernel/random/boot_id
	Logger    *slog.Logger // where damage is told
}

// Log is a [hub.Log] on disk.
type Log struct {
	config Config
	log    *slog.Logger

	mu          sync.Mutex
	trouble     error    // of opening the head, which may be open for reading all the same
	unread      bool     // there may be segments that could not be read
	head        *os.File // nil: could not be opened
	state       head
	segments    []*segment // that count, the oldest first
	file        *os.File   // of the last one; nil: nothing can be appended
	pending     *segment   // that was begun, nil for none
	pendingFile *os.File
	index       uint64     // of the segment that was begun last
	former      []*segment // that are not synced, with their files
	doomed      []*segment // to be removed
	dirty       bool       // the current segment has what was not synced
	dirDirty    bool       // the directory has
	limit       int64      // in bytes
	buffer      []byte
	headBuffer  [headSize]byte
}

var (
	errNoSegment = errors.New("no segment could be opened")
	errVanished  = errors.New("the files of the log were removed or replaced")
	errRecord    = errors.New("record of a size that cannot be")
)

// Open opens the log in a directory. It waits for a few seconds for another process
// that has it, as that may be about to end. The error is [ErrInUse], or one of the
// config, or that of ctx: any other trouble is left for Load to tell, as a hub can do
// without.
func Open(ctx context.Context, config Config) (*Log, error) {
	if config.MaxBytes == 0 {
		config.MaxBytes = DefaultMaxBytes
	}
	if config.MaxEvents == 0 {
		config.MaxEvents = hub.DefaultHistory
	}
	if config.MaxBytes < MinMaxBytes || config.MaxBytes > MaxMaxBytes || config.MaxEvents < 1 || config.Dir == "" {
		return nil, fmt.Errorf("log of %d bytes, %d events in %q: expected a directory and %d to %d bytes",
			config.MaxBytes, config.MaxEvents, config.Dir, MinMaxBytes, int64(MaxMaxBytes))
	}
	l := &Log{config: config, log: config.Logger, limit: config.MaxBytes}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	again := time.NewTicker(patience / 50)
	defer again.Stop()
	for {
		if !errors.Is(l.open(), ErrInUse) {
			return l, nil
		}
		select {
		case <-ctx.Done():
			return nil, l.trouble
		case <-again.C:
		}
	}
}

// open opens the directory and the head, unless they are open.
func (l *Log) open() error {
	if l.head != nil && l.trouble == nil && sameFile(l.head, filepath.Join(l.config.Dir, headName)) {
		return nil
	}
	if l.head != nil {
		_ = l.head.Close()
		l.head = nil
	}
	if l.trouble = os.MkdirAll(l.config.Dir, 0o700); l.trouble == nil {
		l.head, l.trouble = openHead(l.config.Dir)
	}
	return l.trouble
}

// sameFile reports whether a file that is open is the one at path.
func sameFile(f *os.File, path string) bool {
	open, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(open, there)
}

// Append implements [hub.Log].
func (l *Log) Append(r hub.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, file := l.pending, l.pendingFile
	if s == nil && len(l.segments) > 0 {
		s, file = l.segments[len(l.segments)-1], l.file
	}
	switch {
	case s == nil || file == nil:
		return errNoSegment
	case len(r.Data) == 0 || len(r.Data) > maxRecord:
		return fmt.Errorf("%w: %d bytes", errRecord, len(r.Data))
	}
	l.buffer = appendRecord(l.buffer[:0], r)
	_, err := file.WriteAt(l.buffer, s.size)
	if err != nil {
		_ = file.Truncate(s.size) // else Load does
		return err
	}
	if s.size == segmentHeader {
		s.first = r.First
	}
	s.size += int64(len(l.buffer))
	s.next = r.First + uint64(r.Count)
	if cap(l.buffer) > maxKeptBuffer {
		l.buffer = nil
	}
	if s == l.pending {
		return nil
	}
	l.dirty = true
	if r.Count == 0 {
		return nil
	}
	l.state.last = s.next - 1
	return l.writeHead()
}

// writeHead writes the head in place.
func (l *Log) writeHead() error {
	if l.head == nil {
		return errNoSegment
	}
	l.state.encode(l.headBuffer[:])
	_, err := l.head.WriteAt(l.headBuffer[:], 0)
	return err
}

// Announce implements [hub.Log].
func (l *Log) Announce(last uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.last = last
	_ = l.writeHead() // the next one tries again
}

// Full implements [hub.Log].
func (l *Log) Full() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.segments) == 0 {
		return false
	}
	s := l.segments[len(l.segments)-1]
	return s.size-s.begin >= l.limit/segmentShare || s.next-s.first >= uint64(max(minSegmentEvents, l.config.MaxEvents/eventShare))
}

// Begin implements [hub.Log].
func (l *Log) Begin(keep bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.abandon()
	if err := l.open(); err != nil {
		return err
	}
	if l.unread {
		if err := l.setAsideUnread(); err != nil {
			return err
		}
	}
	if !keep {
		l.doomed = append(l.doomed, l.segments...)
		l.segments = nil
		if l.file != nil {
			_ = l.file.Close() // nothing in it counts any more
			l.file = nil
		}
		l.removeNow()
	}
	l.fitDisk()
	return l.begin()
}

// begin makes the file of the next segment.
func (l *Log) begin() error {
	l.index++
	s := &segment{index: l.index, size: segmentHeader, begin: segmentHeader}
	path := s.path(l.config.Dir, pendingSuffix)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600) //nolint:gosec // in the configured directory
	if err != nil {
		return err
	}
	if _, err := file.WriteAt(s.appendHeader(nil), 0); err != nil {
		return errors.Join(err, file.Close(), os.Remove(path))
	}
	l.pending, l.pendingFile = s, file
	return nil
}

// abandon drops a segment that was begun.
func (l *Log) abandon() {
	if l.pending == nil {
		return
	}
	_ = l.pendingFile.Close()
	_ = os.Remove(l.pending.path(l.config.Dir, pendingSuffix)) // else Load does
	l.pending, l.pendingFile = nil, nil
}

// Finish implements [hub.Log].
func (l *Log) Finish() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.finish()
}

func (l *Log) finish() error {
	s := l.pending
	if s == nil {
		return errNoSegment
	}
	err := os.Rename(s.path(l.config.Dir, pendingSuffix), s.path(l.config.Dir, segmentSuffix))
	if err != nil {
		l.abandon()
		return err
	}
	if l.file != nil {
		before := l.segments[len(l.segments)-1]
		before.file = l.file
		l.former = append(l.former, before)
	}
	l.file, l.segments = l.pendingFile, append(l.segments, s)
	l.pending, l.pendingFile = nil, nil
	l.dirty, l.dirDirty = true, true
	s.begin = s.size
	l.prune()
	if l.free() < l.limit {
		l.removeNow()
	}
	return l.writeHead()
}
