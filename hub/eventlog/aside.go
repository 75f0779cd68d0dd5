package eventlog

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	asidePrefix = "aside-"
	// maxAside is how many directories of what could not be read are kept; then the
	// oldest is removed.
	maxAside = 4
)

// setAside moves segments out of the way.
func (l *Log) setAside(segments ...*segment) error {
	if len(segments) == 0 {
		return nil
	}
	dir, err := l.newAside()
	if err != nil {
		return err
	}
	for _, s := range segments {
		if err := os.Rename(s.path(l.config.Dir, segmentSuffix), s.path(dir, segmentSuffix)); err != nil {
			_ = os.Remove(dir) // if nothing is in it
			return err
		}
	}
	l.pruneAside()
	l.log.Warn("a part of the log was set aside", slog.String("directory", dir), slog.Int("segments", len(segments)))
	return nil
}

// copyAside keeps a copy of a segment whose end is about to be cut off. Best effort: the
// rest of it counts all the same.
func (l *Log) copyAside(s *segment, content []byte) {
	dir, err := l.newAside()
	if err == nil {
		err = os.WriteFile(s.path(dir, segmentSuffix), content, 0o600)
	}
	if err != nil {
		l.log.Warn("what is cut off the log cannot be kept", slog.Any("error", err))
	}
	l.pruneAside()
}

// removeAside removes the oldest directory of what was set aside if there are more than
// keep, and reports whether it did.
func (l *Log) removeAside(keep int) bool {
	there, err := asides(l.config.Dir)
	if err != nil || len(there) <= keep {
		return false
	}
	oldest := slog.String("directory", l.asidePath(there[0]))
	if err := os.RemoveAll(l.asidePath(there[0])); err != nil {
		l.log.Warn("a part of the log that was set aside cannot be removed", oldest, slog.Any("error", err))
		return false
	}
	l.log.Warn("a part of the log that was set aside is removed to make room", oldest)
	return true
}

func (l *Log) asidePath(n int) string {
	return filepath.Join(l.config.Dir, asidePrefix+strconv.Itoa(n))
}

// setAsideUnread moves segments out of the way that Load could not read and that can
// be reached now: their events are not in the ring.
func (l *Log) setAsideUnread() error {
	all, err := listSegments(l.config.Dir)
	if err != nil {
		return err
	}
	unread := slices.DeleteFunc(all, func(s *segment) bool {
		l.index = max(l.index, s.index)
		return slices.ContainsFunc(l.segments, func(read *segment) bool { return read.index == s.index })
	})
	if err := l.setAside(unread...); err != nil {
		return err
	}
	l.unread = false
	return nil
}

// setAsideHead keeps a copy of a head that cannot be read.
func (l *Log) setAsideHead() error {
	content := make([]byte, 2*headSize)
	n, _ := l.head.ReadAt(content, 0)
	dir, err := l.newAside()
	if err != nil {
		return err
	}
	l.pruneAside()
	return errors.Join(
		os.WriteFile(filepath.Join(dir, headName), content[:n], 0o600),
		l.head.Truncate(0),
	)
}

// newAside makes a directory for what is set aside.
func (l *Log) newAside() (string, error) {
	there, err := asides(l.config.Dir)
	if err != nil {
		return "", err
	}
	next := 1
	if len(there) > 0 {
		next = there[len(there)-1] + 1
	}
	dir := l.asidePath(next)
	return dir, os.Mkdir(dir, 0o700)
}

// pruneAside removes the oldest of what was set aside where there is too much.
func (l *Log) pruneAside() {
	for l.removeAside(maxAside) {
		continue
	}
}

// asides returns the numbers of the directories of what was set aside, in order.
func asides(dir string) ([]int, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var numbers []int
	for _, entry := range entries {
		digits, ok := strings.CutPrefix(entry.Name(), asidePrefix)
		if n, err := strconv.Atoi(digits); ok && err == nil && n > 0 {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}
