package owner

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Limits of the search for the init of a container. Of those beyond nobody is asked.
const (
	maxInside  = 32 // cgroups of a container
	maxPerDir  = 8  // processes of one of them
	maxProcess = 32 // processes of a container
)

// candidate is a process of a container that may be asked.
type candidate struct {
	pid  int
	dir  place // its cgroup
	rank int
}

// Ranks of candidates, best first.
const (
	rankInit   = iota // the first process of a pid namespace right below ours
	rankNested        // the first of one further down: of a container in the container
	rankOther
)

// candidates returns processes of a container in the order in which to ask them. It
// looks for the init, and returns it alone if found. With systemd inside the top
// cgroup is empty, and init is in init.scope.
func (r *reader) candidates(g *group) []candidate {
	var found []candidate
	dirs := []place{g.dir}
	if g.rule.payload != "" {
		dirs = []place{g.dir.in(g.rule.payload + g.ID), g.dir}
	}
	for i := 0; i < len(dirs) && i < maxInside; i++ {
		dir := dirs[i]
		for _, c := range r.processes(dir) {
			if c.rank == rankInit {
				return []candidate{c}
			}
			if len(found) < maxProcess {
				found = append(found, c)
			}
		}
		for _, inside := range r.inside(dir, g.rule, dir == g.dir) {
			if inside != dirs[0] {
				dirs = append(dirs, inside)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return a.rank - b.rank })
	return found
}

// processes returns the first processes of a cgroup, or the very first alone if that is the
// init, as it mostly is.
func (r *reader) processes(dir place) []candidate {
	var found []candidate
	for _, most := range []int{1, maxPerDir} {
		pids, more := r.pids(dir, most)
		found = found[:0]
		for _, pid := range pids[:min(len(pids), most)] {
			c := candidate{pid: pid, dir: dir, rank: r.rank(pid)}
			if c.rank == rankInit {
				return []candidate{c}
			}
			found = append(found, c)
		}
		if !more && len(pids) <= most {
			break
		}
	}
	return found
}

// isIn reports whether a process is among the first of a cgroup, now.
func (r *reader) isIn(pid int, dir place) bool {
	if r.procsListed {
		r.closeProcs()
	}
	first, more := r.pids(dir, 1)
	if more && !slices.Contains(first, pid) {
		first, _ = r.pids(dir, maxPerDir)
	}
	return slices.Contains(first, pid)
}

// inside returns the cgroups in one of a container's, the likely ones first.
func (r *reader) inside(dir place, rule *matcher, top bool) []place {
	var names []string
	err := r.readDir(dir, func(int, *unix.Stat_t) {}, func(name []byte, _ uint64) bool {
		if !top || !rule.spares(string(name)) {
			names = append(names, string(name))
		}
		return len(names) < maxInside
	})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		r.fault(err)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(likely(a)-likely(b), strings.Compare(a, b))
	})
	places := make([]place, len(names))
	for i, name := range names {
		places[i] = dir.in(name)
	}
	return places
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
func (r *reader) rank(pid int) int {
	line, err := r.kernel.pidsOf(pid)
	if err != nil && !errors.Is(err, errGone) {
		text, _ := r.readFile(r.proc + "/" + strconv.Itoa(pid) + "/status") // none: it is gone
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

// pids returns the first processes of a cgroup: as many as asked for, at least, or all that
// there are; more says that there may be more. The slice is good until the next call.
func (r *reader) pids(dir place, least int) (found []int, more bool) {
	// No more than is used, as the kernel makes as much text as is asked for.
	size := least * len("4194304\n")
	text := r.readProcs(dir, size)
	more = len(text) == size
	found = r.pidBuf[:0]
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
	r.pidBuf = found
	return found, more
}

// readProcs reads that many bytes from the beginning of a cgroup.procs, and keeps the file
// until another is read: mostly the next to be read is the same. It is nil if the cgroup is
// gone, or of threads only. A hierarchy of v1 makes a list when the file is opened, and
// reads from that later on (cgroup_pidlist_start in the kernel's
// kernel/cgroup/cgroup-v1.c), so there only the first text after that tells what is now.
func (r *reader) readProcs(dir place, size int) []byte {
	if r.procsOf != dir.path {
		r.closeProcs()
		fd, err := dir.in("cgroup.procs").open(0)
		if err != nil {
			r.fault(fmt.Errorf("open a cgroup.procs: %w", err))
			return nil
		}
		var fs unix.Statfs_t
		listed := unix.Fstatfs(fd, &fs) != nil || fs.Type == unix.CGROUP_SUPER_MAGIC
		r.procs, r.procsOf, r.procsListed = fd, dir.path, listed
	}
	n, err := retry(func() (int, error) { return unix.Pread(r.procs, r.file[:size], 0) })
	if err != nil {
		return nil
	}
	return r.file[:n]
}

func (r *reader) closeProcs() {
	if r.procsOf != "" {
		closeFD(r.procs)
		r.procsOf = ""
	}
}

// unpopulated reports whether the kernel says that no process is in a cgroup or
// below. Only v2 does.
func (r *reader) unpopulated(dir place) bool {
	text, err := r.readFile(dir.path + "/cgroup.events")
	return err == nil && bytes.HasPrefix(text, []byte("populated 0"))
}
