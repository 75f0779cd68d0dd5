package containers

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/osctl/eventd/netwatch/nstest"
)

// givenTo makes a cgroup that belongs to a user.
func givenTo(t *testing.T, root string, user int) string {
	t.Helper()
	dir := filepath.Join(root, fmt.Sprintf("user.slice/user-%[1]d.slice/user@%[1]d.service", user))
	must(t, os.MkdirAll(dir, 0o755))
	must(t, os.Chown(dir, user, user))
	return dir
}

// makeMany makes n cgroups in dir, and returns a function that removes them.
func makeMany(t *testing.T, dir string, n int) (remove func()) {
	t.Helper()
	name := func(i int) string { return filepath.Join(dir, fmt.Sprint("x", i)) }
	for i := range n {
		must(t, os.Mkdir(name(i), 0o755))
	}
	return func() {
		for i := range n {
			must(t, os.Remove(name(i)))
		}
	}
}

// TestLimitOfUserCgroups has a user make too many cgroups. It expects no loss for other users, and expects the
// user's own containers to be found once some cgroups are gone.
func TestLimitOfUserCgroups(t *testing.T) {
	root := cgroupRoot(t)
	greedy, other := givenTo(t, root, 1000), givenTo(t, root, 1001)
	l := listen(t, root)
	remove := makeMany(t, greedy, maxUserCgroups)
	l.awaitLimit(1000) // its own directory counts, too
	l.mu.Lock()
	if n := len(l.users.nodes); n != maxUserCgroups+1 {
		t.Errorf("%d cgroups of users are watched, want %d of one and 1 of the other", n, maxUserCgroups)
	}
	l.mu.Unlock()
	sleepIn(t, filepath.Join(greedy, "late.slice/lxc.payload.web"))
	sleepIn(t, filepath.Join(other, "deep.slice/lxc.payload.web"))
	l.wants("lxc@1001:web - running")
	remove()
	l.wants("lxc@1000:web - running resync")
	l.ends(root)
}

// TestLimitOfUserContainers is TestLimitOfUserCgroups for containers.
func TestLimitOfUserContainers(t *testing.T) {
	root := cgroupRoot(t)
	given := givenTo(t, root, 1000)
	l := listen(t, root)
	var dirs []string
	for i := range maxPerUser {
		dirs = append(dirs, filepath.Join(given, fmt.Sprint("lxc.payload.x", i)))
		must(t, os.Mkdir(dirs[i], 0o755))
	}
	sleepIn(t, filepath.Join(given, "lxc.payload.web"))
	l.awaitLimit(1000)
	for _, dir := range dirs {
		must(t, os.Remove(dir))
	}
	l.wants("lxc@1000:web - running resync")
	l.ends(root)
}

// awaitLimit waits until a user has reached a limit.
func (l *listener) awaitLimit(user uint32) {
	l.t.Helper()
	eventually(l.t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.usageOf(user).limited
	})
}

// TestTooManyContainers expects Missing to have a line while containers beyond the limit are missed.
func TestTooManyContainers(t *testing.T) {
	root := cgroupRoot(t)
	tracker := trackerIn(t, nstest.New(t), Config{Cgroup: root})
	limited := func() bool {
		return slices.ContainsFunc(tracker.Missing(), func(line string) bool { return strings.Contains(line, "too many") })
	}
	search := func() {
		tracker.mu.Lock()
		defer tracker.mu.Unlock()
		tracker.readWatches(tracker.system)
		tracker.search(1<<20, func() bool { return true })
	}
	tracker.room = 1
	first, second := filepath.Join(root, "lxc.payload.a"), filepath.Join(root, "lxc.payload.b")
	must(t, os.Mkdir(first, 0o755))
	must(t, os.Mkdir(second, 0o755))
	if search(); !limited() || len(tracker.containers) != 1 {
		t.Fatalf("%d containers, missing %q", len(tracker.containers), tracker.Missing())
	}
	must(t, os.Remove(first))
	if search(); len(tracker.containers) != 1 || tracker.room != 0 {
		t.Errorf("%d containers after one ended", len(tracker.containers))
	}
	must(t, os.Remove(second))
	if search(); limited() {
		t.Errorf("without any container: missing %q", tracker.Missing())
	}
}

// TestLimitOfUserNames expects a limit of the names that are read from a user's directories while the Tracker
// is locked.
func TestLimitOfUserNames(t *testing.T) {
	root := cgroupRoot(t)
	given := givenTo(t, root, 1000)
	tracker := listen(t, root).Tracker
	tracker.mu.Lock()
	defer tracker.mu.Unlock()
	makeMany(t, given, 10)
	discard(t, tracker.users)
	tracker.usageOf(1000).names = maxUserNames - 4
	var n *node
	for _, given := range tracker.users.nodes {
		n = given
	}
	tracker.list(n)
	if len(n.kids) != 4 || !tracker.usageOf(1000).limited {
		t.Errorf("%d of 10 are known, want 4", len(n.kids))
	}
	tracker.list(n) // another list must not drop any
	if len(n.kids) != 4 {
		t.Errorf("%d are known after another list, want 4", len(n.kids))
	}
	if tracker.rescan(tracker.users); len(n.kids) != 10 {
		t.Errorf("%d of 10 are known after a rescan", len(n.kids))
	}
}

// TestLimitOfUserQueries expects a limit of the containers of users that are asked while the Tracker is locked, a
// pause for each user, which a search keeps, too, and all containers to be asked in the end.
func TestLimitOfUserQueries(t *testing.T) {
	root := cgroupRoot(t)
	const users, each = maxUserAsks + 1, 3
	for i := range users * each {
		sleepIn(t, filepath.Join(givenTo(t, root, 1000+i%users), fmt.Sprint("lxc.payload.x", i)))
	}
	sleepIn(t, filepath.Join(root, "lxc.payload.web"))
	l := &listener{Tracker: trackerIn(t, nstest.New(t), Config{Cgroup: root}), t: t, states: make(chan StateChange, 1000)}
	asked := func() (n int) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, c := range l.containers {
			if c.process.pid != 0 {
				n++
			}
		}
		return n
	}
	if n := asked(); n != maxUserAsks+1 {
		t.Errorf("%d containers are asked at first, want %d of users and 1 of the system", n, maxUserAsks)
	}
	l.mu.Lock()
	for range 2 {
		l.queryPending(time.Unix(1, 0)) // during the pauses
		l.search(0, func() bool { return true })
	}
	l.mu.Unlock()
	if n := asked(); n != users+1 {
		t.Errorf("%d containers are asked before the first pause is over, want 1 of each user and 1 of the system", n)
	}
	l.run()
	eventually(t, func() bool { return asked() == users*each+1 })
}

// TestUserIsAskedForOwner has a user's container in a long pause before it is asked again. It expects the question
// for an owner to end the pause.
func TestUserIsAskedForOwner(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	s := sleepIn(t, filepath.Join(givenTo(t, root, 1000), "lxc.payload.web"))
	tracker := trackerIn(t, ns, Config{Cgroup: root})
	tracker.mu.Lock()
	for c := range tracker.pending {
		c.retryAt = time.Now().Add(time.Hour)
	}
	tracker.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	var ended sync.WaitGroup
	ended.Go(func() { tracker.runQueries(ctx) })
	defer ended.Wait()
	defer cancel()
	wants(t, tracker, vethTo(t, ns, "v", s.pid()), "lxc@1000:web")
}

// TestLimitOfWatches expects Missing to have a line when the system has more cgroups than watches.
func TestLimitOfWatches(t *testing.T) {
	root := cgroupRoot(t)
	tracker := listen(t, root).Tracker
	tracker.mu.Lock()
	for i := range int32(maxWatches) {
		tracker.system.nodes[-i-2] = &node{} // pretend that there are so many
	}
	tracker.mu.Unlock()
	must(t, os.Mkdir(filepath.Join(root, "one.slice"), 0o755))
	eventually(t, func() bool { return len(tracker.Missing()) > 0 })
	if lines := tracker.Missing(); len(lines) != 1 || !strings.HasPrefix(lines[0], missingLines[missingWatch]) {
		t.Errorf("missing: %q", lines)
	}
}

// TestWatchedLater has cgroups without a watch, as after a limit was reached. It expects a scan to watch them.
func TestWatchedLater(t *testing.T) {
	root := cgroupRoot(t)
	must(t, os.MkdirAll(filepath.Join(root, "one.slice/two.slice"), 0o755))
	l := listen(t, root)
	l.mu.Lock()
	one := l.hierarchies[0].top.kids["one.slice"]
	for _, n := range []*node{one, one.kids["two.slice"]} {
		l.unwatch(n)
	}
	l.system.limited = true
	l.search(0, func() bool { return true })
	l.mu.Unlock()
	sleepIn(t, filepath.Join(root, "one.slice/two.slice/docker-"+testID+".scope"))
	l.wants("docker:" + testID + " - running")
	l.ends(root)
}

// eventually waits until is returns true.
func eventually(t *testing.T, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the condition never holds")
		}
	}
}
