package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/osctl/eventd/hub"
)

// maxCursorFile is more than a cursor takes, in bytes.
const maxCursorFile = 1024

// cursorFile is a file that keeps a cursor from one run to the next. At each moment
// it holds a whole cursor, also after a crash: a new one is written beside it, and
// takes its place once it is on the disk.
type cursorFile struct {
	path string
	kept string // what the file holds
}

// load reads the cursor, "" if there is no file yet or an empty one.
func (f *cursorFile) load() (string, error) {
	data, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("cursor file: %w", err)
	}
	cursor := strings.TrimSpace(string(data))
	if cursor == "" {
		return "", nil
	}
	if _, _, err := hub.ParseCursor(cursor); err != nil || len(data) > maxCursorFile {
		return "", fmt.Errorf("cursor file %s: what it holds is no cursor; remove it to begin anew", f.path)
	}
	f.kept = cursor
	return cursor, nil
}

// save writes a cursor.
func (f *cursorFile) save(cursor string) (err error) {
	if cursor == "" || cursor == f.kept {
		return nil
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("cursor file %s: %w", f.path, err)
		}
	}()
	// Always the same name, so that what a killed run left does not pile up.
	next := f.path + ".new"
	_ = os.Remove(next)
	temp, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // a cursor is no secret
	if err != nil {
		return err
	}
	_, err = temp.WriteString(cursor + "\n")
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	if err := os.Rename(next, f.path); err != nil {
		return err
	}
	f.kept = cursor
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
