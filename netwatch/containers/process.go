package containers

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Limits of the search for the init of a container. Cgroups and processes beyond them are ignored.
const (
	maxInside  = 32 // cgroups of a container
	maxPerDir  = 8  // processes of one cgroup
	maxProcess = 32 // processes of a container
)

// process is a process of a container.
type process struct {
	pid     int
	dir     string // its cgroup
	rank    int
	started uint64 // since the boot, in the kernel's ticks
}

// Ranks of processes, in the order in which they are asked.
const (
	rankInit   = iota // the first process of a pid namespace right below ours
	rankNested        // the first process of a deeper one: of a container in the container
	rankOther
)

// processes returns the init of a container, or else its processes in the order in which to ask them.
// If systemd runs inside, the top cgroup is empty and init is in init.scope.
func (t *Tracker) processes(c *container) []process {
	var found []process
	dirs := []string{c.node.dir()}
	for i := 0; i < len(dirs) && i < maxInside; i++ {
		pids := t.pids(dirs[i])
		for _, pid := range pids[:min(len(pids), maxPerDir)] {
			p := readProcess(pid, dirs[i])
			if p.rank == rankInit {
				return []process{p}
			}
			if len(found) < maxProcess {
				found = append(found, p)
			}
		}
		dirs = append(dirs, t.listInside(dirs[i], c, i == 0)...)
	}
	slices.SortStableFunc(found, func(a, b process) int { return a.rank - b.rank })
	return found
}

// pids returns the first processes of a cgroup. The kernel writes 0 for a process outside of our pid
// namespace.
func (t *Tracker) pids(dir string) (all []int) {
	text, err := readFile(dir + "/cgroup.procs")
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, unix.EOPNOTSUPP) { // a cgroup of threads
		t.logFault(err)
	}
	for line := range bytes.Lines(text) {
		whole := line[len(line)-1] == '\n'
		pid, err := strconv.Atoi(strings.TrimSpace(string(line)))
		switch {
		case err != nil || !whole:
		case pid == 0:
			t.setMissing(missingPids, "a cgroup has processes of another pid namespace")
		default:
			all = append(all, pid)
		}
	}
	return all
}

// isIn reports whether a process is in a cgroup, now.
func (t *Tracker) isIn(p process) bool { return slices.Contains(t.pids(p.dir), p.pid) }

// listInside returns the cgroups directly inside dir, the likely ones first.
func (t *Tracker) listInside(dir string, c *container, top bool) []string {
	f, err := os.Open(dir) //nolint:gosec // a cgroup
	if err != nil {
		return nil
	}
	defer f.Close() //nolint:errcheck // only read
	var names []string
	for len(names) < maxInside {
		entries, err := f.ReadDir(64)
		for _, e := range entries {
			beside := top && c.rule.beside != nil && c.rule.beside.MatchString(e.Name())
			if e.IsDir() && !beside {
				names = append(names, e.Name())
			}
		}
		if err != nil {
			break
		}
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(likely(a)-likely(b), strings.Compare(a, b)) })
	for i := range names {
		names[i] = dir + "/" + names[i]
	}
	return names
}

// likely orders the cgroups in a container: the lowest is the likeliest to have its init.
func likely(name string) int {
	switch {
	case name == "init.scope" || strings.HasPrefix(name, "lxc.payload."):
		return 0
	case name == "payload" || name == "container" || name == "ns": // of systemd-nspawn, podman, Proxmox
		return 1
	}
	return 2
}

// readProcess reads the rank of a process and when it started.
func readProcess(pid int, dir string) process {
	p := process{pid: pid, dir: dir, rank: rankOther}
	levels := bytes.Fields(readStatus(pid, "NSpid"))
	switch {
	case len(levels) < 2 || string(levels[len(levels)-1]) != "1":
	case len(levels) == 2:
		p.rank = rankInit
	default:
		p.rank = rankNested
	}
	// Field 22 of stat. Field 2 is a name in parentheses, which may have any bytes.
	stat, _ := readProc(pid, "stat")
	if fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]); len(fields) > 19 {
		p.started, _ = strconv.ParseUint(string(fields[19]), 10, 64)
	}
	return p
}
