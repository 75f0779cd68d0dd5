package owner

import (
	"context"
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// Limits of a walk over a hierarchy. Beyond them cgroups are not seen, and
// [Finder.Missing] says so; containers there may still be found by their processes.
const (
	maxDirs  = 20_000 // cgroups of a hierarchy, those inside of containers aside
	maxDepth = 16     // levels below the root
)

// fewKids is how many cgroups in one are asked for one by one rather than listed.
const fewKids = 16

// node is a cgroup that was seen, as it was then. When all are watched only what the
// watches tell is looked at. When not: most have not changed by the next
// walk, and to see that takes one stat. A cgroup has two links more than it has
// others in it, and its inode is never given to another; so if the number of links
// is what it was and those in it are still the same, there is no new one.
type node struct {
	path   string // in the hierarchy; "" for its root
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
	only   string           // the only one to look for in it; "" is any
	group  *group           // if it is a container's; what is inside is not walked then
}

// refresh brings what is known of a hierarchy up to date, level by level, but what is
// new first and to its end, and asks containers that are new. When there is nothing new left
// and what is wanted is known, it stops, unless that leaves too many containers that may
// be gone. It returns false if it saw only a part.
func (f *Finder) refresh(ctx context.Context, h *hierarchy, wanted int32) bool {
	if h.top == nil {
		h.top = &node{}
	}
	if h.followed && f.same(h, h.top, nil) {
		return true
	}
	f.pass++
	h.top.sure, h.unwatched = false, false
	if f.watches.fd >= 0 {
		f.watches.err = nil
	}
	f.queue, f.fresh, f.queued = append(f.queue[:0], h.top), f.fresh[:0], 1
	// Once all is watched a walk costs next to nothing, so the way there is gone to the end.
	enough := func() bool {
		return (h.unwatched || f.watches.fd < 0) && len(h.groups) <= 2*h.whole+fewKids && f.has(wanted)
	}
	added := f.drain(ctx, h, enough)
	whole := len(f.queue) == 0 && ctx.Err() == nil
	f.settleGroups(h, added)
	if whole {
		h.whole = len(h.groups)
		f.lackWatches()
	}
	h.followed = whole && !h.unwatched && f.watches.fd >= 0
	return whole
}

// drain looks at what is queued and what comes of that, until there is no more or it is
// enough. It returns the containers that are new.
func (f *Finder) drain(ctx context.Context, h *hierarchy, enough func() bool) (added []*group) {
	old := 0
	defer func() { f.queue, f.fresh = f.queue[old:], f.fresh[:0] }()
	defer f.disperse()
	for ctx.Err() == nil {
		if f.crowd == nil && len(f.fresh) >= crowdFor {
			f.gather()
		}
		var n *node
		switch {
		case len(f.fresh) > 0:
			// The last first: down to a container, which is asked while others are looked for.
			last := len(f.fresh) - 1
			n, f.fresh = f.fresh[last], f.fresh[:last]
		case old == len(f.queue) || enough != nil && enough():
			return added
		default:
			n = f.queue[old]
			old++
		}
		if n.gone {
			continue
		}
		if g := f.step(h, n); g != nil {
			if !n.seen {
				added = append(added, g)
			}
			f.askDue(h, g)
		}
		n.seen = true
	}
	return added
}

// settleGroups takes new containers, and drops those that are gone.
func (f *Finder) settleGroups(h *hierarchy, added []*group) {
	if len(added) == 0 && !h.stale {
		return
	}
	h.stale = false
	for _, g := range added {
		f.reopen(g)
	}
	groups := append(h.groups, added...)
	h.setGroups(slices.DeleteFunc(groups, func(g *group) bool { return g.gone }), len(f.hierarchies) > 1)
}

// step looks at a cgroup and queues what to look at next. It returns the container's
// if it is one.
func (f *Finder) step(h *hierarchy, n *node) *group {
	switch {
	case n.group == nil:
		f.push(h, f.visit(h, n))
	case n.sure || f.same(h, n, nil):
		return n.group
	default:
		f.push(h, f.relist(h, n.parent))
	}
	return nil
}

// push queues nodes that this walk has not queued yet.
func (f *Finder) push(h *hierarchy, kids map[string]*node) {
	for _, kid := range kids {
		switch {
		case kid.pass == f.pass:
			continue
		case f.room() <= 0:
			f.lack(lackLimit, h.dir)
			return
		case kid.seen:
			f.queue = append(f.queue, kid)
		default:
			f.fresh = append(f.fresh, kid)
		}
		kid.pass = f.pass
		f.queued++
	}
}

// room returns how many cgroups this walk may still queue.
func (f *Finder) room() int { return maxDirs - f.queued }

// setGroups takes the containers that are there now. Of twins in several hierarchies
// one has to be asked; see Finder.twin.
func (h *hierarchy) setGroups(groups []*group, twins bool) {
	h.groups, h.byPath = groups, nil
	if !twins {
		return
	}
	h.byPath = make(map[string]*group, len(groups))
	for _, g := range groups {
		h.byPath[g.path] = g
	}
}

// visit returns the cgroups to look at next: those in one that is no container's, or
// if that is not what it was any more, those that are in its parent now.
func (f *Finder) visit(h *hierarchy, n *node) map[string]*node {
	if n.only != "" {
		return f.lookup(h, n)
	}
	// First: what comes while it is looked at is told twice rather than not at all.
	f.watches.add(h, n)
	if n.sure && !n.listed && n.depth < maxDepth {
		h.unwatched = h.unwatched || n.watch == 0
		return f.list(h, n)
	}
	var links uint64
	if !f.same(h, n, &links) {
		if n.parent == nil {
			f.drop(h, n) // unmounted, or mounted anew: from the start next time
			*n = node{}
			h.size, h.unwatched = 0, true
			return nil
		}
		return f.relist(h, n.parent)
	}
	h.unwatched = h.unwatched || n.watch == 0
	if n.depth >= maxDepth {
		if links > 2 {
			f.lack(lackLimit, h.dir)
		}
		return nil
	}
	// Not all filesystems count a directory's links so; then links is 1.
	if links == 2 && len(n.kids) == 0 {
		return nil
	}
	if n.listed && links >= 2 && links == n.links && uint64(len(n.kids)) == links-2 && len(n.kids) <= fewKids {
		for _, kid := range n.kids {
			kid.sure = false
		}
		return n.kids
	}
	return f.list(h, n)
}

// lookup returns the only cgroup to look for in one, which is watched only until that is
// there: they go together, or else a walk finds what came of it by its path.
func (f *Finder) lookup(h *hierarchy, n *node) map[string]*node {
	old, kid := n.kids[n.only], f.newNode(h, n, n.only, 0)
	there := f.same(h, kid, nil)
	if !there {
		f.watches.add(h, n)
		there = f.same(h, kid, nil)
		h.unwatched = h.unwatched || n.watch == 0
	} else if n.watch != 0 {
		f.watches.drop(n)
	}
	if there && old != nil && old.ino == kid.ino {
		old.sure = true
		return n.kids
	}
	if old != nil {
		delete(n.kids, n.only)
		f.drop(h, old)
	}
	if !there {
		return nil
	}
	kid.sure = true
	f.adopt(h, n, n.only, kid)
	return n.kids
}

// same reports whether the cgroup is still there, and the one that it was.
func (f *Finder) same(h *hierarchy, n *node, links *uint64) bool {
	var stat unix.Stat_t
	if err := unix.Lstat(h.dir+n.path, &stat); err != nil || stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		return false
	}
	if n.ino == 0 { // the root, or one that a watch told of
		n.ino = stat.Ino
	}
	if links != nil {
		*links = uint64(stat.Nlink) //nolint:unconvert,nolintlint // 32 bits on some architectures
	}
	return stat.Ino == n.ino
}

// relist lists a cgroup in which one was found to be gone, once in a walk.
func (f *Finder) relist(h *hierarchy, n *node) map[string]*node {
	if n.links == 0 {
		return nil // it was
	}
	kids := f.list(h, n)
	n.links = 0 // so that the next walk lists it again
	return kids
}

// list returns the cgroups in one by reading the directory.
func (f *Finder) list(h *hierarchy, n *node) map[string]*node {
	old := n.kids
	kids := make(map[string]*node, len(old)+1)
	limit := len(old) + max(f.room(), 0)
	whole := true
	stat, err := f.readDir(h.dir+n.path, func(name []byte, ino uint64) bool {
		if whole = len(kids) < limit; !whole {
			f.lack(lackLimit, h.dir)
			return false
		}
		kid := old[string(name)]
		if kid == nil || kid.ino != ino {
			kid = f.newNode(h, n, string(name), ino)
			h.size++
		} else {
			delete(old, string(name))
		}
		kid.sure = true
		kids[string(name)] = kid
		return true
	})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		f.fault(err)
	}
	for _, gone := range old {
		f.drop(h, gone)
	}
	n.kids, n.listed = kids, err == nil && whole && stat.Ino == n.ino // else another one by the next pass
	n.links = uint64(stat.Nlink)                                      //nolint:unconvert,nolintlint // 32 bits on some architectures
	h.unwatched = h.unwatched || !n.listed
	return kids
}

func (f *Finder) newNode(h *hierarchy, parent *node, name string, ino uint64) *node {
	path := parent.path + "/" + name
	parts := split(path)
	n := &node{path: path, parent: parent, depth: parent.depth + 1, ino: ino}
	if c, m := matchEnd(f.rules, parts); m != nil {
		n.group = &group{Container: c, rule: m, path: path, dir: h.dir + path, in: h, node: n, stirred: f.now, nsid: none, due: true}
	} else {
		n.only = awaited(f.rules, parts)
	}
	return n
}
