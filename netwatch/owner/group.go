package owner

import (
	"bytes"
	"cmp"
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// group is the cgroup of a container, and what its processes said last.
type group struct {
	Container

	rule *matcher
	path string // in its hierarchy
	dir  string // in the filesystem
	in   *hierarchy
	node *node

	stirred time.Time // when something new was last seen of it
	gone    bool      // the cgroup is
	open    bool      // listed in Finder.open
	turn    uint64    // the walk that asked last
	due     bool      // there is no answer yet that counts
	pid     int       // who was asked; 0 if it was empty
	init    candidate // the init that was found; pid 0 is none
	nsid    int32     // what was said; none
	stamp   uint64    // that of the entry in the map it led to
}

// settling is for how long a container without an answer is asked in each walk.
const settling = 2 * time.Second

// Limits of the search for the init of a container. Of those beyond nobody is asked.
const (
	maxInside  = 32 // cgroups of a container
	maxPerDir  = 8  // processes of one of them
	maxProcess = 32 // processes of a container
)

// candidate is a process of a container that may be asked.
type candidate struct {
	pid  int
	dir  string // its cgroup
	rank int
}

// Ranks of candidates, best first.
const (
	rankInit   = iota // the first process of a pid namespace right below ours
	rankNested        // the first of one further down: of a container in the container
	rankOther
)

// ask finds out what namespace a container has: that of its init. Where no process
// is one, as a container without a pid namespace of its own has none, it is that of the
// first process whose namespace has an nsid.
func (f *Finder) ask(g *group) {
	ran := g.pid != 0
	g.turn, g.due, g.pid, g.nsid = f.turn, false, 0, none
	f.reopen(g)
	defer f.kernel.release()
	defer f.closeProcs()
	if c := g.init; c.pid != 0 {
		if f.askOne(g, c) {
			return
		}
		g.init, g.due = candidate{}, false // another one, or none by now
	}
	candidates := f.candidates(g)
	if len(candidates) == 0 && g.rule.lasting && g.node.watch == 0 {
		// The next run is to be heard of. That of a container that runs is not wanted.
		f.watches.add(g.in, g.node)
		candidates = f.candidates(g)
	}
	if ran && len(candidates) == 0 {
		g.stirred = time.Time{} // it ended, rather than that it is about to begin
	}
	for _, c := range candidates {
		if f.askOne(g, c) {
			return
		}
	}
}

// askOne asks a process of a container, and reports whether its answer counts.
func (f *Finder) askOne(g *group, c candidate) bool {
	nsid, stamp, err := f.query(g.Container, fromCgroup, c.pid, func() bool {
		return slices.Contains(f.pids(c.dir), c.pid)
	})
	if err != nil {
		// The process died or left. Who comes after it, the next walk sees.
		g.due = true
		f.fault(err)
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

// candidates returns processes of a container in the order in which to ask them. It
// looks for the init, and returns it alone if found. With systemd inside the top
// cgroup is empty, and init is in init.scope.
func (f *Finder) candidates(g *group) []candidate {
	var found []candidate
	dirs := []string{g.dir}
	if g.rule.payload != "" {
		dirs = []string{g.dir + "/" + g.rule.payload + g.ID, g.dir}
	}
	for i := 0; i < len(dirs) && i < maxInside; i++ {
		dir := dirs[i]
		for n, pid := range f.pids(dir) {
			if n == maxPerDir || len(found) == maxProcess {
				break
			}
			c := candidate{pid: pid, dir: dir, rank: f.rank(pid)}
			if c.rank == rankInit {
				return []candidate{c}
			}
			found = append(found, c)
		}
		for _, inside := range f.inside(dir, g.rule, dir == g.dir) {
			if inside != dirs[0] {
				dirs = append(dirs, inside)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return a.rank - b.rank })
	return found
}

// inside returns the cgroups in one of a container's, the likely ones first.
func (f *Finder) inside(dir string, rule *matcher, top bool) []string {
	var names []string
	_, err := f.readDir(dir, func(name []byte, _ uint64) bool {
		if !top || !rule.spares(string(name)) {
			names = append(names, string(name))
		}
		return len(names) < maxInside
	})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		f.fault(err)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(likely(a)-likely(b), strings.Compare(a, b))
	})
	for i, name := range names {
		names[i] = filepath.Join(dir, name)
	}
	return names
}

// likely orders the cgroups in a container by how likely its init is in them.
func likely(name string) int {
	switch name {
	case "init.scope":
		return 0
	case "payload", "container": // of systemd-nspawn and podman
		return 1
	}
	return 2
}

// rank reads which namespaces a process is the first of.
func (f *Finder) rank(pid int) int {
	line, err := f.kernel.pidsOf(pid)
	if err != nil && !errors.Is(err, errGone) {
		text, _ := f.readFile(f.proc + "/" + strconv.Itoa(pid) + "/status") // none: it is gone
		line, _ = nspidOf(text)
	}
	levels := bytes.Fields(line)
	switch {
	case len(levels) < 2 || string(levels[len(levels)-1]) != "1":
		return rankOther
	case len(levels) == 2:
		return rankInit
	}
	return rankNested
}

// nspidOf returns what the line NSpid of a file of proc has: the pid in each pid
// namespace, from ours down to the process's own.
func nspidOf(text []byte) (line []byte, found bool) {
	_, line, found = bytes.Cut(text, []byte("\nNSpid:"))
	line, _, _ = bytes.Cut(line, []byte("\n"))
	return line, found
}

// pids returns the first processes of a cgroup. The slice is good until the next call.
func (f *Finder) pids(dir string) []int {
	text := f.readProcs(dir)
	found := f.pidBuf[:0]
	for len(text) > 0 {
		line, rest, whole := bytes.Cut(text, []byte("\n"))
		text = rest
		if !whole {
			break // cut off by the end of the buffer
		}
		// 0 is a process outside of our pid namespace.
		if pid, err := strconv.Atoi(string(line)); err == nil && pid > 0 {
			found = append(found, pid)
		}
	}
	f.pidBuf = found
	return found
}

// readProcs reads the beginning of a cgroup.procs, and keeps the file until another is
// read: mostly the next to be read is the same. It is nil if the cgroup is gone, or of
// threads only.
func (f *Finder) readProcs(dir string) []byte {
	if f.procsOf != dir {
		f.closeProcs()
		fd, err := unix.Open(dir+"/cgroup.procs", unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			return nil
		}
		f.procs, f.procsOf = fd, dir
	}
	// No more than is used, as the kernel makes as much text as is asked for.
	n, err := retry(func() (int, error) { return unix.Pread(f.procs, f.file[:maxPerDir*len("4194304\n")], 0) })
	if err != nil {
		return nil
	}
	return f.file[:n]
}

func (f *Finder) closeProcs() {
	if f.procsOf != "" {
		closeFD(f.procs)
		f.procsOf = ""
	}
}

// unpopulated reports whether the kernel says that no process is in a cgroup or
// below. Only v2 does.
func (f *Finder) unpopulated(dir string) bool {
	text, err := f.readFile(dir + "/cgroup.events")
	return err == nil && bytes.HasPrefix(text, []byte("populated 0"))
}
