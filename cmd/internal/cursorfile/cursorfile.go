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

// File is a cursor file. It holds a whole cursor at any time, even after a crash: Save writes a new
// file, syncs it, and renames it over the old one. The file is locked while a run uses it.
type File struct {
	path string   // as given
	dir  *os.Root // the file's directory
	name string   // in dir
	file *os.File // the present file, locked until the process ends
	kept string   // the cursor in the file
}

// Open opens or creates a cursor file, and checks that Save will be able to replace it. check
// validates the cursor that the file holds.
func Open(path string, check func(cursor string) error) (*File, error) {
	f := &File{path: path}
	if err := f.open(check); err != nil {
		return nil, fmt.Errorf("cursor file %s: %w", path, err)
	}
	return f, nil
}

// open opens the file by the given path, so that the kernel decides whether to follow a link, see
// protected_symlinks in proc_sys_fs(5). Later calls work in the directory of the opened file, so
// that a link stays a link.
func (f *File) open(check func(string) error) (err error) {
	if f.file, err = openPlain(f.path); err != nil {
		return err
	}
	opened, err := os.Readlink(fmt.Sprint("/proc/self/fd/", f.file.Fd()))
	if err != nil {
		opened = f.path
	}
	f.name = filepath.Base(opened)
	if f.dir, err = os.OpenRoot(filepath.Dir(opened)); err != nil {
		return err
	}
	if err := lock(f.file); err != nil {
		return err
	}
	// The last holder of the lock may have replaced the file.
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	if named, err := f.dir.Lstat(f.name); err != nil || !os.SameFile(named, info) {
		return errInUse
	}
	if err := f.load(check); err != nil {
		return err
	}
	next, err := f.createNext()
	if err != nil {
		return err
	}
	_, err = next.WriteString(f.kept + "\n") // a full disk may take an empty file, but no cursor
	return errors.Join(err, next.Close(), f.dir.Remove(f.nextName()))
}

// openPlain opens or creates a regular file. Others, such as /dev/null, must not be replaced.
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
// make root replace any file.
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

// nextName is the name of the file that replaces the present one. It is always the same, so that
// files of killed runs do not pile up.
func (f *File) nextName() string { return f.name + ".new" }

// createNext creates the file that replaces the present one, with the same owner and mode.
func (f *File) createNext() (*os.File, error) {
	info, err := f.file.Stat()
	if err != nil {
		return nil, err
	}
	if err := f.dir.Remove(f.nextName()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	file, err := f.dir.OpenFile(f.nextName(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	err = copyOwner(file, info)
	if err = errors.Join(err, file.Chmod(info.Mode().Perm()), lock(file)); err != nil {
		return nil, errors.Join(err, file.Close(), f.dir.Remove(f.nextName()))
	}
	return file, nil
}

// copyOwner gives a file the owner and group of another one.
func copyOwner(file *os.File, of fs.FileInfo) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	has, hasOK := info.Sys().(*syscall.Stat_t)
	wanted, wantedOK := of.Sys().(*syscall.Stat_t)
	if !hasOK || !wantedOK || has.Uid == wanted.Uid && has.Gid == wanted.Gid {
		return nil
	}
	if err := file.Chown(int(wanted.Uid), int(wanted.Gid)); err != nil {
		return fmt.Errorf("it belongs to user %d and group %d, which cannot be kept when it is replaced: %w",
			wanted.Uid, wanted.Gid, err)
	}
	return nil
}

// Cursor returns the cursor in the file, "" for none.
func (f *File) Cursor() string { return f.kept }

// Save writes a cursor. It does nothing if the cursor is "" or in the file already.
func (f *File) Save(cursor string) error {
	if cursor == "" || cursor == f.kept {
		return nil
	}
	if err := f.replace(cursor + "\n"); err != nil {
		return fmt.Errorf("cursor file %s: %w", f.path, err)
	}
	f.kept = cursor
	return nil
}

// replace replaces the file by one with another text.
func (f *File) replace(text string) error {
	next, err := f.createNext()
	if err != nil {
		return err
	}
	_, err = next.WriteString(text)
	if err = errors.Join(err, next.Sync()); err == nil {
		err = f.dir.Rename(f.nextName(), f.name)
	}
	if err != nil {
		return errors.Join(err, next.Close(), f.dir.Remove(f.nextName()))
	}
	// Closing the old file releases its lock; the new file is locked already.
	_ = f.file.Close()
	f.file = next
	return f.syncDir()
}

// syncDir makes a rename in the directory durable.
func (f *File) syncDir() error {
	dir, err := f.dir.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
