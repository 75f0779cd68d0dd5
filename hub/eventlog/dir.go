package eventlog

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// ErrInUse is the error of [Open] when another process uses the directory.
var ErrInUse = errors.New("the state directory is used by another process")

const (
	logPrefix        = "log-"
	unfinishedSuffix = ".tmp"
)

// logDir is the directory of one log. A log of an earlier version is in the configured directory
// itself.
type logDir struct {
	path       string
	number     uint64 // the current log has the highest number; 0 for the configured directory
	unfinished bool   // it may lack events, so it is never read
}

// logDirs returns the directories of all logs, the newest last.
func (l *Log) logDirs() ([]logDir, error) {
	entries, err := os.ReadDir(l.config.Dir)
	if err != nil {
		return nil, err
	}
	var dirs []logDir
	for _, entry := range entries {
		name, unfinished := strings.CutSuffix(entry.Name(), unfinishedSuffix)
		digits, ok := strings.CutPrefix(name, logPrefix)
		n, err := strconv.ParseUint(digits, 10, 62)
		path := filepath.Join(l.config.Dir, entry.Name())
		if ok && err == nil && n > 0 && digits == strconv.FormatUint(n, 10) && !isOther(path) {
			dirs = append(dirs, logDir{path, n, unfinished || lacksLog(path)})
		}
	}
	if slices.ContainsFunc(entries, isLogFile) {
		dirs = append(dirs, logDir{path: l.config.Dir})
	}
	slices.SortFunc(dirs, func(a, b logDir) int { return cmp.Compare(a.number, b.number) })
	return dirs, nil
}

// isOther reports whether a path is certainly neither a directory nor a link to one.
func isOther(path string) bool {
	info, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir()
}

// lacksLog reports whether a directory certainly holds no file of a finished log. Whoever made it, it must
// not replace the log.
func lacksLog(path string) bool {
	entries, err := os.ReadDir(path)
	return err == nil && !slices.ContainsFunc(entries, isLogFile)
}

// isLogFile reports whether a file belongs to a finished log.
func isLogFile(entry fs.DirEntry) bool {
	_, segment := segmentIndex(entry.Name())
	return segment || entry.Name() == headName
}

// isPending reports whether a file is an unfinished segment.
func isPending(entry fs.DirEntry) bool {
	name, pending := strings.CutSuffix(entry.Name(), pendingSuffix)
	_, segment := segmentIndex(name + segmentSuffix)
	return pending && segment
}

// files returns the paths of the files of a log. All files below a name with unfinishedSuffix belong to it; elsewhere
// others may be an administrator's.
func (d *logDir) files() ([]string, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, err
	}
	all := strings.HasSuffix(d.path, unfinishedSuffix)
	var paths []string
	for _, entry := range entries {
		if all || isLogFile(entry) || isPending(entry) {
			paths = append(paths, filepath.Join(d.path, entry.Name()))
		}
	}
	return paths, nil
}

// remove deletes a log. It reports whether that freed anything, as it may although another file is in the directory.
func (l *Log) remove(d logDir) (freed bool) {
	paths, err := d.files()
	for _, path := range paths {
		failed := os.RemoveAll(path)
		freed = freed || failed == nil
		err = errors.Join(err, failed)
	}
	if d.number > 0 {
		err = errors.Join(err, os.Remove(d.path))
	}
	if err != nil {
		l.log.Warn("an old log cannot be removed", slog.Any("error", err))
	}
	return freed || err == nil
}

// removeUnfinished deletes unfinished logs, including those of an earlier process.
func (l *Log) removeUnfinished() {
	dirs, err := l.logDirs()
	if err != nil {
		return // the caller gets the same error
	}
	for _, d := range dirs {
		if d.unfinished {
			l.remove(d)
		}
	}
}

// removeOlder deletes the logs older than number. It sets them aside if they were not read.
func (l *Log) removeOlder(number uint64) error {
	dirs, err := l.logDirs()
	if err != nil {
		return err
	}
	for _, d := range dirs {
		switch {
		case d.number >= number:
		case l.loaded || d.unfinished:
			l.remove(d)
		default:
			paths, err := d.files()
			if err == nil {
				err = l.setAside(paths...)
			}
			if err != nil {
				return err
			}
			if d.number > 0 {
				l.remove(d)
			}
		}
	}
	l.loaded = true
	return nil
}

// open creates, opens and locks the directory, unless it is open and still at its path.
func (l *Log) open() error {
	if err := os.MkdirAll(l.config.Dir, 0o700); err != nil {
		return err
	}
	if l.dir != nil && !replaced(l.dir, l.config.Dir, os.Stat) { // the path may be a link
		return nil
	}
	dir, err := l.hooks.lockDir(l.config.Dir)
	if err != nil {
		return err
	}
	if l.dir != nil {
		_ = unlockDir(l.dir)
	}
	l.dir, l.loaded = dir, false
	return nil
}

// lockDir opens a directory and locks it.
func lockDir(path string) (*os.File, error) {
	dir, err := os.Open(path) //nolint:gosec // the configured one
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err == nil {
		return dir, nil
	}
	_ = dir.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("%s: %w", path, ErrInUse)
	}
	return nil, fmt.Errorf("lock %s: %w", path, err)
}

// unlockDir unlocks a directory and closes it. Close alone is not enough, because a child process
// before its exec has the file open, too.
func unlockDir(dir *os.File) error {
	return errors.Join(syscall.Flock(int(dir.Fd()), syscall.LOCK_UN), dir.Close())
}

// replaced reports whether an open file is certainly not at path any more.
func replaced(f *os.File, path string, stat func(string) (os.FileInfo, error)) bool {
	open, err := f.Stat()
	if err != nil {
		return true
	}
	there, err := stat(path)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	return !os.SameFile(open, there)
}

// free returns how many bytes are free on the disk.
func (l *Log) free() int64 {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(l.config.Dir, &fs); err != nil {
		return l.config.MaxBytes // if that is too much, a write fails
	}
	return int64(min(fs.Bavail, uint64(MaxMaxBytes))) * fs.Bsize
}

// syncDir syncs the names in a directory.
func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // one of ours
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
