package eventlog

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Sync implements [hub.Writer].
func (w *Writer) Sync() error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return errAbandoned
	}
	newest, names, dir := w.last(), w.dirDirty, w.path
	var current *os.File
	if w.dirty {
		current = newest.file
	}
	var rotated []*os.File
	for _, s := range w.segments[:len(w.segments)-1] {
		if s.file != nil {
			rotated = append(rotated, s.file)
			s.file = nil
		}
	}
	there := !replaced(newest.file, newest.path(dir, segmentSuffix), os.Lstat) && !replaced(w.head, filepath.Join(dir, headName), os.Lstat)
	w.dirty, w.dirDirty = false, false
	w.unlock()

	var errs []error
	for _, file := range rotated {
		errs = append(errs, w.log.hooks.syncFile(file), file.Close())
	}
	if current != nil {
		if err := w.log.hooks.syncFile(current); err != nil && w.hasSegment(newest) {
			errs = append(errs, err)
		}
	}
	if names {
		errs = append(errs, w.log.hooks.syncDir(dir))
	}
	if !there {
		errs = append(errs, errVanished)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.unlock()
	if w.state.synced != newest.index && !w.closed {
		w.state.synced = newest.index
		return w.writeHead()
	}
	return nil
}

// hasSegment reports whether a segment is still part of the log, so that it was not pruned.
func (w *Writer) hasSegment(s *segment) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Contains(w.segments, s)
}

// Finish implements [hub.Writer]. The log counts as finished only when Finish returns, so its size
// stays bounded while the disk hangs.
func (w *Writer) Finish() error {
	l := w.log
	err := w.Sync()
	if err == nil {
		err = l.hooks.syncFile(w.head)
	}
	if err == nil {
		err = w.rename()
	}
	if err == nil {
		err = l.hooks.syncDir(l.config.Dir)
	}
	if err == nil {
		err = l.removeOlder(w.number)
	}
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.unlock()
	w.finished = true
	return nil
}

// rename gives the directory the name of a finished log.
func (w *Writer) rename() error {
	w.mu.Lock()
	defer w.unlock()
	path := strings.TrimSuffix(w.path, unfinishedSuffix)
	err := os.Rename(w.path, path)
	if err == nil {
		w.path = path
	}
	return err
}

// Close implements [hub.Writer].
func (w *Writer) Close(clean bool) error {
	if discarded, err := w.discard(); discarded {
		return err
	}
	err := w.Sync()
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.closeFiles()
	if err != nil || !clean || w.closed {
		return err
	}
	w.state.clean = true
	if err := w.writeHead(); err != nil {
		return err
	}
	return w.log.hooks.syncFile(w.head)
}

// discard deletes an unfinished log, and reports whether it was one. After that, Finish fails.
func (w *Writer) discard() (discarded bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.finished {
		return false, nil
	}
	w.closeFiles()
	return true, os.RemoveAll(w.path)
}
