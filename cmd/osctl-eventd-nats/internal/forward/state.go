package forward

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/hub"
)

// stateFile keeps the cursor of the last stored message, in case the stream loses all messages of this
// host. The file may lag behind the stream, but never by an epoch, because each epoch begins with a record
// and each record saves the file. See [eventd.checkHead].
type stateFile struct {
	dir    *os.File // holds the lock
	path   string
	cursor string // "" for none
	saved  string // the cursor in the file
}

// openState reads the state file, and locks the directory against other bridges.
func openState(dir string, log *slog.Logger) (*stateFile, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	d, err := os.Open(dir) //nolint:gosec // named by the administrator
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("state directory %s: another bridge uses it (%w)", dir, err), d.Close())
	}
	s := &stateFile{dir: d, path: filepath.Join(dir, "cursor")}
	text, err := os.ReadFile(s.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(err, d.Close())
	}
	cursor := strings.TrimSuffix(string(text), "\n")
	if _, _, err := hub.ParseCursor(cursor); err == nil {
		s.cursor, s.saved = cursor, cursor
	} else if cursor != "" {
		log.Warn("the state file is damaged; continuing without it", slog.String("path", s.path), errorAttr(err))
	}
	return s, nil
}

// save writes the cursor to the disk if it has changed. The file is complete at any time, even after a loss of
// power. Without its epoch the bridge would refuse its own head, because osctl-eventd then begins another one.
func (s *stateFile) save() error {
	if s.cursor == s.saved {
		return nil
	}
	next, err := os.OpenFile(s.path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = next.WriteString(s.cursor + "\n")
	if err = errors.Join(err, next.Sync(), next.Close()); err != nil {
		return err
	}
	if err := errors.Join(os.Rename(next.Name(), s.path), s.dir.Sync()); err != nil {
		return err
	}
	s.saved = s.cursor
	return nil
}

func (s *stateFile) close() error { return s.dir.Close() }
