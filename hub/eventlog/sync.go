package eventlog

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Sync implements [hub.Log].
func (l *Log) Sync() error {
	l.mu.Lock()
	former, current := l.takeFormer(), l.file
	if !l.dirty {
		current = nil
	}
	dirDirty := l.dirDirty
	doomed := l.doomed
	l.dirty, l.dirDirty, l.doomed = false, false, nil
	there := l.there()
	l.mu.Unlock()

	var errs []error
	for _, file := range former {
		errs = append(errs, datasync(file), file.Close())
	}
	if current != nil {
		errs = append(errs, datasync(current))
	}
	if dirDirty {
		errs = append(errs, syncDir(l.config.Dir))
	}
	if !there {
		errs = append(errs, errVanished)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("sync the log: %w", err)
	}
	l.remove(doomed)
	return nil
}

// takeFormer returns the files of former segments, which are the caller's then.
func (l *Log) takeFormer() []*os.File {
	files := make([]*os.File, 0, len(l.former)+1)
	for _, s := range l.former {
		files = append(files, s.file)
		s.file = nil
	}
	l.former = nil
	return files
}

// there reports whether what is written is where the next Load looks for it.
func (l *Log) there() bool {
	if l.file == nil {
		return true // and nothing is written
	}
	last := l.segments[len(l.segments)-1]
	return sameFile(l.file, last.path(l.config.Dir, segmentSuffix)) && l.head != nil && sameFile(l.head, l.headPath())
}

// datasync is fdatasync(2).
func datasync(file *os.File) error {
	for {
		err := syscall.Fdatasync(int(file.Fd()))
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		return os.NewSyscallError("fdatasync", err)
	}
}

// syncDir brings the names in a directory to the disk.
func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the configured one
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Close implements [hub.Log].
func (l *Log) Close(clean bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.abandon()
	var errs []error
	files := l.takeFormer()
	if l.file != nil {
		files = append(files, l.file)
	}
	for _, file := range files {
		errs = append(errs, datasync(file), file.Close())
	}
	clean = clean && l.file != nil && errors.Join(errs...) == nil
	l.file = nil
	l.removeNow()
	if l.head == nil {
		return errors.Join(errs...)
	}
	if clean {
		errs = append(errs, syncDir(l.config.Dir))
		l.state.clean = errors.Join(errs...) == nil
		errs = append(errs, l.writeHead(), datasync(l.head))
	}
	errs = append(errs, l.head.Close())
	l.head = nil
	return errors.Join(errs...)
}
