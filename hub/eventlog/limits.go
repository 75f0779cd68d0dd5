package eventlog

import (
	"log/slog"
	"os"
	"slices"
	"syscall"
)

// prune drops the oldest segments that are over the limits. The last one stays.
func (l *Log) prune() {
	total := l.total()
	for len(l.segments) > 1 {
		last := l.segments[len(l.segments)-1]
		enough := last.next-l.segments[1].first >= uint64(l.config.MaxEvents) //nolint:gosec // positive
		if total <= l.limit && !enough {
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

// removeNow removes what is to be removed without waiting for the next Sync.
func (l *Log) removeNow() {
	l.former = slices.DeleteFunc(l.former, func(s *segment) bool {
		if !slices.Contains(l.doomed, s) {
			return false
		}
		_ = s.file.Close() // nothing in it counts any more
		s.file = nil
		return true
	})
	l.remove(l.doomed)
	l.doomed = nil
}

// remove removes the files of dropped segments.
func (l *Log) remove(segments []*segment) {
	for _, s := range segments {
		if err := os.Remove(s.path(l.config.Dir, segmentSuffix)); err != nil && !os.IsNotExist(err) {
			l.log.Warn("an old segment of the log cannot be removed", slog.Any("error", err))
		}
	}
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
	return min(l.limit, l.free()/4*3)
}
