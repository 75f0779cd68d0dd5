package containers

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// A look at new containers is followed by a pause of lookShare times its cost, a search of all by
	// one of searchShare times its cost, within minPause and maxPause.
	lookShare   = 2
	searchShare = 20
	minPause    = time.Millisecond
	maxPause    = time.Second
	// maxNames is how many named namespaces are looked at.
	maxNames = 4096
	// PoolNetns is the pool of namespaces that have a name and no container.
	PoolNetns = "netns"
)

// runtimeNames are the names that CNI, podman and cri-o give to the namespaces of containers. They
// say nothing that the container's cgroup does not say better.
var runtimeNames = regexp.MustCompile(`^(?:cni-|netns-)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// Owner returns the container whose network namespace has the id nsid. found is false if there is none
// yet; then a call before next would find none, either.
//
// still must report whether the caller's link still leads to the namespace with that id. Owner calls it
// between two questions to the kernel, which both have to confirm that the namespace of the container's
// process has the id, and the process must be alive after the second one. So all of this was true at one
// time. (Silence of the kernel is no proof, because it frees an nsid before it sends RTM_DELNSID.)
func (t *Tracker) Owner(nsid int32, still func() bool) (c Container, found bool, next time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if nsid < 0 || nsid == t.own || t.closed {
		return Container{}, false, time.Time{}
	}
	if c, found = t.known(nsid, still); found {
		return c, true, time.Time{}
	}
	now := time.Now()
	if now.After(t.lookAfter) {
		t.lookAtNew(now)
		t.lookAfter = pauseAfter(now, lookShare)
		if c, found = t.known(nsid, still); found {
			return c, true, time.Time{}
		}
	}
	if now.After(t.searchAfter) {
		c, found = t.search(nsid, still)
		t.searchAfter = pauseAfter(now, searchShare)
	}
	return c, found, t.lookAfter
}

// Runs reports whether a container has processes.
func (t *Tracker) Runs(name Container) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.containers {
		if c.Container == name && !t.spare(c) && len(t.processes(c)) > 0 {
			return true
		}
	}
	return false
}

// pauseAfter returns when something that began then may be done again: after share times its cost.
func pauseAfter(begun time.Time, share int) time.Time {
	cost := time.Since(begun)
	return begun.Add(cost + min(max(cost*time.Duration(share), minPause), maxPause))
}

// lookAtNew asks the system's containers that are new, and whose init is known or likely there: they
// are about to get an nsid.
func (t *Tracker) lookAtNew(now time.Time) {
	t.readWatches(t.system)
	for c := range t.unsettled {
		if c.node.within == 0 && (c.process.pid != 0 || !now.Before(c.again)) {
			t.refresh(c)
		}
	}
}

// search asks all containers whose last answer no longer holds, and looks at names.
func (t *Tracker) search(nsid int32, still func() bool) (Container, bool) {
	if len(t.hierarchies) == 0 {
		t.mount()
	}
	t.refreshOwn()
	if w := t.system; w.file == nil || w.err != nil || w.beyond || t.lacks[lackLimit] != "" {
		t.recover(w)
	}
	for _, c := range t.containers {
		t.refresh(c)
	}
	if c, found := t.known(nsid, still); found {
		return c, true
	}
	return t.name(nsid, still)
}

// known returns the container that said last that an nsid is its own, if it says so still. Of
// several the pod counts, then the one whose init is oldest.
func (t *Tracker) known(nsid int32, still func() bool) (Container, bool) {
	var all []*container
	for _, c := range t.containers {
		if c.nsid == nsid {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b *container) int {
		pod := func(c *container) int {
			if c.rule.pod {
				return 0
			}
			return 1
		}
		return cmp.Or(pod(a)-pod(b), cmp.Compare(a.process.started, b.process.started), cmp.Compare(a.node.ino, b.node.ino))
	})
	for _, c := range all {
		if t.verify(c, nsid, still) {
			return c.Container, true
		}
		if t.inquire(c); c.nsid == nsid && t.verify(c, nsid, still) {
			return c.Container, true
		}
	}
	return Container{}, false
}

// verify reports whether a namespace is a container's: see Owner.
func (t *Tracker) verify(c *container, nsid int32, still func() bool) bool {
	pidfd, err := unix.PidfdOpen(c.process.pid, 0)
	if err != nil {
		if !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.EINVAL) { // EINVAL: a thread by now
			t.lack(lackPidfd, err.Error())
		}
		return false
	}
	defer closeFD(pidfd)
	t.lack(lackPidfd, "")
	says := func() bool {
		got, err := t.ids.GetNetNsIdByPid(c.process.pid)
		return err == nil && t.foreign(got) == nsid
	}
	return t.isIn(c.process) && says() && still() && says() && isAlive(pidfd)
}

// isAlive reports whether the process of a pidfd has not ended.
func isAlive(pidfd int) bool {
	ended := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}} //nolint:gosec // a descriptor fits
	for {
		n, err := unix.Poll(ended, 0)
		if !errors.Is(err, unix.EINTR) {
			return n == 0 && err == nil
		}
	}
}

// name returns the name below /run/netns of the namespace with an nsid.
func (t *Tracker) name(nsid int32, still func() bool) (Container, bool) {
	dir, err := os.Open(t.config.Netns)
	if err != nil {
		if !errors.Is(err, unix.ENOENT) {
			t.lack(lackNetns, err.Error())
		}
		return Container{}, false
	}
	defer dir.Close() //nolint:errcheck // only read
	t.lack(lackNetns, "")
	names, _ := dir.Readdirnames(maxNames)
	slices.Sort(names)
	for _, name := range names {
		path := filepath.Join(t.config.Netns, name)
		if !runtimeNames.MatchString(name) && t.fileHas(path, nsid) && still() && t.fileHas(path, nsid) {
			return Container{Pool: PoolNetns, ID: show(name)}, true
		}
	}
	return Container{}, false
}

// fileHas reports whether the namespace that is bound to a file has an nsid.
func (t *Tracker) fileHas(path string, nsid int32) bool {
	var fs unix.Statfs_t
	// Asked before it is opened, because to open a stale file could do anything.
	if err := unix.Statfs(path, &fs); err != nil || fs.Type != unix.NSFS_MAGIC {
		return false
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	// Closed at once: while it is open, the veths in a namespace do not die with it.
	defer closeFD(fd)
	got, err := t.ids.GetNetNsIdByFd(fd)
	return err == nil && t.foreign(got) == nsid
}

// closeFD closes a file that was read; that cannot fail in a way that matters.
func closeFD(fd int) { _ = unix.Close(fd) }
