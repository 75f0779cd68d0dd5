// Package cursorfile keeps the position of a reader of events in a file from one run to the next.
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

// maxSize is more than a cursor takes, in bytes.
const maxSize = 1024

// File keeps a cursor from one run to the next. At each moment it holds a whole
// cursor, also after a crash: a new one is written beside it, and takes its place
// once it is on the disk. It is locked while a run uses it, since two would each
// take the other's place.
type File struct {
	path string   // as given
	dir  *os.Root // where the file is
	name string   // in dir
	file *os.File // what the name stands for now, locked; its end is that of the process
	kept string   // what the file holds
}

// Open opens a file, or makes an empty one, and finds out before any event is shown
// whether it can be kept up to date. What it holds is a cursor if check says so.
func Open(path string, check func(cursor string) error) (*File, error) {
	f := &File{path: path}
	if err := f.open(check); err != nil {
		return nil, fmt.Errorf("cursor file %s: %w", path, err)
	}
	return f, nil
}

// open opens the file by the name given, so that a link is followed by the kernel or not at
// all, see protected_symlinks in proc_sys_fs(5). From then on the directory counts in which
// the opened file is: a link stays a link.
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
	// The run that had the lock before may have put another file in its place.
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
	next, err := f.next()
	if err != nil {
		return err
	}
	return errors.Join(next.Close(), f.dir.Remove(f.nextName()))
}

// openPlain opens a plain file, or makes one: no other may be replaced, like /dev/null.
func openPlain(path string) (*os.File, error) {
	flags := os.O_RDWR | os.O_CREATE // the latter also for protected_regular
	if info, err := os.Stat(path); err != nil {
		flags |= os.O_EXCL // a link to nothing is not followed
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

// checkName refuses a file that was opened by a stranger's link, which would have root replace
// a file of the stranger's choice.
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

// errInUse is why a cursor file cannot be used that another run uses.
var errInUse = errors.New("another run uses it")

// lock takes a file for this process.
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

// nextName is the name of the file that is to take the place of the present one. It is
// always the same, so that what a killed run left does not pile up.
func (f *File) nextName() string { return f.name + ".new" }

// next makes the file that is to take the place of the present one, with its owner and mode.
func (f *File) next() (*os.File, error) {
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
	err = keepOwner(file, info)
	if err = errors.Join(err, file.Chmod(info.Mode().Perm()), lock(file)); err != nil {
		return nil, errors.Join(err, file.Close(), f.dir.Remove(f.nextName()))
	}
	return file, nil
}

// keepOwner gives a file the owner and group of another one.
func keepOwner(file *os.File, of fs.FileInfo) error {
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

// Cursor is what the file holds, "" for nothing.
func (f *File) Cursor() string { return f.kept }

// Save writes a cursor, unless it is "" or the file holds it already.
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

// replace puts a file with another text in the place of the present one.
func (f *File) replace(text string) error {
	next, err := f.next()
	if err != nil {
		return err
	}
	_, err = next.WriteString(text)
	if err = errors.Join(err, next.Sync()); err == nil {
		err = f.dir.Rename(f.nextName(), f.name)
	}
	if err != nil {
		return errors.Join(err, next.Close())
	}
	// The lock of the one before ends here, that of the next one holds already.
	_ = f.file.Close()
	f.file = next
	return f.syncDir()
}

// syncDir makes a rename in the directory last.
func (f *File) syncDir() error {
	dir, err := f.dir.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
