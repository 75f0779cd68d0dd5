package owner

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
)

// Limits of a walk over all processes.
const (
	maxProcesses = 1 << 17
	maxAsked     = 8 // processes of one namespace that are looked at
)

// walkProcesses looks for an nsid among all processes: the last resort. It finds
// namespaces that are inside of a container beside its own, and containers beyond
// the limits of the walk over cgroups.
func (f *Finder) walkProcesses(ctx context.Context, wanted int32) {
	dir, err := os.Open(f.proc)
	if err != nil {
		f.fault(err)
		return
	}
	defer dir.Close() //nolint:errcheck // only read
	defer f.release()
	asked := map[int32]int{}
	for seen := 0; seen < maxProcesses; {
		names, err := dir.Readdirnames(1024)
		for _, name := range names {
			pid, err := strconv.Atoi(name)
			if err != nil || pid <= 0 {
				continue
			}
			if seen++; seen > maxProcesses || ctx.Err() != nil {
				return
			}
			if f.scan(pid, asked); f.has(wanted) {
				return
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				f.fault(err)
			}
			return
		}
	}
}

// scan asks about a process. Most are in a namespace that is known or the own one,
// which takes one query to see.
func (f *Finder) scan(pid int, asked map[int32]int) {
	nsid, err := f.kernel.byPid(pid)
	if err != nil {
		f.fault(err)
		return
	}
	if nsid = f.foreign(nsid); nsid == none || asked[nsid] >= maxAsked || f.has(nsid) {
		return
	}
	asked[nsid]++
	c, ok := f.containerOf(pid)
	if !ok {
		return
	}
	_, _, err = f.query(&f.reader, c, fromProcess, pid, func() bool {
		now, ok := f.containerOf(pid)
		return ok && now == c
	})
	if err != nil {
		f.fault(err)
	}
}

// containerOf returns the container that a process is in by its cgroup.
func (f *Finder) containerOf(pid int) (Container, bool) {
	text, err := f.readFile(f.proc + "/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		f.fault(err)
		return Container{}, false
	}
	for _, h := range f.hierarchies {
		if path, ok := h.path(string(text)); ok {
			if c, ok := matchPath(f.rules, path); ok {
				return c, true
			}
		}
	}
	return Container{}, false
}
