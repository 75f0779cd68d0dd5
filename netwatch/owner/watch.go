package owner

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// watches tell which cgroups were made and removed since they were last asked: an
// inotify instance that is read by walks alone, so that it wakes nobody. With them a
// walk costs as much as has changed, not as much as there is.
//
// A watch holds the inode of a cgroup and nothing of what is in it. The kernel does
// not say to the watch of a cgroup that this is removed, but to that of its parent,
// hence a watch is taken away by whoever hears that. Kernels count watches by user
// (fs.inotify.max_user_watches); a cgroup that gets none is looked at by walks.
type watches struct {
	fd    int   // -1: there is no inotify for us
	err   error // why a cgroup has no watch; nil if all have that could be
	nodes map[int32]watched
	buf   [16 << 10]byte
}

// watched is what a watch is on.
type watched struct {
	h *hierarchy
	n *node
}

// news is an event of a watch.
type news struct {
	watched

	name string // of the cgroup in n that it is about
	made bool   // or it is gone
}

// watchMask asks for cgroups that come and go. Those of v1 can be renamed.
const watchMask = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO |
	unix.IN_ONLYDIR | unix.IN_DONT_FOLLOW

// openWatches never fails: without inotify there are no watches.
func openWatches() *watches {
	w := &watches{nodes: map[int32]watched{}}
	if w.fd, w.err = unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); w.err != nil {
		w.fd = -1
	}
	return w
}

func (w *watches) close() {
	if w.fd >= 0 {
		closeFD(w.fd)
		w.fd = -1
	}
}

// add watches a cgroup, if that can be.
func (w *watches) add(h *hierarchy, n *node) {
	if w.fd < 0 || n.watch != 0 {
		return
	}
	wd, err := unix.InotifyAddWatch(w.fd, n.path, watchMask)
	if err != nil {
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
			w.err = err
		}
		return
	}
	n.watch = int32(wd) //nolint:gosec // the kernel counts in int
	w.nodes[n.watch] = watched{h, n}
}

// drop ends a watch.
func (w *watches) drop(n *node) {
	if n.watch == 0 {
		return
	}
	if w.nodes[n.watch].n == n { // else it is that of another node for the same cgroup
		delete(w.nodes, n.watch)
		_, _ = unix.InotifyRmWatch(w.fd, uint32(n.watch)) //nolint:gosec // EINVAL: it went with its cgroup
	}
	n.watch = 0
}

// read calls fn for what happened since the last call. lost is true if that is not all.
func (w *watches) read(fn func(news)) (lost bool) {
	for w.fd >= 0 {
		n, err := retry(func() (int, error) { return unix.Read(w.fd, w.buf[:]) })
		if errors.Is(err, unix.EAGAIN) {
			return lost
		}
		if err != nil {
			w.close()
			w.err = fmt.Errorf("inotify: %w", err)
			return true
		}
		lost = w.decode(w.buf[:n], fn) || lost
	}
	return false
}

// decode reads struct inotify_event: wd 4, mask 4, cookie 4, length of the name 4, a
// name that NULs end.
func (w *watches) decode(b []byte, fn func(news)) (lost bool) {
	for len(b) >= unix.SizeofInotifyEvent {
		wd := int32(binary.NativeEndian.Uint32(b)) //nolint:gosec // it is signed: -1 is of no watch
		mask := binary.NativeEndian.Uint32(b[4:])
		size := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
		if size > len(b) {
			return true
		}
		name, _, _ := bytes.Cut(b[unix.SizeofInotifyEvent:size], []byte{0})
		b = b[size:]
		of, known := w.nodes[wd]
		switch {
		case mask&unix.IN_Q_OVERFLOW != 0:
			lost = true
		case !known: // of a watch that was dropped
		case mask&(unix.IN_IGNORED|unix.IN_UNMOUNT) != 0:
			delete(w.nodes, wd)
			of.n.watch = 0
			lost = true
		case mask&unix.IN_ISDIR != 0:
			fn(news{of, string(name), mask&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0})
		}
	}
	return lost
}
