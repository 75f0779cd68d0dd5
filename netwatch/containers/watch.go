package containers

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// userPause is the least pause between two scans of the cgroups of users.
const userPause = time.Second

// watches is an inotify instance. A watch holds only the inode of a cgroup. The kernel reports the
// removal of a cgroup to the watch of its parent. It limits watches by user
// (fs.inotify.max_user_watches).
type watches struct {
	file       *os.File // nil if inotify is not available
	fd         int      // of file; file.Fd would remove it from the runtime's poller
	conn       syscall.RawConn
	nodes      map[int32]*node
	files      map[int32]*container // by the watch of their cgroup.events
	err        error                // why a cgroup has no watch; nil if all have one
	limited    bool                 // maxWatches was reached
	overflowed bool
	maxRead    int // bytes that are read while the Tracker is locked; 0 is no limit
	buf        [16 << 10]byte
}

const (
	// Cgroups of v1 can be renamed.
	dirMask = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_ONLYDIR | unix.IN_DONT_FOLLOW
	// The kernel sends IN_MODIFY when populated or frozen changes.
	fileMask = unix.IN_MODIFY | unix.IN_DONT_FOLLOW
)

// userEvents is how many bytes of events of users' cgroups are handled while the Tracker is locked.
const userEvents = 2 << 10

// openWatches never fails: without inotify there are no watches. maxRead is how many bytes of events are
// read at a time; 0 is no limit.
func openWatches(maxRead int) *watches {
	w := &watches{maxRead: maxRead, nodes: map[int32]*node{}, files: map[int32]*container{}}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err == nil {
		w.file, w.fd = os.NewFile(uintptr(fd), "inotify"), fd
		w.conn, err = w.file.SyscallConn()
	}
	w.err = err
	return w
}

func (w *watches) close() error {
	if w.file == nil {
		return nil
	}
	return w.file.Close()
}

// interrupt ends a wait.
func (w *watches) interrupt() {
	if w.file != nil {
		_ = w.file.SetReadDeadline(time.Unix(1, 0)) // fails only once the file is closed
	}
}

// wait calls read whenever the instance is readable until read returns true. wait returns false after
// interrupt.
func (w *watches) wait(read func() bool) bool {
	return w.file != nil && w.conn.Read(func(uintptr) bool { return read() }) == nil
}

// add watches a path. It returns 0 if that fails.
func (w *watches) add(path string, mask uint32) int32 {
	if w.file == nil {
		return 0
	}
	if len(w.nodes)+len(w.files) >= maxWatches {
		w.limited = true
		return 0
	}
	wd, err := unix.InotifyAddWatch(w.fd, path, mask)
	if err != nil {
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ENODEV) {
			w.err = err
		}
		return 0
	}
	return int32(wd) //nolint:gosec // the kernel counts in int
}

func (w *watches) remove(wd int32) {
	_, _ = unix.InotifyRmWatch(w.fd, uint32(wd)) //nolint:gosec // EINVAL: the cgroup is gone, and the watch with it
}

// watchesOf returns the instance for the cgroups of a user; 0 is the system.
func (t *Tracker) watchesOf(user uint32) *watches {
	if user == 0 {
		return t.system
	}
	return t.users
}

// watch watches a cgroup, and reports whether that succeeded.
func (t *Tracker) watch(n *node) bool {
	w := t.watchesOf(n.user)
	wd := w.add(n.dir(), dirMask)
	if wd == 0 {
		return false
	}
	n.watch = wd
	w.nodes[wd] = n
	return true
}

func (t *Tracker) unwatch(n *node) {
	w := t.watchesOf(n.user)
	if n.watch != 0 && w.nodes[n.watch] == n { // else another node of the same cgroup has it
		delete(w.nodes, n.watch)
		w.remove(n.watch)
	}
	n.watch = 0
}

// watchEvents watches the cgroup.events of a container.
func (t *Tracker) watchEvents(c *container) {
	if !c.node.h.v2 {
		return
	}
	w := t.watchesOf(c.node.within)
	if wd := w.add(c.node.dir()+"/cgroup.events", fileMask); wd != 0 {
		c.watch = wd
		w.files[wd] = c
	}
}

func (t *Tracker) unwatchEvents(c *container) {
	w := t.watchesOf(c.node.within)
	if c.watch != 0 && w.files[c.watch] == c {
		delete(w.files, c.watch)
		w.remove(c.watch)
	}
	c.watch = 0
}

// readWatches handles the queued events, at most maxRead bytes if that is set, and reports whether there
// were any.
func (t *Tracker) readWatches(w *watches) (some bool) {
	t.resetNames()
	for w.file != nil && !t.closed {
		b := w.buf[:]
		if w.maxRead > 0 {
			b = b[:w.maxRead]
		}
		n, err := unix.Read(w.fd, b)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			if w.overflowed && w == t.system {
				t.rescan(w)
			}
			t.updateMissingWatches()
			return some
		case err != nil:
			w.err = fmt.Errorf("inotify: %w", err)
			return some
		}
		some = true
		t.handleEvents(w, b[:n])
		if w.maxRead > 0 {
			return some
		}
	}
	return some
}

// handleEvents handles events: each is a struct inotify_event (wd, mask, cookie, length of the name, each
// of 4 bytes) and a name that ends in NULs.
func (t *Tracker) handleEvents(w *watches, b []byte) {
	for len(b) >= unix.SizeofInotifyEvent {
		wd := int32(binary.NativeEndian.Uint32(b)) //nolint:gosec // signed: -1 is no watch
		mask := binary.NativeEndian.Uint32(b[4:])
		size := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
		if size > len(b) {
			return
		}
		name, _, _ := bytes.Cut(b[unix.SizeofInotifyEvent:size], []byte{0})
		b = b[size:]
		n, c := w.nodes[wd], w.files[wd]
		switch {
		case mask&unix.IN_Q_OVERFLOW != 0:
			w.overflowed = true
		case mask&unix.IN_IGNORED != 0:
			delete(w.nodes, wd)
			delete(w.files, wd)
			if n != nil {
				n.watch = 0
			}
			if c != nil {
				c.watch = 0
			}
		case c != nil:
			t.updateState(c)
		case n == nil || mask&unix.IN_ISDIR == 0: // the watch was dropped, or the event is about a file
		case mask&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0:
			t.addCgroup(n, string(name))
		default:
			if kid := n.kids[string(name)]; kid != nil {
				if s, there := statDir(kid.dir()); !there || s.Ino != kid.ino {
					t.dropCgroup(kid)
				}
			}
		}
	}
}

// rescanIfOverflowed scans the cgroups of an instance again if events were lost, and reports whether it
// did.
func (t *Tracker) rescanIfOverflowed(w *watches) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !w.overflowed || t.closed {
		return false
	}
	t.rescan(w)
	return true
}

// rescan scans all cgroups of an instance, because events were lost or a limit was reached.
func (t *Tracker) rescan(w *watches) {
	w.overflowed, w.limited, w.err = false, false, nil
	t.resetNames()
	for _, u := range t.perUser {
		u.limited = u.limited && w != t.users
	}
	t.comparing = true
	defer func() { t.comparing = false }()
	for _, h := range t.hierarchies {
		t.relist(h.top, w == t.users)
	}
	t.compareStates(w)
	t.updateMissingWatches()
	if w == t.system && t.room > 0 {
		t.setMissing(missingLimit, "")
	}
}
