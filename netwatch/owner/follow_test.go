package owner

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/netwatch/nstest"
)

// noticed checks the owner of an nsid as Find has it without a walk: by what watches tell.
func noticed(t *testing.T, f *Finder, nsid int32, want string) {
	t.Helper()
	f.mu.Lock()
	f.looks = lookPace()
	f.walks.next = time.Now().Add(time.Hour)
	f.mu.Unlock()
	c, ok := f.Find(t.Context(), nsid)
	got := ""
	if ok {
		got = c.Pool + ":" + c.ID
	}
	if got != want {
		t.Errorf("without a walk the owner of nsid %d is %q, want %q", nsid, got, want)
	}
}

// TestNewIsNoticed makes containers after the walk that found the others.
func TestNewIsNoticed(t *testing.T) {
	h := newHost(t)
	h.init(100, "/lxc.payload.a", 5)
	f := h.finder()
	wants(t, f, 5, "lxc:a")
	asked := h.probed
	for i := range 20 {
		h.init(200+i, fmt.Sprintf("/osctl/pool.tank/group.default/user.%d/ct.%d/user-owned/lxc.payload.%d", i, i, i), int32(10+i))
		noticed(t, f, int32(10+i), fmt.Sprintf("tank:%d", i))
	}
	if h.probed != asked || h.asked[100] != 1 {
		t.Errorf("asked about others, too: %v", h.asked)
	}
	for i := range 20 {
		h.kill(200 + i)
		f.Forget(int32(10 + i))
		if i%2 == 0 {
			h.remove(fmt.Sprintf("/osctl/pool.tank/group.default/user.%d", i))
		}
	}
	noticed(t, f, 77, "")
	if n := len(f.hierarchies[0].groups); n != 11 {
		t.Errorf("%d containers, want 11", n)
	}
	// The root, osctl, its pool and group, and of each one left a user and user-owned.
	if n := len(f.watches.nodes); n != 4+10*2 {
		t.Errorf("%d watches, want %d", n, 4+10*2)
	}
	// a, osctl, its pool and group, and of each one left a user, ct, and user-owned.
	if n := f.hierarchies[0].size; n != 4+10*3 {
		t.Errorf("%d nodes, want %d", n, 4+10*3)
	}
}

// TestNextRunIsNoticed starts a container again whose outer cgroup had stayed.
func TestNextRunIsNoticed(t *testing.T) {
	h := newHost(t)
	const outer = "/osctl/pool.tank/group.default/user.1/ct.7/user-owned"
	h.init(100, outer+"/lxc.payload.7", 5)
	f := h.finder()
	wants(t, f, 5, "tank:7")
	h.kill(100)
	h.remove(outer + "/lxc.payload.7")
	f.Forget(5)
	noticed(t, f, 5, "")
	f.hierarchies[0].groups[0].stirred = time.Time{} // long ago
	h.init(101, outer+"/lxc.payload.7", 6)
	noticed(t, f, 6, "tank:7")
}

// TestMadeStepByStep makes the cgroups of a container one after the other.
func TestMadeStepByStep(t *testing.T) {
	h := newHost(t)
	f := h.finder()
	wants(t, f, 5, "")
	path := ""
	for _, name := range []string{"osctl", "pool.tank", "group.default", "user.1", "ct.7", "lxc.monitor.7", "user-owned", "lxc.payload.7"} {
		path += "/" + name
		h.cgroup(path)
		noticed(t, f, 5, "")
		if name == "lxc.monitor.7" {
			path = strings.TrimSuffix(path, "/"+name)
		}
	}
	h.init(100, path, 5)
	noticed(t, f, 5, "tank:7")
}

// TestSlowStart is a container whose first process comes late, and later still the nsid.
func TestSlowStart(t *testing.T) {
	h := newHost(t)
	h.init(100, "/lxc.payload.a", 5)
	f := h.finder()
	wants(t, f, 5, "lxc:a")
	h.cgroup("/lxc.payload.b")
	noticed(t, f, 6, "")
	h.init(200, "/lxc.payload.b", none)
	noticed(t, f, 6, "")
	h.nsids[200] = 6
	noticed(t, f, 6, "lxc:b")
}

// TestWatchesOverrun loses what watches had to tell.
func TestWatchesOverrun(t *testing.T) {
	h := newHost(t)
	h.init(100, "/x/lxc.payload.a", 5)
	f := h.finder()
	wants(t, f, 5, "lxc:a")
	h.init(200, "/x/lxc.payload.b", 6)
	h.kill(100)
	h.remove("/x/lxc.payload.a")
	_ = f.watches.read(func(news) {})
	noticed(t, f, 6, "")
	event := [unix.SizeofInotifyEvent]byte{0: 0xff, 1: 0xff, 2: 0xff, 3: 0xff, 5: unix.IN_Q_OVERFLOW >> 8}
	if !f.watches.decode(event[:], nil) {
		t.Fatal("an overrun is not taken for one")
	}
	f.hierarchies[0].followed = false
	wants(t, f, 6, "lxc:b")
	if n := len(f.hierarchies[0].groups); n != 1 || !f.hierarchies[0].followed {
		t.Errorf("%d containers, followed: %v", n, f.hierarchies[0].followed)
	}
	h.init(300, "/x/lxc.payload.c", 7)
	noticed(t, f, 7, "lxc:c")
}

// TestWithoutWatches says that they are missing.
func TestWithoutWatches(t *testing.T) {
	h := newHost(t)
	h.blind = true
	f := h.finder()
	wants(t, f, 5, "")
	if lines := f.Missing(); len(lines) != 1 || lines[0] != costs[lackWatch]+" (too many open files)" {
		t.Errorf("missing: %q", lines)
	}
}

// TestKnownNeedsNoWalk asks for what is in the map.
func TestKnownNeedsNoWalk(t *testing.T) {
	h := newHost(t)
	h.init(100, "/lxc.payload.a", 5)
	f := h.finder()
	wants(t, f, 5, "lxc:a")
	before := f.turn
	for range 100 {
		wants(t, f, 5, "lxc:a")
	}
	if f.turn != before {
		t.Errorf("%d walks", f.turn-before)
	}
}

// TestCrowdAfterAll gives 50 containers a namespace that were without for long, and lets one
// walk find them all: the next would come too late.
func TestCrowdAfterAll(t *testing.T) {
	h := newHost(t)
	for i := range 50 {
		h.init(100+i, fmt.Sprintf("/lxc.payload.%d", i), none)
	}
	f := h.finder()
	wants(t, f, 99, "")
	for i, g := range f.hierarchies[0].groups {
		g.stirred = time.Time{}
		h.nsids[100+i] = int32(i)
	}
	noticed(t, f, 0, "")
	noticed(t, f, 1, "")
	wants(t, f, 0, "lxc:0")
	if len(f.known) != 50 {
		t.Errorf("%d are known", len(f.known))
	}
}

// TestWatchesOnCgroups makes and removes real cgroups, of which the kernel tells the parent's
// watch alone: those on what is gone must be taken away.
func TestWatchesOnCgroups(t *testing.T) {
	ns, root := nstest.New(t), cgroupRoot(t)
	f := finderIn(t, ns, Config{Cgroup: root})
	find(t, f, nobody)
	for i := range 5 {
		dir := filepath.Join(root, fmt.Sprintf("osctl/pool.tank/group.default/user.%d", i))
		s := sleepIn(t, filepath.Join(dir, "ct.7/user-owned/lxc.payload.7"))
		nsid := vethTo(t, ns, fmt.Sprintf("v%d", i), s.pid())
		noticed(t, f, nsid, "tank:7")
		s.stop()
		f.Forget(nsid)
		noticed(t, f, nobody, "") // which sees that the container has ended
		removeCgroups(t, dir)
		noticed(t, f, nobody, "")
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", f.watches.fd))
	must(t, err)
	// The root, osctl, its pool and group.
	if n := strings.Count(string(text), "inotify wd:"); n != 4 || len(f.watches.nodes) != 4 {
		t.Errorf("the kernel has %d watches, and we know of %d, want 4", n, len(f.watches.nodes))
	}
}
