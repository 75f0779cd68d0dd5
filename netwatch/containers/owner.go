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
	// pauseAfter keeps the share of work small: work of cost c is followed by a pause of share × c, between minPause
	// and maxPause.
	queryShare  = 2  // after a query of new containers; times the number of users after that of a user's container
	searchShare = 20 // after a search of all containers
	minPause    = time.Millisecond
	maxPause    = time.Second
	// maxNames is how many named namespaces are searched.
	maxNames = 4096
	// PoolNetns is the pool of namespaces that have a name and no container.
	PoolNetns = "netns"
)

// runtimeNames are the names that CNI, podman and cri-o generate for the namespaces of containers. They
// are no owners, because the container's cgroup names the owner.
var runtimeNames = regexp.MustCompile(`^(?:cni-|netns-)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// Owner returns the container whose network namespace has the id nsid. found is false if there is none
// yet; then a call before next would find none, either.
//
// still must report whether the caller's link still leads to the namespace with that id. Owner asks the
// kernel for the id of the container's namespace, calls still, and asks again. It trusts the result only
// if both answers are nsid and the container's process is alive afterwards, because then all of this was
// true at one time. (That no RTM_DELNSID came is no proof, because the kernel frees an nsid before it
// sends that.) The watched namespace may have an id in itself, which containers with the host's network then have,
// too, but no link names it: the kernel names only namespaces other than the link's (rtnl_fill_link_netnsid in
// net/core/rtnetlink.c).
func (t *Tracker) Owner(nsid int32, still func() bool) (c Container, found bool, next time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if nsid < 0 || t.closed {
		return Container{}, false, time.Time{}
	}
	if c, found = t.findKnown(nsid, still); found {
		return c, true, time.Time{}
	}
	now := time.Now()
	if now.After(t.queryAfter) {
		t.queryNew(now)
		t.queryAfter = pauseAfter(now, queryShare)
		if c, found = t.findKnown(nsid, still); found {
			return c, true, time.Time{}
		}
	}
	if now.After(t.searchAfter) {
		c, found = t.search(nsid, still)
		t.searchAfter = pauseAfter(now, searchShare)
	} else {
		c, found = t.findName(nsid, still)
	}
	return c, found, t.queryAfter
}

// Runs reports whether a container has processes.
func (t *Tracker) Runs(name Container) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.containers {
		if c.Container == name && !c.empty() && (t.holdsProcess(c) || t.findFirst(c).pid != 0) {
			c.keeper = true
			return true
		}
	}
	return false
}

// Left reports whether the init of a container was in the network namespace with the id nsid, and entered
// another one. The id must not have been reused since. Of the namespaces that an init left, only the first few are
// known.
func (t *Tracker) Left(name Container, nsid int32) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.containers {
		if c.Container == name && slices.Contains(c.left, nsid) && t.holdsProcess(c) {
			c.keeper = true
			return true
		}
	}
	return false
}

// pauseAfter returns when work that began at begun may be repeated: after a pause of share times its
// cost.
func pauseAfter(begun time.Time, share int) time.Time {
	cost := time.Since(begun)
	return begun.Add(cost + min(max(cost*time.Duration(share), minPause), maxPause))
}

// queryNew asks for the nsids of the system's pending containers. It skips those that have no known
// process and wait for their next attempt.
func (t *Tracker) queryNew(now time.Time) {
	t.readWatches(t.system)
	for c := range t.pending {
		if c.node.within == 0 && (c.process.pid != 0 || !now.Before(c.retryAt)) {
			t.refreshNSID(c)
		}
	}
}

// search asks for the nsids of all containers of the system and of the named namespaces, and has runQueries ask those
// of users: Run reports what changes.
func (t *Tracker) search(nsid int32, still func() bool) (Container, bool) {
	if len(t.hierarchies) == 0 {
		t.mount()
	}
	t.setMissing(missingPids, "") // queryNSID sets it again
	if w := t.system; w.file == nil || w.err != nil || w.limited || t.missing[missingLimit] != "" {
		t.rescan(w)
	}
	for _, c := range t.containers {
		if c.node.within == 0 {
			t.refreshNSID(c)
		} else {
			t.queueRefresh(c)
		}
	}
	t.readNames()
	if c, found := t.findKnown(nsid, still); found {
		return c, true
	}
	return t.findName(nsid, still)
}

// findKnown returns the container that had an nsid according to the last answer, if it still has that
// nsid. Of several, a pod counts first, then the one with the oldest init. It tries at most maxUserAsks of users.
func (t *Tracker) findKnown(nsid int32, still func() bool) (Container, bool) {
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
	ofUsers := 0
	for _, c := range all {
		if c.node.within != 0 {
			if ofUsers++; ofUsers > maxUserAsks {
				t.queueRefresh(c)
				continue
			}
		}
		if t.verify(c, nsid, still) {
			return c.Container, true
		}
		if t.queryNSID(c); c.nsid == nsid && t.verify(c, nsid, still) {
			return c.Container, true
		}
	}
	return Container{}, false
}

// verify reports whether the namespace with an nsid is the container's: see Owner.
func (t *Tracker) verify(c *container, nsid int32, still func() bool) bool {
	pidfd, err := unix.PidfdOpen(c.process.pid, 0)
	if err != nil {
		if !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.EINVAL) { // EINVAL: the pid is a thread's by now
			t.setMissing(missingPidfd, err.Error())
		}
		return false
	}
	defer closeFD(pidfd)
	t.setMissing(missingPidfd, "")
	says := func() bool {
		got, err := t.nsidOf(c.process.pid)
		return err == nil && got == nsid
	}
	return t.holdsProcess(c) && says() && still() && says() && isAlive(pidfd)
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

// readNames asks for the nsids of all named namespaces, so that one search serves the questions about all
// of them. If a namespace has several names, the first counts.
func (t *Tracker) readNames() {
	t.names = map[int32]string{}
	dir, err := os.Open(t.config.Netns)
	if err != nil {
		if !errors.Is(err, unix.ENOENT) {
			t.setMissing(missingNetns, err.Error())
		}
		return
	}
	defer dir.Close() //nolint:errcheck // only read
	t.setMissing(missingNetns, "")
	names, _ := dir.Readdirnames(maxNames)
	slices.Sort(names)
	for _, name := range names {
		if runtimeNames.MatchString(name) {
			continue
		}
		if nsid := t.queryName(name); nsid != none && t.names[nsid] == "" {
			t.names[nsid] = name
		}
	}
}

// findName returns the name below /run/netns that the last search found for an nsid, if it still has
// that nsid.
func (t *Tracker) findName(nsid int32, still func() bool) (Container, bool) {
	name, found := t.names[nsid]
	if !found || t.queryName(name) != nsid || !still() || t.queryName(name) != nsid {
		return Container{}, false
	}
	return Container{Pool: PoolNetns, ID: show(name)}, true
}

// queryName asks for the nsid of a named namespace.
func (t *Tracker) queryName(name string) int32 {
	path := filepath.Join(t.config.Netns, name)
	var fs unix.Statfs_t
	// Check the file system first, because opening another file may have side effects.
	if err := unix.Statfs(path, &fs); err != nil || fs.Type != unix.NSFS_MAGIC {
		return none
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return none
	}
	// Close soon, because the open file keeps the namespace and its veths alive.
	defer closeFD(fd)
	got, err := t.ids.GetNetNsIdByFd(fd)
	if err != nil {
		return none
	}
	return toNSID(got)
}

// closeFD closes a file that was only read, so an error does not matter.
func closeFD(fd int) { _ = unix.Close(fd) }
