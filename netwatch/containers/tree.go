package containers

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Limits. Cgroups beyond them are ignored.
const (
	maxDepth      = 16    // levels below the root
	maxWatches    = 8192  // of one inotify instance
	maxContainers = 65536 // of the system
)

// node is a cgroup: a container's, or one that may have containers below it. Cgroups inside a
// container's have no node.
type node struct {
	h         *hierarchy
	parent    *node
	name      string
	path      string // below the hierarchy's directory; "" for the top
	ino       uint64
	within    uint32 // uid of the user that a cgroup above belongs to; 0 if all above belong to root
	user      uint32 // within, or the uid that the cgroup itself belongs to
	depth     int
	kids      map[string]*node // by name
	watch     int32            // 0 is none
	container *container
}

func (n *node) dir() string { return n.h.dir + n.path }

// statDir stats a directory; ok is false if path is no directory.
func statDir(path string) (s unix.Stat_t, ok bool) {
	err := unix.Lstat(path, &s)
	return s, err == nil && s.Mode&unix.S_IFMT == unix.S_IFDIR
}

// refreshUser checks whether n, or the delegated cgroup above it, has a new owner. If so, it lists that cgroup again
// and returns true.
func (t *Tracker) refreshUser(n *node) bool {
	for n.within != 0 {
		n = n.parent
	}
	s, ok := statDir(n.dir())
	if !ok || s.Uid == n.user {
		return false
	}
	for _, kid := range n.kids {
		t.dropCgroup(kid)
	}
	t.unwatch(n)
	t.countCgroup(n.user, -1)
	n.user = s.Uid
	t.countCgroup(n.user, 1)
	t.watch(n)
	t.list(n)
	return true
}

// list reads the directory of a cgroup and updates its kids.
func (t *Tracker) list(n *node) {
	dir, err := os.Open(n.dir())
	if err != nil {
		t.logFault(err)
		return
	}
	defer dir.Close() //nolint:errcheck // only read
	for name := range n.kids {
		t.addCgroup(n, name) // which drops those that are gone
	}
	for {
		entries, err := dir.ReadDir(256)
		for _, e := range entries {
			if _, known := n.kids[e.Name()]; known || !e.IsDir() {
				continue
			}
			if !t.mayReadName(n.user) {
				return
			}
			t.addCgroup(n, e.Name())
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.logFault(err)
			}
			return
		}
	}
}

// addCgroup adds a cgroup that may be new. A cgroup whose inode changed was replaced.
func (t *Tracker) addCgroup(parent *node, name string) {
	dropped := parent.parent != nil && parent.parent.kids[parent.name] != parent // by refreshUser, during a list
	if parent.container != nil || dropped || t.refreshUser(parent) {
		return
	}
	n := &node{h: parent.h, parent: parent, name: name, path: parent.path + "/" + name, within: parent.user, depth: parent.depth + 1}
	s, ok := statDir(n.dir())
	if old := parent.kids[name]; old != nil {
		if ok && old.ino == s.Ino {
			return
		}
		t.dropCgroup(old)
	}
	if !ok {
		return
	}
	if n.ino, n.user = s.Ino, n.within; n.user == 0 {
		n.user = s.Uid
	}
	if c, m := match(t.rules, parent.path, name); m != nil {
		t.addContainer(n, c, m)
		return
	}
	if n.depth > maxDepth || !t.mayWatch(n.user) {
		return
	}
	n.kids = map[string]*node{}
	// Watch before listing, so that a new cgroup is seen twice rather than not at all.
	if !t.watch(n) && n.user != 0 {
		t.usageOf(n.user).limited = true
		return
	}
	parent.kids[name] = n
	t.countCgroup(n.user, 1)
	t.list(n)
}

// dropCgroup drops a cgroup that is gone, and the cgroups below it.
func (t *Tracker) dropCgroup(n *node) {
	for _, kid := range n.kids {
		t.dropCgroup(kid)
	}
	t.unwatch(n)
	if n.parent != nil && n.parent.kids[n.name] == n {
		delete(n.parent.kids, n.name)
	}
	if n.container != nil {
		t.dropContainer(n)
	} else {
		t.countCgroup(n.user, -1)
	}
}

// relist lists a cgroup and all below it again: only those of the system, or only those of users.
func (t *Tracker) relist(n *node, ofUsers bool) {
	if n.container != nil {
		return
	}
	if (n.user != 0) == ofUsers {
		if n.watch == 0 { // a limit was reached before
			t.watch(n)
		}
		t.list(n)
	}
	for _, kid := range n.kids {
		if ofUsers || kid.user == 0 {
			t.relist(kid, ofUsers)
		}
	}
}
