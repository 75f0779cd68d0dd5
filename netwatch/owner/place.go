package owner

import (
	"golang.org/x/sys/unix"
)

// place is where a cgroup is in the filesystem. Those of which there are many in one are
// looked up from that: of a whole path the kernel asks each cgroup anew whether it is still
// there (kernfs_dop_revalidate in its fs/kernfs/dir.c), which took a quarter of a first walk.
type place struct {
	path string
	via  *shortcut // nil: there is none
}

// shortcut is a cgroup that is held open while a walk over cgroups goes on. Until it ends many may
// use it, but only the walk's goroutine may then close it.
type shortcut struct {
	path string
	fd   int // -1: it is closed, and paths are looked up as a whole
}

const (
	maxShortcuts = 8  // that a walk holds open
	spareFiles   = 64 // that may still be opened after one, about
)

// at returns the place as openat and the like take it.
func (p place) at() (dirfd int, path string) {
	if p.via == nil || p.via.fd < 0 {
		return unix.AT_FDCWD, p.path
	}
	return p.via.fd, p.path[len(p.via.path)+1:]
}

// in returns the place of a cgroup or a file in one.
func (p place) in(name string) place { return place{p.path + "/" + name, p.via} }

// open opens what is there for reading.
func (p place) open(flags int) (fd int, err error) {
	dirfd, path := p.at()
	return unix.Openat(dirfd, path, flags|unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0) //nolint:wrapcheck // the caller says what for
}

// shorten returns a shortcut to a cgroup that is open, or nil if there are enough
// already. It holds until the walk ends.
func (f *Finder) shorten(p place, fd int) *shortcut {
	if len(f.shortcuts) >= maxShortcuts {
		return nil
	}
	// The number is the lowest that was free, so about as many are open.
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || uint64(fd)+spareFiles >= limit.Cur { //nolint:gosec // a file descriptor
		return nil
	}
	held, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil // paths do as well
	}
	s := &shortcut{p.path, held}
	f.shortcuts = append(f.shortcuts, s)
	return s
}

// closeShortcuts comes after all who use them, and that is soon: what is held open cannot be
// unmounted.
func (f *Finder) closeShortcuts() {
	for _, s := range f.shortcuts {
		closeFD(s.fd)
		s.fd = -1
	}
	f.shortcuts = f.shortcuts[:0]
}
