package eventlog

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"syscall"
)

// prune drops the oldest segments that are over the limits, but not the newest one that
// has events.
func (l *Log) prune() {
	total := l.total()
	for len(l.segments) > 1 {
		last := l.segments[len(l.segments)-1]
		rest := last.next - l.segments[1].first
		if rest == 0 || total <= l.limit && rest < uint64(l.config.MaxEvents) { //nolint:gosec // positive
			return
		}
		total -= l.segments[0].size
		l.doomed = append(l.doomed, l.segments[0])
		l.segments = l.segments[1:]
	}
}

// total returns how many bytes the segments take.
func (l *Log) total() int64 {
	total := int64(0)
	for _, s := range l.segments {
		total += s.size
	}
	return total
}

// MakeRoom implements [hub.Log]. What was set aside goes first, then the oldest segment,
// and what is newest last.
func (l *Log) MakeRoom() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case len(l.doomed) > 0:
	case l.removeAside(0):
		return true
	case len(l.segments) == 0:
		return false
	default:
		l.doomed = append(l.doomed, l.segments[0])
		if l.segments = l.segments[1:]; len(l.segments) == 0 && l.file != nil {
			_ = l.file.Close() // nothing in it counts any more
			l.file = nil
		}
	}
	return l.removeNow(func(*segment) bool { return true })
}

// removeNow removes those of what is to be removed for which that need not wait for the next
// Sync. It reports whether anything was.
func (l *Log) removeNow(now func(*segment) bool) bool {
	l.closeDoomed()
	before := len(l.doomed)
	var doomed, later []*segment
	for _, s := range l.doomed {
		if now(s) {
			doomed = append(doomed, s)
		} else {
			later = append(later, s)
		}
	}
	l.doomed = append(l.remove(doomed), later...)
	return len(l.doomed) < before
}

// closeDoomed closes what is to be removed: a disk that cannot take it is no matter.
func (l *Log) closeDoomed() {
	l.former = slices.DeleteFunc(l.former, func(s *segment) bool {
		if !slices.Contains(l.doomed, s) {
			return false
		}
		_ = s.file.Close()
		s.file = nil
		return true
	})
}

// remove removes the files of dropped segments and returns those that are still there. They
// are tried again at each Sync, and told of once.
func (l *Log) remove(segments []*segment) (left []*segment) {
	for _, s := range segments {
		if err := os.Remove(s.path(l.config.Dir, segmentSuffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			if !s.stuck {
				l.log.Warn("an old segment of the log cannot be removed", slog.Any("error", err))
			}
			s.stuck = true
			left = append(left, s)
		}
	}
	return left
}

// free returns how many bytes the disk has left for us.
func (l *Log) free() int64 {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(l.config.Dir, &fs); err != nil {
		return l.config.MaxBytes // then writing will tell
	}
	return int64(min(fs.Bavail, uint64(MaxMaxBytes))) * fs.Bsize
}

// fitDisk sets the limit: what is configured, or half of what the disk has for us.
func (l *Log) fitDisk() {
	l.limit = max(MinMaxBytes, min(l.config.MaxBytes, (l.free()+l.total())/2))
}

// Room implements [hub.Log].
func (l *Log) Room() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	free := l.free()
	if l.replaces {
		free += l.total() // MakeRoom gives it up, if it must be
	}
	return min(l.limit, free/4*3)
}
