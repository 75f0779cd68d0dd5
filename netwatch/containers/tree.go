package containers

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Limits. Beyond them cgroups are not looked at, but containers of the system always are.
const (
	maxDepth      = 16    // levels below the root
	maxWatches    = 8192  // of an instance
	maxContainers = 65536 // of the system
)

// node is a cgroup. What is inside a container's is not looked at.
type node struct {
	h         *hierarchy
	parent    *node
	name      string
	path      string // below the hierarchy's directory; "" for the top
	ino       uint64
	within    uint32 // the user whose directory it stands in; 0 if all above is root's
	user      uint32 // the user that it belongs to: within, or its own
	depth     int
	kids      map[string]*node // by name
	watch     int32            // 0 is none
	container *container
}

func (n *node) dir() string { return n.h.dir + n.path }

// stat looks at a directory; ok is false if it is none.
func stat(path string) (s unix.Stat_t, ok bool) {
	err := unix.Lstat(path, &s)
	return s, err == nil && s.Mode&unix.S_IFMT == unix.S_IFDIR
}

// refreshUser notes whose a cgroup is now: it is given away after it was made.
func (t *Tracker) refreshUser(n *node) {
	s, ok := stat(n.dir())
	if !ok || n.user != 0 || s.Uid == 0 {
		return
	}
	t.unwatch(n)
	n.user = s.Uid
	t.countCgroup(n.user, 1)
	t.watch(n)
}

// list brings what is known of the cgroups in one up to date.
func (t *Tracker) list(n *node) {
	dir, err := os.Open(n.dir())
	if err != nil {
		t.fault(err)
		return
	}
	defer dir.Close() //nolint:errcheck // only read
	for name := range n.kids {
		t.add(n, name) // which drops those that are gone
	}
	for {
		entries, err := dir.ReadDir(256)
		for _, e := range entries {
			if _, known := n.kids[e.Name()]; known || !e.IsDir() {
				continue
			}
			if !t.mayLook(n.user) {
				return
			}
			t.add(n, e.Name())
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.fault(err)
			}
			return
		}
	}
}

// add looks at a cgroup in another that may be new. Of one that was replaced the inode is another.
func (t *Tracker) add(parent *node, name string) {
	if parent.container != nil {
		return
	}
	t.refreshUser(parent)
	n := &node{h: parent.h, parent: parent, name: name, path: parent.path + "/" + name, within: parent.user, depth: parent.depth + 1}
	s, ok := stat(n.dir())
	if old := parent.kids[name]; old != nil {
		if ok && old.ino == s.Ino {
			return
		}
		t.drop(old)
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
	// Watched first: what comes while it is listed is told twice rather than not at all.
	if !t.watch(n) && n.user != 0 {
		t.usageOf(n.user).beyond = true
		return
	}
	parent.kids[name] = n
	t.countCgroup(n.user, 1)
	t.list(n)
}

// drop forgets a cgroup that is gone, and what was below it.
func (t *Tracker) drop(n *node) {
	for _, kid := range n.kids {
		t.drop(kid)
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

// relist looks at all cgroups anew: those of the system, or those of users.
func (t *Tracker) relist(n *node, ofUsers bool) {
	if n.container != nil {
		return
	}
	if (n.user != 0) == ofUsers {
		t.list(n)
	}
	for _, kid := range n.kids {
		if ofUsers || kid.user == 0 {
			t.relist(kid, ofUsers)
		}
	}
}
