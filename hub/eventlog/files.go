package eventlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ErrInUse is the error of [Open] when another process has the directory.
var ErrInUse = errors.New("the state directory is used by another process")

// open opens and locks the directory and opens the head, unless they are open. What is
// open stays so until there is another one in its place: for the head, that is the only
// thing that can be written still when a permission is lost.
func (l *Log) open() error {
	if err := os.MkdirAll(l.config.Dir, 0o700); err != nil {
		return err
	}
	if l.dir == nil || replaced(l.dir, l.config.Dir, os.Stat) { // which may be a link
		dir, err := lockDir(l.config.Dir)
		if err != nil {
			return err
		}
		if l.dir != nil {
			_ = l.dir.Close()
		}
		l.dir = dir
	}
	if l.head != nil && l.writable && !replaced(l.head, l.headPath(), os.Lstat) {
		return nil
	}
	head, err := openHead(l.headPath())
	if head != nil {
		if l.head != nil {
			_ = l.head.Close()
		}
		l.head, l.writable = head, err == nil
	}
	return err
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

// openHead opens the head, and makes it where there is none. Where it can only be read,
// it returns it with the error.
func openHead(path string) (*os.File, error) {
	f, problem := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600) //nolint:gosec // in the configured directory
	if problem == nil {
		return f, nil
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0) //nolint:gosec // likewise
	if err != nil {
		return nil, problem
	}
	return f, problem
}

func (l *Log) headPath() string { return filepath.Join(l.config.Dir, headName) }

// replaced reports whether a file that is open is for certain not the one at path.
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
