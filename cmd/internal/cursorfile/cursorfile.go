// Package cursorfile keeps the cursor of a reader of events in a file, so that the next run resumes
// there.
package cursorfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxSize is the maximum size of a cursor file in bytes.
const maxSize = 1024

// File is a cursor file. It holds a whole cursor at any time: killed at any instant, [File.Save] leaves
// the old or the new one. The file is locked while a run uses it.
type File struct {
	path string   // as given
	file *os.File // locked until the process ends
	kept string   // the cursor in the file
}

// Open opens or creates a cursor file, and checks that the disk has room for a cursor. check validates
// the cursor that the file holds.
func Open(path string, check func(cursor string) error) (*File, error) {
	f := &File{path: path}
	if err := f.open(check); err != nil {
		return nil, fmt.Errorf("cursor file %s: %w", path, err)
	}
	return f, nil
}

// open opens the file by the given path, so that the kernel decides whether to follow a link, see
// protected_symlinks in proc_sys_fs(5).
func (f *File) open(check func(string) error) (err error) {
	if f.file, err = openPlain(f.path); err != nil {
		return err
	}
	if err := lock(f.file); err != nil {
		return err
	}
	if err := f.load(check); err != nil {
		return err
	}
	if err := f.write(f.kept); err != nil { // a full disk may take an empty file, but no cursor
		return err
	}
	return syncDir(filepath.Dir(f.path))
}

// openPlain opens or creates a regular file. Others, such as /dev/null, keep no cursor.
func openPlain(path string) (*os.File, error) {
	flags := os.O_RDWR | os.O_CREATE // protected_regular applies only with O_CREATE
	if info, err := os.Stat(path); err != nil {
		flags |= os.O_EXCL // does not follow a dangling link
	} else if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	file, err := os.OpenFile(path, flags, 0o644) //nolint:gosec // a cursor is no secret
	if err != nil {
		return nil, err
	}
	if err := checkName(path, file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// checkName refuses a file that was opened through another user's link. Otherwise that user could
// make root write a cursor to any file.
func checkName(path string, file *os.File) error {
	opened, err := file.Stat()
	if err != nil {
		return err
	}
	named, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if named.Mode()&fs.ModeSymlink == 0 {
		if !os.SameFile(named, opened) {
			return errInUse
		}
		return nil
	}
	if stat, ok := named.Sys().(*syscall.Stat_t); ok && stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("it is a link that user %d made; name the file itself", stat.Uid)
	}
	return nil
}

// errInUse is returned for a cursor file that another run uses.
var errInUse = errors.New("another run uses it")

// lock locks a file for this process.
func lock(file *os.File) error {
	err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errInUse
	}
	return err
}

// load reads the cursor. An empty file holds none.
func (f *File) load(check func(string) error) error {
	data, err := io.ReadAll(io.LimitReader(f.file, maxSize+1))
	if err != nil {
		return err
	}
	cursor := strings.TrimSpace(string(data))
	if cursor == "" {
		return nil
	}
	if check(cursor) != nil || len(data) > maxSize {
		return errors.New("it holds no cursor; remove it to start over")
	}
	f.kept = cursor
	return nil
}

// Cursor returns the cursor in the file, "" for none.
func (f *File) Cursor() string { return f.kept }

// Save writes a cursor. It does nothing if the cursor is "" or in the file already.
func (f *File) Save(cursor string) error {
	if cursor == "" || cursor == f.kept {
		return nil
	}
	if err := f.write(cursor); err != nil {
		return fmt.Errorf("cursor file %s: %w", f.path, err)
	}
	f.kept = cursor
	return nil
}

// write writes a cursor in place, and syncs it. A kill does not cut off a single write within a page.
// Newlines replace the rest of a longer cursor, because a kill may come before Truncate.
func (f *File) write(cursor string) error {
	rest := max(len(f.kept)-len(cursor), 0)
	if _, err := f.file.WriteAt([]byte(cursor+"\n"+strings.Repeat("\n", rest)), 0); err != nil {
		return err
	}
	if err := f.file.Truncate(int64(len(cursor) + 1)); err != nil {
		return err
	}
	return f.file.Sync()
}

// syncDir makes the creation of a file in a directory durable.
func syncDir(path string) error {
	dir, err := os.Open(path) //nolint:gosec // the user names it
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
