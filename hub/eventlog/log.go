package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
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
	// of the events that are kept; but not before it is twice its snapshot.
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
	// half of what the disk has left for them where that is less. What is newest may
	// exceed it: one snapshot of the views, one record, and the segment that has the
	// newest events.
	MaxBytes int64
	// MaxEvents is how many events are kept at least while they fit; a quarter more
	// may be there. hub.DefaultHistory if 0.
	MaxEvents int
	Boot      string       // names this boot of the machine, as /proc/sys/kernel/random/boot_id
	Logger    *slog.Logger // where damage is told; nil discards it
}

// Log is a [hub.Log] on disk.
type Log struct {
	config Config
	log    *slog.Logger

	mu          sync.Mutex
	trouble     error    // of opening; what could be opened may be read all the same
	unread      bool     // there may be segments that could not be read
	dir         *os.File // locked
	head        *os.File // nil: could not be opened
	writable    bool     // the head
	state       head
	segments    []*segment // that count, the oldest first
	file        *os.File   // of the last one; nil: nothing can be appended
	pending     *segment   // that was begun, nil for none
	pendingFile *os.File
	replaces    bool       // the pending one takes the place of all others
	index       uint64     // of the segment that was begun last
	former      []*segment // that are not synced, with their files
	doomed      []*segment // to be removed once what takes their place is synced
	dirty       bool       // the current segment has what was not synced
	dirDirty    bool       // the directory has
	limit       int64      // in bytes
	buffer      []byte
	headBuffer  [headSize]byte

	// What brings files and names to the disk; tests have it fail.
	syncFile func(*os.File) error
	syncDir  func(path string) error
}

var (
	errNoSegment = errors.New("no segment could be opened")
	errVanished  = errors.New("the files of the log were removed or replaced")
	errRecord    = errors.New("record of a size that cannot be")
	errUnsynced  = errors.New("a part of the log may be missing on the disk: it is to be written anew")
)

// Open opens the log in a directory. It waits for a few seconds for another process
// that has it, as that may be about to end. The error is [ErrInUse], also when ctx ends
// that wait, or one of the config: any other trouble is left for Load to tell, as a hub
// can do without.
func Open(ctx context.Context, config Config) (*Log, error) {
	if config.MaxBytes == 0 {
		config.MaxBytes = DefaultMaxBytes
	}
	if config.MaxEvents == 0 {
		config.MaxEvents = hub.DefaultHistory
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.MaxBytes < MinMaxBytes || config.MaxBytes > MaxMaxBytes || config.MaxEvents < 1 || config.Dir == "" {
		return nil, fmt.Errorf("log of %d bytes, %d events in %q: expected a directory and %d to %d bytes",
			config.MaxBytes, config.MaxEvents, config.Dir, MinMaxBytes, int64(MaxMaxBytes))
	}
	l := &Log{config: config, log: config.Logger, limit: config.MaxBytes, syncFile: datasync, syncDir: syncDir}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	again := time.NewTicker(patience / 50)
	defer again.Stop()
	for {
		if l.trouble = l.open(); !errors.Is(l.trouble, ErrInUse) {
			return l, nil
		}
		select {
		case <-ctx.Done():
			return nil, l.trouble
		case <-again.C:
		}
	}
}

// current returns the segment that takes the next record, and its file.
func (l *Log) current() (*segment, *os.File) {
	if l.pending != nil {
		return l.pending, l.pendingFile
	}
	if len(l.segments) == 0 {
		return nil, nil
	}
	return l.segments[len(l.segments)-1], l.file
}

// Append implements [hub.Log].
func (l *Log) Append(r hub.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, file := l.current()
	switch {
	case file == nil:
		return errNoSegment
	case len(r.Data) == 0 || len(r.Data) > maxRecord:
		return fmt.Errorf("%w: %d bytes", errRecord, len(r.Data))
	}
	l.buffer = appendRecord(l.buffer[:0], r)
	before, state := *s, l.state
	_, err := file.WriteAt(l.buffer, s.size)
	if err == nil {
		s.take(&r, int64(len(l.buffer)))
		if cap(l.buffer) > maxKeptBuffer {
			l.buffer = nil
		}
		if s == l.pending {
			return nil
		}
		l.dirty = true
		l.state.last = s.next - 1
		err = l.writeHead()
	}
	if err != nil {
		*s, l.state = before, state
		_ = file.Truncate(s.size) // else the next segment says that it ends here
	}
	return err
}

// Announce implements [hub.Log].
func (l *Log) Announce(epoch string, last uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.epoch, l.state.last = epoch, last
	err := l.writeHead()
	if err != nil && l.head != nil {
		// No head is better than one that is not true: then Load begins an epoch.
		_ = errors.Join(l.head.Truncate(0), os.Remove(l.headPath()))
	}
	return err
}

// Full implements [hub.Log].
func (l *Log) Full() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.segments) == 0 {
		return false
	}
	s := l.segments[len(l.segments)-1]
	grown := s.size - s.begin
	return grown >= s.begin && (grown >= l.limit/segmentShare ||
		s.next-s.first >= uint64(max(minSegmentEvents, l.config.MaxEvents/eventShare)))
}

// Begin implements [hub.Log].
func (l *Log) Begin(epoch string, keep bool) error {
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
	l.fitDisk()
	l.replaces = !keep
	return l.begin(epoch)
}

// begin makes the file of the next segment.
func (l *Log) begin(epoch string) error {
	l.index++
	s := &segment{index: l.index, epoch: epoch, size: segmentHeader, begin: segmentHeader}
	if n := len(l.segments); n > 0 && !l.replaces {
		s.after, s.afterSize = l.segments[n-1].index, l.segments[n-1].size
	}
	path := s.path(l.config.Dir, pendingSuffix)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600) //nolint:gosec // in the configured directory
	if err != nil {
		return err
	}
	if _, err := file.WriteAt(s.header(), 0); err != nil {
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

// finish makes the pending segment the last one. It fails before that or not at all:
// should the head not be written, the next Append tells, and until then a Load finds the
// segment to be of another epoch, or newer than the head.
func (l *Log) finish() error {
	s := l.pending
	if s == nil {
		return errNoSegment
	}
	s.begin = s.size
	_, err := l.pendingFile.WriteAt(s.header(), 0)
	if err == nil {
		err = os.Rename(s.path(l.config.Dir, pendingSuffix), s.path(l.config.Dir, segmentSuffix))
	}
	if err != nil {
		l.abandon()
		return err
	}
	if l.file != nil {
		before := l.segments[len(l.segments)-1]
		before.file = l.file
		l.former = append(l.former, before)
	}
	if l.replaces {
		l.doomed = append(l.doomed, l.segments...)
		l.segments = nil
		l.state.lost = false
	}
	l.file, l.segments = l.pendingFile, append(l.segments, s)
	l.pending, l.pendingFile, l.replaces = nil, nil, false
	l.dirty, l.dirDirty = true, true
	l.state.epoch = s.epoch
	l.prune()
	_ = l.writeHead()
	low := len(l.doomed) > 0 && l.free() < l.limit
	l.removeNow(func(s *segment) bool { return low || !s.synced }) // of which a loss of power leaves nothing to rely on
	return nil
}
