package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/hub"
)

// maxCursorFile is more than a cursor takes, in bytes.
const maxCursorFile = 1024

// cursorFile is a file that keeps a cursor from one run to the next. At each moment
// it holds a whole cursor, also after a crash: a new one is written beside it, and
// takes its place once it is on the disk. It is locked while a run uses it, since two
// would each take the other's place.
type cursorFile struct {
	path string
	file *os.File // what path names now, locked; its end is that of the process
	kept string   // what the file holds
}

// openCursorFile opens a file, or makes an empty one, and finds out before any event is
// shown whether it can be kept up to date.
func openCursorFile(path string) (*cursorFile, error) {
	// A link stays a link. What does not exist yet is made where the name says.
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	f := &cursorFile{path: path}
	if err := f.open(); err != nil {
		return nil, fmt.Errorf("cursor file %s: %w", path, err)
	}
	return f, nil
}

func (f *cursorFile) open() error {
	// Nothing but a plain file may be replaced: not /dev/null, for one.
	if info, err := os.Stat(f.path); err == nil && !info.Mode().IsRegular() {
		return errors.New("it is not a regular file")
	}
	file, err := os.OpenFile(f.path, os.O_RDWR|os.O_CREATE, 0o644) //nolint:gosec // a cursor is no secret
	if err != nil {
		return err
	}
	f.file = file
	if err := lock(file); err != nil {
		return err
	}
	// The run that had the lock before may have put another file in its place.
	opened, err := file.Stat()
	if err != nil {
		return err
	}
	if named, err := os.Stat(f.path); err != nil || !os.SameFile(named, opened) {
		return errInUse
	}
	if err := f.load(); err != nil {
		return err
	}
	next, err := f.next()
	if err != nil {
		return err
	}
	return errors.Join(next.Close(), os.Remove(next.Name()))
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
func (f *cursorFile) load() error {
	data, err := io.ReadAll(io.LimitReader(f.file, maxCursorFile+1))
	if err != nil {
		return err
	}
	cursor := strings.TrimSpace(string(data))
	if cursor == "" {
		return nil
	}
	if _, _, err := hub.ParseCursor(cursor); err != nil || len(data) > maxCursorFile {
		return errors.New("what it holds is no cursor; remove it to begin anew")
	}
	f.kept = cursor
	return nil
}

// next makes the file that is to take the place of the present one.
func (f *cursorFile) next() (*os.File, error) {
	info, err := f.file.Stat()
	if err != nil {
		return nil, err
	}
	// Always the same name, so that what a killed run left does not pile up.
	path := f.path + ".new"
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm()) //nolint:gosec // the user names it
	if err != nil {
		return nil, err
	}
	if err := errors.Join(file.Chmod(info.Mode().Perm()), lock(file)); err != nil { // whatever the umask is
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// save writes a cursor.
func (f *cursorFile) save(cursor string) error {
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
func (f *cursorFile) replace(text string) error {
	next, err := f.next()
	if err != nil {
		return err
	}
	_, err = next.WriteString(text)
	if err = errors.Join(err, next.Sync()); err == nil {
		err = os.Rename(next.Name(), f.path)
	}
	if err != nil {
		return errors.Join(err, next.Close())
	}
	// The lock of the one before ends here, that of the next one holds already.
	_ = f.file.Close()
	f.file = next
	return syncDir(filepath.Dir(f.path))
}

// syncDir makes a rename in a directory last.
func syncDir(path string) error {
	dir, err := os.Open(path) //nolint:gosec // the user names it
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
