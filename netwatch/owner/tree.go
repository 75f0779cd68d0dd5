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

// refresh brings what is known of a hierarchy up to date, level by level, but what is
// new first and to its end, and asks containers that are new. When there is nothing new left
// and what is wanted is known, it stops, unless that leaves too many containers that may
// be gone. It returns false if it saw only a part.
func (f *Finder) refresh(ctx context.Context, h *hierarchy, wanted int32) bool {
	if h.top == nil {
		h.top = &node{place: place{path: h.dir}}
	}
	if h.followed && f.same(h.top, nil) {
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
	case n.sure || f.same(n, nil):
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
	if !f.same(n, &links) {
		if n.parent == nil {
			f.drop(h, n) // unmounted, or mounted anew: from the start next time
			*n = node{place: n.place}
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
	there := f.same(kid, nil)
	if !there {
		f.watches.add(h, n)
		there = f.same(kid, nil)
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
func (f *Finder) same(n *node, links *uint64) bool {
	var stat unix.Stat_t
	dirfd, path := n.at()
	if err := unix.Fstatat(dirfd, path, &stat, unix.AT_SYMLINK_NOFOLLOW); err != nil || stat.Mode&unix.S_IFMT != unix.S_IFDIR {
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
	n.links, n.held = 0, nil
	var ino uint64 // of what is listed
	err := f.readDir(n.place, func(fd int, stat *unix.Stat_t) {
		ino, n.links = stat.Ino, uint64(stat.Nlink) //nolint:unconvert,nolintlint // 32 bits on some architectures
		if n.links > crowdFor {
			n.held = f.shorten(n.place, fd)
		}
	}, func(name []byte, ino uint64) bool {
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
		kid.sure, kid.via = true, n.inside()
		kids[string(name)] = kid
		return true
	})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		f.fault(err)
	}
	for _, gone := range old {
		f.drop(h, gone)
	}
	n.kids, n.listed = kids, err == nil && whole && ino == n.ino // else another one by the next pass
	h.unwatched = h.unwatched || !n.listed
	return kids
}
