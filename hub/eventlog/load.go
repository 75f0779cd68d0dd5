package eventlog

import (
	"errors"
	"log/slog"
	"os"
	"syscall"

	"github.com/osctl/eventd/hub"
)

// Load implements [hub.Log].
func (l *Log) Load(replay func(hub.Record) error) hub.Stored {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := reading{log: l, replay: replay}
	problem := l.trouble
	l.unread = true
	if l.head != nil {
		r.old, r.found, r.headErr = readHead(l.head)
		r.down = r.found && r.headErr == nil && r.old.boot != bootHash(l.config.Boot) && !r.old.clean
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
	boot := bootHash(l.config.Boot)
	l.state = head{
		epoch: stored.Epoch, boot: boot, last: r.last(), synced: min(r.old.synced, r.newest().index),
		lost: r.old.lost && r.old.boot == boot, // after a boot, what was read is on the disk
	}
	if stored.Problem == nil {
		stored.Problem = l.start(r.headErr)
	}
	if stored.Problem != nil && stored.Epoch == r.old.epoch {
		stored.Epoch = hub.NewEpoch() // what is announced from now on is nowhere noted
	}
	if l.state.lost {
		stored.Unsynced = errUnsynced
	}
	return stored
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
	return l.syncFile(l.head)
}

// first makes the first segment of all.
func (l *Log) first() error {
	if err := l.begin(l.state.epoch); err != nil {
		return err
	}
	l.pending.first, l.pending.next = l.state.last+1, l.state.last+1
	return l.finish()
}

// reopen opens the last segment, cuts off what is not whole, and notes the epoch in it. The
// process before may have synced neither that one, nor those since the newest one of which
// the head says so.
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
	l.file, l.dirty, l.dirDirty = file, true, true
	for _, s := range l.segments[:len(l.segments)-1] {
		if s.index < l.state.synced {
			s.synced = true
			continue
		}
		if s.file, err = os.OpenFile(s.path(l.config.Dir, segmentSuffix), os.O_RDONLY|syscall.O_NOFOLLOW, 0); err != nil {
			return err
		}
		l.former = append(l.former, s)
	}
	return nil
}
