package owner

import (
	"context"
	"slices"
	"time"
)

// follow takes what the watches tell, and asks containers that are new.
func (f *Finder) follow(ctx context.Context) {
	defer f.closeShortcuts()
	f.pass++
	lost := f.watches.read(f.hear)
	for _, h := range f.hierarchies {
		f.queue, f.fresh, f.queued = f.queue[:0], append(f.fresh[:0], h.made...), len(h.made)
		slices.Reverse(f.fresh) // the last is looked at first: that is the one that waits longest
		h.made = h.made[:0]
		f.settleGroups(h, f.drain(ctx, h, nil))
		if lost || ctx.Err() != nil { // then not all that is new was looked at
			h.followed = false
		}
	}
}

// hear takes one event.
func (f *Finder) hear(e news) {
	n := e.n
	if g := n.group; g != nil { // whose cgroup stays when the container stops
		if g.stirred = (time.Time{}); e.made {
			g.due, g.stirred = true, f.now
			f.reopen(g)
		}
		return
	}
	if n.only != "" && n.only != e.name {
		return
	}
	old := n.kids[e.name]
	kid := f.newNode(e.h, n, e.name, 0)
	there := e.made && f.same(kid, nil)
	if there && old != nil && old.ino == kid.ino {
		return // it was listed before this was heard
	}
	if old != nil {
		delete(n.kids, e.name)
		f.drop(e.h, old)
	}
	switch {
	case !there:
	case e.h.size >= maxDirs:
		f.lack(lackLimit, e.h.dir)
		e.h.followed = false
	default:
		f.adopt(e.h, n, e.name, kid)
		kid.sure, kid.pass = true, f.pass
		e.h.made = append(e.h.made, kid)
	}
}
