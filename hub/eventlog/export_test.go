package eventlog

import (
	"os"
	"path/filepath"
	"strings"
)

// Kill closes what the process has open and writes nothing, as the end of the process
// does.
func (l *Log) Kill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.takeFormer() {
		_ = f.Close()
	}
	if l.file != nil {
		_ = l.file.Close()
	}
	if l.pendingFile != nil {
		_ = l.pendingFile.Close()
	}
	for _, f := range []*os.File{l.head, l.dir} {
		if f != nil {
			_ = f.Close()
		}
	}
	l.dir, l.head, l.file, l.pending, l.pendingFile = nil, nil, nil, nil, nil
}

// BreakHead has writes to the head fail until the function that it returns is called.
func (l *Log) BreakHead() (mend func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	good := l.head
	l.head, _ = os.Open(good.Name())
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		_ = l.head.Close()
		l.head = good
	}
}

// BreakSegment closes the file of the current segment, so that appending to it fails.
func (l *Log) BreakSegment() {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.file.Close()
}

// FreezeSegment has the file of the current segment take nothing more; it can be synced.
func (l *Log) FreezeSegment() {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.file.Close()
	l.file, _ = os.Open(l.segments[len(l.segments)-1].path(l.config.Dir, segmentSuffix))
}

// OnSync has a function be asked before each sync of a file ("head", or a segment's name
// without its suffix) or of the directory ("."). An error of it is that of the sync.
func (l *Log) OnSync(before func(f *os.File, name string) error) {
	l.syncFile = func(f *os.File) error {
		name, _, _ := strings.Cut(filepath.Base(f.Name()), ".")
		if err := before(f, name); err != nil {
			return err
		}
		return datasync(f)
	}
	l.syncDir = func(path string) error {
		if err := before(nil, "."); err != nil {
			return err
		}
		return syncDir(path)
	}
}
