package eventlog

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
)

// unsynced is what is not on the disk, taken over to be brought there without the lock.
type unsynced struct {
	// files are for the taker to close: of the current segment it is another descriptor, as
	// that one may be closed meanwhile.
	files    []*os.File
	segments []*segment // whose files these are, and which are on the disk then
	newest   uint64     // index of the current segment
	doomed   []*segment // may be removed then
	dirDirty bool       // the directory was changed
	there    bool       // the files are where the next Load looks for them
}

// Sync implements [hub.Log]. After an error the kernel may take for written what is not, so
// that no second try could tell: then only what is written anew counts, see [hub.Log].
func (l *Log) Sync() error {
	u, err := l.takeUnsynced()
	if errors.Is(err, errUnsynced) {
		return err
	}
	errs := []error{err}
	for _, file := range u.files {
		errs = append(errs, l.syncFile(file), file.Close())
	}
	if u.dirDirty {
		errs = append(errs, l.syncDir(l.config.Dir))
	}
	if !u.there {
		errs = append(errs, errVanished)
	}
	if err = errors.Join(errs...); err == nil {
		err = l.noteSynced(&u)
	}
	if err == nil {
		u.doomed = l.remove(u.doomed) // without the lock, as it takes time
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doomed = append(u.doomed, l.doomed...)
	if err != nil {
		l.state.lost = true
		_ = l.writeHead() // for a process that comes before all was written anew
		return fmt.Errorf("sync the log: %w", err)
	}
	return nil
}

// noteSynced notes what was synced. Before anything is removed that is on the disk as well:
// should the power fail before the removal is there, Load could else take what was removed
// for what counts.
func (l *Log) noteSynced(u *unsynced) error {
	head, err := l.markSynced(u)
	if head == nil || err != nil {
		return err
	}
	return errors.Join(l.syncFile(head), head.Close())
}

// markSynced writes what was synced to the head, and returns that if it is to be synced.
func (l *Log) markSynced(u *unsynced) (*os.File, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range u.segments {
		s.synced = true
	}
	if l.state.synced < u.newest {
		l.state.synced = u.newest
		if err := l.writeHead(); err != nil && len(u.doomed) > 0 {
			return nil, err
		} // else the next Append writes it; until then less counts as synced
	}
	if len(u.doomed) == 0 || l.head == nil {
		return nil, nil //nolint:nilnil // nothing to sync is no fault
	}
	return duplicate(l.head)
}

// takeUnsynced takes what is not on the disk.
func (l *Log) takeUnsynced() (u unsynced, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state.lost {
		return u, errUnsynced
	}
	l.closeDoomed()
	u.segments = slices.Clone(l.former)
	u.files, u.doomed, u.dirDirty = l.takeFormer(), l.doomed, l.dirDirty
	l.doomed = nil
	if l.file != nil {
		current := l.segments[len(l.segments)-1]
		u.newest = current.index
		if l.dirty {
			var file *os.File
			if file, err = duplicate(l.file); err == nil {
				u.files = append(u.files, file)
				u.segments = append(u.segments, current)
			}
		}
	}
	l.dirty, l.dirDirty = false, false
	u.there = l.file == nil || !replaced(l.file, l.segments[len(l.segments)-1].path(l.config.Dir, segmentSuffix), os.Lstat) &&
		l.head != nil && !replaced(l.head, l.headPath(), os.Lstat)
	return u, err
}

// duplicate returns another descriptor of a file.
func duplicate(file *os.File) (*os.File, error) {
	fd, _, errno := syscall.Syscall(syscall.SYS_FCNTL, file.Fd(), syscall.F_DUPFD_CLOEXEC, 0)
	if errno != 0 {
		return nil, os.NewSyscallError("fcntl", errno)
	}
	return os.NewFile(fd, file.Name()), nil
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
	l.closeDoomed()
	files := l.takeFormer()
	if l.file != nil {
		files = append(files, l.file)
	}
	var errs []error
	for _, file := range files {
		errs = append(errs, l.syncFile(file), file.Close())
	}
	if l.file != nil {
		errs = append(errs, l.syncDir(l.config.Dir))
		errs = append(errs, l.closeHead(clean, errors.Join(errs...) != nil))
	}
	synced := errors.Join(errs...) == nil && !l.state.lost
	l.file = nil
	l.removeNow(func(s *segment) bool { return synced || !s.synced })
	for _, file := range []*os.File{l.head, l.dir} {
		if file != nil {
			errs = append(errs, file.Close())
		}
	}
	l.head, l.dir = nil, nil
	return errors.Join(errs...)
}

// closeHead notes in the head whether the end is clean, and whether the segments were
// synced.
func (l *Log) closeHead(clean, failed bool) error {
	l.state.lost = l.state.lost || failed
	l.state.clean = clean && !l.state.lost
	if !l.state.lost {
		l.state.synced = l.segments[len(l.segments)-1].index
	}
	if err := l.writeHead(); err != nil || !l.state.clean {
		return err
	}
	return l.syncFile(l.head)
}
