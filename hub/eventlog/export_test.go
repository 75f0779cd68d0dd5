package eventlog

import (
	"context"
	"errors"
	"os"
)

// Kill closes all files without writing, as the end of the process does.
func (w *Writer) Kill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closeFiles()
}

// BreakHead makes writes to the head fail.
func (w *Writer) BreakHead() {
	good := w.head
	w.head, _ = os.Open(good.Name())
	_ = good.Close()
}

// BreakSegment closes the file of the current segment, so that appending to it fails.
func (w *Writer) BreakSegment() {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.last().file.Close()
}

// OnSync calls before ahead of each sync of a file or directory. If it returns an error, the sync fails
// with it.
func (l *Log) OnSync(before func(f *os.File, path string) error) {
	l.hooks.syncFile = func(f *os.File) error {
		if err := before(f, f.Name()); err != nil {
			return err
		}
		return f.Sync()
	}
	l.hooks.syncDir = func(path string) error {
		if err := before(nil, path); err != nil {
			return err
		}
		return syncDir(path)
	}
}

// OnWrite calls before ahead of each write. If it returns an error, the write fails with it after half of
// the bytes.
func (l *Log) OnWrite(before func(off int64) error) {
	l.hooks.writeAt = func(f *os.File, b []byte, off int64) (int, error) {
		failed := before(off)
		if failed != nil {
			b = b[:len(b)/2]
		}
		n, err := f.WriteAt(b, off)
		return n, errors.Join(failed, err)
	}
}

// OpenSlowly is Open that calls before ahead of locking the directory.
func OpenSlowly(ctx context.Context, config Config, before func()) (*Log, error) {
	l, err := newLog(config)
	if err != nil {
		return nil, err
	}
	l.hooks.lockDir = func(path string) (*os.File, error) {
		before()
		return lockDir(path)
	}
	return l, l.waitForLock(ctx)
}
