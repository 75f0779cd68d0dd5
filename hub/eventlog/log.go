package eventlog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/osctl/eventd/hub"
)

// Defaults and limits of a [Config].
const (
	DefaultMaxBytes = 32 << 20
	MinMaxBytes     = 64 << 10
	MaxMaxBytes     = 4 << 30
	maxKeptBuffer   = 256 << 10 // bytes
	lockPatience    = 3 * time.Second
)

// Config configures a [Log].
type Config struct {
	Dir string // created if missing, with access for its owner only
	// MaxBytes limits the size of all segments together, DefaultMaxBytes if 0. They never take
	// more than half of the room that the disk has for them. One snapshot of the views, one
	// record and the segment with the newest events may exceed the limit.
	MaxBytes int64
	// MaxEvents is how many events are kept if they fit, and up to a quarter more;
	// hub.DefaultHistory if 0.
	MaxEvents int
	Boot      string       // ID of this boot of the machine, as in /proc/sys/kernel/random/boot_id
	Logger    *slog.Logger // reports damage; nil discards it
}

// Log is a [hub.Log] on disk. The caller must call one method at a time, Finish of its writers included.
type Log struct {
	config Config
	log    *slog.Logger

	opening      sync.Mutex // held while Open's goroutine opens the directory
	openErr      error      // result of that goroutine
	dir          *os.File   // locked
	loaded       bool       // old logs were read; otherwise they are set aside, not deleted
	newestNumber uint64     // number of the newest log
	hooks        *hooks
}

// hooks are calls to the kernel; tests replace them with ones that fail.
type hooks struct {
	lockDir  func(path string) (*os.File, error)
	syncFile func(*os.File) error
	syncDir  func(path string) error
	writeAt  func(f *os.File, b []byte, off int64) (int, error)
}

// Open opens the log in a directory. If another process uses it, Open waits up to three seconds for
// that to end. The error is [ErrInUse], that of ctx, or one of the config. Load returns any other
// error, such as of a disk that hangs, because a hub can continue without a log.
func Open(ctx context.Context, config Config) (*Log, error) {
	l, err := newLog(config)
	if err == nil {
		err = l.waitForLock(ctx)
	}
	if err != nil {
		return nil, err
	}
	return l, nil
}

func newLog(config Config) (*Log, error) {
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
	return &Log{config: config, log: config.Logger, hooks: &hooks{
		lockDir: lockDir, syncFile: (*os.File).Sync, syncDir: syncDir, writeAt: (*os.File).WriteAt,
	}}, nil
}

// waitForLock opens and locks the directory. It does not wait for a disk that hangs.
func (l *Log) waitForLock(ctx context.Context) error {
	patience, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	for inUse := error(nil); ; {
		select {
		case err := <-l.beginOpen():
			if !errors.Is(err, ErrInUse) {
				return nil // Load returns other errors
			}
			inUse = err
		case <-patience.Done(): // the disk hangs, this attempt is slow, or the caller stops
			return cmp.Or(ctx.Err(), inUse)
		}
		select {
		case <-time.After(lockPatience / 50):
		case <-patience.Done():
			return cmp.Or(ctx.Err(), inUse)
		}
	}
}

// beginOpen opens the directory in a goroutine and sends the result. The goroutine holds the lock
// l.opening, so Load waits for it.
func (l *Log) beginOpen() <-chan error {
	opened := make(chan error, 1)
	l.opening.Lock()
	go func() {
		defer l.opening.Unlock()
		l.openErr = l.open()
		opened <- l.openErr
	}()
	return opened
}

// Create implements [hub.Log].
func (l *Log) Create(epoch string) (hub.Writer, error) {
	if err := l.open(); err != nil {
		return nil, err
	}
	dirs, err := l.logDirs()
	if err != nil {
		return nil, err
	}
	for _, d := range dirs {
		l.newestNumber = max(l.newestNumber, d.number)
	}
	l.newestNumber++
	return l.create(l.newestNumber, epoch)
}

// Room implements [hub.Log].
func (l *Log) Room() (room int64, more bool) {
	room = l.free() / 4 * 3 // leaves a quarter for metadata, and for commits meanwhile
	return min(room, l.config.MaxBytes), room < l.config.MaxBytes
}

// MakeRoom implements [hub.Log]. It deletes the oldest directory aside, or all logs if there is none.
func (l *Log) MakeRoom() bool {
	if l.removeAside(0) {
		return true
	}
	dirs, err := l.logDirs()
	if err != nil {
		return false
	}
	removed := false
	for _, d := range dirs {
		removed = l.remove(d) || removed
	}
	return removed
}

// Close implements [hub.Log].
func (l *Log) Close() error {
	if l.dir == nil {
		return nil
	}
	err := unlockDir(l.dir)
	l.dir = nil
	return err
}
