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

// userPause is how long, at least, users' cgroups are not looked at after they made more of them than
// could be told.
const userPause = time.Second

// watches is an inotify instance. A watch holds the inode of a cgroup and nothing of what is in
// it. The kernel does not say to the watch of a cgroup that this is removed, but to that of its
// parent. Kernels count watches by user (fs.inotify.max_user_watches).
type watches struct {
	file       *os.File // nil: there is no inotify for us
	fd         int      // of the file, whose Fd would take it out of the runtime's poller
	conn       syscall.RawConn
	nodes      map[int32]*node
	files      map[int32]*container // by the watch on their cgroup.events
	err        error                // why a cgroup has no watch; nil if all have
	beyond     bool                 // maxWatches was reached
	overflowed bool
	most       int // bytes that are read with the lock held; 0 is no limit
	buf        [16 << 10]byte
}

const (
	// Cgroups of v1 can be renamed.
	dirMask = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_ONLYDIR | unix.IN_DONT_FOLLOW
	// The kernel says IN_MODIFY when populated or frozen changes.
	fileMask = unix.IN_MODIFY | unix.IN_DONT_FOLLOW
)

// userEvents is how many bytes of events of users' cgroups are dealt with before others have a turn.
const userEvents = 2 << 10

// openWatches never fails: without inotify there are no watches. most is 0 or how many bytes of
// events are read at a time.
func openWatches(most int) *watches {
	w := &watches{most: most, nodes: map[int32]*node{}, files: map[int32]*container{}}
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

// wait calls read, and again when there is something to read, until it returns true. It returns
// false at the end.
func (w *watches) wait(read func() bool) bool {
	return w.file != nil && w.conn.Read(func(uintptr) bool { return read() }) == nil
}

// add watches a path, and returns 0 if that cannot be.
func (w *watches) add(path string, mask uint32) int32 {
	if w.file == nil {
		return 0
	}
	if len(w.nodes)+len(w.files) >= maxWatches {
		w.beyond = true
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
	_, _ = unix.InotifyRmWatch(w.fd, uint32(wd)) //nolint:gosec // EINVAL: it went with its cgroup
}

// of returns the instance for what belongs to a user, 0 for the system.
func (t *Tracker) of(user uint32) *watches {
	if user == 0 {
		return t.system
	}
	return t.users
}

// watch watches a cgroup, and reports whether that can be.
func (t *Tracker) watch(n *node) bool {
	w := t.of(n.user)
	wd := w.add(n.dir(), dirMask)
	if wd == 0 {
		return false
	}
	n.watch = wd
	w.nodes[wd] = n
	return true
}

func (t *Tracker) unwatch(n *node) {
	w := t.of(n.user)
	if n.watch != 0 && w.nodes[n.watch] == n { // else it is that of another node for the same cgroup
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
	w := t.of(c.node.within)
	if wd := w.add(c.node.dir()+"/cgroup.events", fileMask); wd != 0 {
		c.watch = wd
		w.files[wd] = c
	}
}

func (t *Tracker) unwatchEvents(c *container) {
	w := t.of(c.node.within)
	if c.watch != 0 && w.files[c.watch] == c {
		delete(w.files, c.watch)
		w.remove(c.watch)
	}
	c.watch = 0
}

// readWatches takes what the watches tell, as much as there is or may be read at a time, and reports
// whether that was anything.
func (t *Tracker) readWatches(w *watches) (some bool) {
	t.renewLooks()
	for w.file != nil && !t.closed {
		b := w.buf[:]
		if w.most > 0 {
			b = b[:w.most]
		}
		n, err := unix.Read(w.fd, b)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			if w.overflowed && w == t.system {
				t.recover(w)
			}
			t.lackWatches()
			return some
		case err != nil:
			w.err = fmt.Errorf("inotify: %w", err)
			return some
		}
		some = true
		t.takeEvents(w, b[:n])
		if w.most > 0 {
			return some
		}
	}
	return some
}

// takeEvents reads struct inotify_event: wd 4, mask 4, cookie 4, length of the name 4, a name that
// NULs end.
func (t *Tracker) takeEvents(w *watches, b []byte) {
	for len(b) >= unix.SizeofInotifyEvent {
		wd := int32(binary.NativeEndian.Uint32(b)) //nolint:gosec // it is signed: -1 is of no watch
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
			t.takeState(c)
		case n == nil || mask&unix.IN_ISDIR == 0: // of a watch that was dropped, or a file
		case mask&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0:
			t.add(n, string(name))
		default:
			if kid := n.kids[string(name)]; kid != nil {
				if s, there := stat(kid.dir()); !there || s.Ino != kid.ino {
					t.drop(kid)
				}
			}
		}
	}
}

// overflowed looks at users' cgroups anew if they made more than could be told.
func (t *Tracker) overflowed(w *watches) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !w.overflowed || t.closed {
		return false
	}
	t.recover(w)
	return true
}

// recover looks at all cgroups of an instance anew, because it was not told of some.
func (t *Tracker) recover(w *watches) {
	w.overflowed, w.beyond, w.err = false, false, nil
	t.renewLooks()
	for _, u := range t.perUser {
		u.beyond = u.beyond && w != t.users
	}
	t.comparing = true
	defer func() { t.comparing = false }()
	for _, h := range t.hierarchies {
		t.relist(h.top, w == t.users)
	}
	t.compareStates(w)
	t.lackWatches()
	if w == t.system && t.room > 0 {
		t.lack(lackLimit, "")
	}
}
