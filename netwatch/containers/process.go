package containers

import (
	"bytes"
	"cmp"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Limits of the search for the first process of a container. Cgroups and processes beyond them are ignored.
const (
	maxInside = 32      // cgroups of a container
	maxPerDir = 8       // processes of one cgroup, and threads of one process
	maxStatus = 1 << 20 // bytes of status files; root of a container can make one of these files 704 KiB long
)

// process is a process of a container.
type process struct {
	pid     int
	init    bool   // the first process of a pid namespace right below ours
	started uint64 // since the boot, in the kernel's ticks
}

// findFirst returns the init of a container. If the container has no pid namespace of its own, it returns
// the oldest process, because a later one may have entered the namespace of another container. pid is 0 if
// it finds none. If systemd runs inside, the top cgroup is empty and init is in init.scope.
func (t *Tracker) findFirst(c *container) (first process) {
	dirs, read := []string{c.node.dir()}, 0
	for i := 0; i < len(dirs) && i < maxInside; i++ {
		pids := t.pids(dirs[i])
		for _, pid := range pids[:min(len(pids), maxPerDir)] {
			if read >= maxStatus {
				return first
			}
			p, size := readProcess(pid)
			read += size
			switch {
			case p.started == 0: // it is gone
			case p.init:
				return p
			case first.pid == 0, p.started < first.started:
				first = p
			}
		}
		dirs = append(dirs, t.listInside(dirs[i], c, i == 0)...)
	}
	return first
}

// pids returns the first processes of a cgroup. The kernel writes 0 for a process outside of our pid
// namespace.
func (t *Tracker) pids(dir string) (all []int) {
	text, err := readFile(dir+"/cgroup.procs", 4<<10)
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) { // a cgroup of threads
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

// holdsProcess reports whether c.process is alive and still in the container. It asks the process for its cgroup
// first: root of the container can hide the process from findFirst. In a cgroup namespace of our own the path differs,
// and findFirst decides.
func (t *Tracker) holdsProcess(c *container) bool {
	if c.process.pid == 0 || readStart(c.process.pid) != c.process.started {
		return false
	}
	held, err := c.holds(c.process.pid, c.node.path)
	// ENAMETOOLONG is from older kernels; only a container makes so many levels.
	return held || errors.Is(err, unix.ENAMETOOLONG) || t.findFirst(c) == c.process
}

// holds reports whether a process says that the path of its cgroup contains part.
func (c *container) holds(pid int, part string) (bool, error) {
	text, err := readProc(pid, "cgroup")
	for line := range bytes.Lines(text) { // ID:CONTROLLERS:PATH, where ID is 0 for v2
		path := string(bytes.TrimSuffix(line, []byte("\n"))) + "/"
		if strings.HasPrefix(path, "0::") == c.node.h.v2 && strings.Contains(path, part+"/") {
			return true, nil
		}
	}
	return false, err
}

// nsidOf asks for the nsid of a process. The kernel does not know the namespace of a thread that has ended, and root
// of a container can have the first thread of its init end, so nsidOf asks for that of another thread then.
func (t *Tracker) nsidOf(pid int) (int32, error) {
	nsid, err := t.ids.GetNetNsIdByPid(pid)
	if errors.Is(err, unix.ESRCH) {
		for _, thread := range listThreads(pid) {
			if nsid, err = t.ids.GetNetNsIdByPid(thread); err == nil {
				break
			}
		}
	}
	if err != nil {
		return none, err
	}
	return toNSID(nsid), nil
}

// listThreads returns the first threads of a process.
func listThreads(pid int) (all []int) {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/task")
	if err != nil {
		return nil // it is gone
	}
	defer f.Close() //nolint:errcheck // only read
	names, _ := f.Readdirnames(maxPerDir)
	for _, name := range names {
		if thread, err := strconv.Atoi(name); err == nil {
			all = append(all, thread)
		}
	}
	return all
}

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

// readProcess reads whether a process is an init, and when it started. size is that of its status in bytes.
func readProcess(pid int) (p process, size int) {
	value, size := readStatus(pid, "NSpid")
	levels := bytes.Fields(value)
	return process{pid: pid, init: len(levels) == 2 && string(levels[1]) == "1", started: readStart(pid)}, size
}

// readStart reads when a process started; 0 if it is gone.
func readStart(pid int) (started uint64) {
	// Field 22 of stat. Field 2 is a name in parentheses, which may have any bytes.
	stat, _ := readProc(pid, "stat")
	if fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]); len(fields) > 19 {
		started, _ = strconv.ParseUint(string(fields[19]), 10, 64)
	}
	return started
}
