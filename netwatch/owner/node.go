package owner

// node is a cgroup that was seen, as it was then. When all are watched only what the
// watches tell is looked at. When not: most have not changed by the next
// walk, and to see that takes one stat. A cgroup has two links more than it has
// others in it, and its inode is never given to another; so if the number of links
// is what it was and those in it are still the same, there is no new one.
type node struct {
	place

	parent *node
	depth  int
	ino    uint64
	links  uint64
	kids   map[string]*node // by name
	listed bool             // kids are known
	sure   bool             // the inode was seen in a listing by this pass
	pass   uint64           // the pass that queued it last
	seen   bool             // a pass looked at it
	gone   bool             // it is no longer in its parent
	watch  int32            // 0 is none
	held   *shortcut        // to it, as many are in it
	only   string           // the only one to look for in it; "" is any
	group  *group           // if it is a container's; what is inside is not walked then
}

// inside returns the shortcut to those in a cgroup.
func (n *node) inside() *shortcut {
	if n.held != nil && n.held.fd >= 0 {
		return n.held
	}
	return n.via
}

func (f *Finder) newNode(h *hierarchy, parent *node, name string, ino uint64) *node {
	n := &node{place: place{parent.path + "/" + name, parent.inside()}, parent: parent, depth: parent.depth + 1, ino: ino}
	path := n.path[len(h.dir):]
	if c, m := matchEnd(f.rules, path); m != nil {
		n.group = &group{Container: c, rule: m, path: path, dir: n.place, in: h, node: n, stirred: f.now, nsid: none, due: true}
	} else {
		n.only = awaited(f.rules, path)
	}
	return n
}

// adopt adds a node to its parent.
func (f *Finder) adopt(h *hierarchy, parent *node, name string, kid *node) {
	if parent.kids == nil {
		parent.kids = map[string]*node{}
	}
	parent.kids[name] = kid
	h.size++
}

// drop forgets a node that was taken from its parent, and what is below it.
func (f *Finder) drop(h *hierarchy, n *node) {
	h.size--
	f.watches.drop(n)
	if n.group != nil {
		n.group.gone, h.stale = true, true
	}
	n.gone = true
	for _, kid := range n.kids {
		f.drop(h, kid)
	}
	n.kids = nil
}
