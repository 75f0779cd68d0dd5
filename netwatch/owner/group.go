package owner

import (
	"time"
)

// group is the cgroup of a container, and what its processes said last.
type group struct {
	Container

	rule *matcher
	path string // in its hierarchy
	dir  place  // in the filesystem
	in   *hierarchy
	node *node

	stirred time.Time // when something new was last seen of it
	gone    bool      // the cgroup is
	open    bool      // listed in Finder.open
	turn    uint64    // the walk that asked last
	due     bool      // there is no answer yet that counts
	pid     int       // who was asked; 0 if it was empty
	ran     bool      // it was not the time before
	init    candidate // the init that was found; pid 0 is none
	nsid    int32     // what was said; none
	stamp   uint64    // that of the entry in the map it led to
}

// settling is for how long a container without an answer is asked in each walk.
const settling = 2 * time.Second

// ask finds out what namespace a container has.
func (f *Finder) ask(g *group) {
	f.begin(g)
	f.end(g, f.inquire(&f.reader, g))
}

// begin is what comes before inquire.
func (f *Finder) begin(g *group) {
	g.turn, g.ran = f.turn, g.pid != 0
	f.reopen(g)
}

// end is what comes after inquire, which says whether there is a process in the container.
func (f *Finder) end(g *group, populated bool) {
	if g.gone {
		return // by now; a watch would be on what has its name today, and keep from it what is told
	}
	if !populated && g.rule.lasting && g.node.watch == 0 {
		// The next run is to be heard of. That of a container that runs is not wanted.
		f.watches.add(g.in, g.node)
		populated = f.inquire(&f.reader, g)
	}
	if !populated && g.ran {
		g.stirred = time.Time{} // it ended, rather than that it is about to begin
	}
}

// inquire asks a container what namespace it has: that of its init. Where no process is
// one, as a container without a pid namespace of its own has none, it is that of the
// first process whose namespace has an nsid. It reports whether there is any process. It
// changes nothing of the Finder but the map, so several may inquire at a time, each of
// another container and with a reader of its own.
func (f *Finder) inquire(r *reader, g *group) (populated bool) {
	g.due, g.pid, g.nsid = false, 0, none
	defer r.release()
	if c := g.init; c.pid != 0 {
		if f.askOne(r, g, c) {
			return true
		}
		g.init, g.due = candidate{}, false // another one, or none by now
	}
	candidates := r.candidates(g)
	for _, c := range candidates {
		if f.askOne(r, g, c) {
			break
		}
	}
	return len(candidates) > 0
}

// askOne asks a process of a container, and reports whether its answer counts.
func (f *Finder) askOne(r *reader, g *group, c candidate) bool {
	nsid, stamp, err := f.query(r, g.Container, fromCgroup, c.pid, func() bool { return r.isIn(c.pid, c.dir) })
	if err != nil {
		// The process died or left. Who comes after it, the next walk sees.
		g.due = true
		r.fault(err)
		return false
	}
	if g.pid == 0 || nsid != none {
		g.pid, g.nsid, g.stamp = c.pid, nsid, stamp
	}
	if c.rank == rankInit {
		g.init = c
	}
	if c.rank == rankInit || nsid != none {
		g.due = false
		return true
	}
	return false
}

// recheck asks a container whose last answer may still hold, if it seems not to.
func (f *Finder) recheck(g *group) {
	if g.pid == 0 {
		if !f.unpopulated(g.dir) {
			f.ask(g)
		}
		return
	}
	if nsid, err := f.kernel.byPid(g.pid); err != nil || f.foreign(nsid) != g.nsid {
		f.ask(g)
	}
}

// settled reports whether the answer of a container is what the map says.
func (f *Finder) settled(g *group) bool {
	if g.due {
		return false
	}
	if g.nsid == none {
		// A container that is being started gets its namespace's id a moment later.
		return f.now.Sub(g.stirred) > settling
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	e, ok := f.known[g.nsid]
	return ok && e.stamp == g.stamp
}

// twin returns the same cgroup in another hierarchy if it has an answer already.
func (f *Finder) twin(of *hierarchy, g *group) *group {
	for _, h := range f.hierarchies {
		if h == of {
			break // only those before it, or two could each refer to the other
		}
		if t := h.byPath[g.path]; t != nil && t.nsid != none && f.settled(t) {
			return t
		}
	}
	return nil
}
