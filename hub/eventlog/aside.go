package eventlog

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	asidePrefix = "aside-"
	maxAside    = 4 // directories; the oldest is deleted first
)

// setAside moves files into a new directory aside.
func (l *Log) setAside(paths ...string) error {
	if len(paths) == 0 {
		return nil
	}
	dir, err := l.newAside()
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := os.Rename(path, filepath.Join(dir, filepath.Base(path))); err != nil {
			_ = os.Remove(dir) // if it is empty
			return err
		}
	}
	l.log.Warn("a part of the log was set aside", slog.String("directory", dir), slog.Int("files", len(paths)))
	return nil
}

// copyAside keeps a copy of a file before its damaged part is cut off. A failure is only logged.
func (l *Log) copyAside(name string, content []byte) {
	dir, err := l.newAside()
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name), content, 0o600)
	}
	if err != nil {
		l.log.Warn("the damaged part of the log cannot be copied aside", slog.Any("error", err))
	}
}

// newAside creates a directory aside, and deletes the oldest beyond the limit.
func (l *Log) newAside() (string, error) {
	there, err := l.asides()
	if err != nil {
		return "", err
	}
	next := 1
	if len(there) > 0 {
		next = there[len(there)-1] + 1
	}
	dir := l.asidePath(next)
	err = os.Mkdir(dir, 0o700)
	for err == nil && l.removeAside(maxAside) {
		continue
	}
	return dir, err
}

// removeAside deletes the oldest directory aside if there are more than keep. It reports whether it
// did.
func (l *Log) removeAside(keep int) bool {
	there, err := l.asides()
	if err != nil || len(there) <= keep {
		return false
	}
	oldest := slog.String("directory", l.asidePath(there[0]))
	if err := os.RemoveAll(l.asidePath(there[0])); err != nil {
		l.log.Warn("an old directory aside cannot be removed", oldest, slog.Any("error", err))
		return false
	}
	l.log.Warn("the oldest directory aside is removed to make room", oldest)
	return true
}

func (l *Log) asidePath(n int) string {
	return filepath.Join(l.config.Dir, asidePrefix+strconv.Itoa(n))
}

// asides returns the numbers of the directories aside, in order.
func (l *Log) asides() ([]int, error) {
	entries, err := os.ReadDir(l.config.Dir)
	if err != nil {
		return nil, err
	}
	var numbers []int
	for _, entry := range entries {
		digits, ok := strings.CutPrefix(entry.Name(), asidePrefix)
		n, err := strconv.Atoi(digits)
		if ok && err == nil && n > 0 && entry.Name() == asidePrefix+strconv.Itoa(n) { // no other name, such as aside-01
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}
