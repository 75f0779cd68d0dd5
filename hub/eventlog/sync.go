package eventlog

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Sync implements [hub.Log].
func (l *Log) Sync() error {
	files, doomed, dirDirty, there, err := l.takeUnsynced()
	errs := []error{err}
	for _, file := range files {
		errs = append(errs, datasync(file), file.Close())
	}
	if dirDirty {
		errs = append(errs, syncDir(l.config.Dir))
	}
	if !there {
		errs = append(errs, errVanished)
	}
	err = errors.Join(errs...)
	if err == nil {
		doomed = l.remove(doomed) // without the lock, as it takes time
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doomed = append(doomed, l.doomed...)
	if err != nil {
		return fmt.Errorf("sync the log: %w", err)
	}
	return nil
}

// takeUnsynced returns the files that have what is not on the disk, for the caller to
// close: of the current segment it is another descriptor, as that one may be closed
// meanwhile. The doomed segments may be removed once these files are synced. It also says
// whether the directory was changed, and whether the files are where the next Load looks
// for them.
func (l *Log) takeUnsynced() (files []*os.File, doomed []*segment, dirDirty, there bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	files, doomed, dirDirty = l.takeFormer(), l.doomed, l.dirDirty
	l.doomed = nil
	if l.dirty && l.file != nil {
		var fd int
		if fd, err = duplicate(l.file); err == nil {
			files = append(files, os.NewFile(uintptr(fd), l.file.Name()))
		}
	}
	l.dirty, l.dirDirty = false, false
	there = l.file == nil || !replaced(l.file, l.segments[len(l.segments)-1].path(l.config.Dir, segmentSuffix), os.Lstat) &&
		l.head != nil && !replaced(l.head, l.headPath(), os.Lstat)
	return files, doomed, dirDirty, there, err
}

// duplicate returns another descriptor of a file.
func duplicate(file *os.File) (int, error) {
	fd, _, errno := syscall.Syscall(syscall.SYS_FCNTL, file.Fd(), syscall.F_DUPFD_CLOEXEC, 0)
	if errno != 0 {
		return 0, os.NewSyscallError("fcntl", errno)
	}
	return int(fd), nil
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
	if clean && l.file != nil && errors.Join(errs...) == nil {
		errs = append(errs, syncDir(l.config.Dir))
		l.state.clean = errors.Join(errs...) == nil
		errs = append(errs, l.writeHead(), datasync(l.head))
	}
	l.file = nil
	l.removeNow()
	for _, file := range []*os.File{l.head, l.dir} {
		if file != nil {
			errs = append(errs, file.Close())
		}
	}
	l.head, l.dir = nil, nil
	return errors.Join(errs...)
}
