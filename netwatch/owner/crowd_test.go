package owner

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"
)

// crowded makes a host with many containers, and lets four processors be used.
func crowded(t *testing.T, containers int) *fakeHost {
	t.Helper()
	old := runtime.GOMAXPROCS(4)
	t.Cleanup(func() { runtime.GOMAXPROCS(old) })
	h := newHost(t)
	h.helpers = []kernel{h, h, h}
	for i := range containers {
		h.init(1000+i, fmt.Sprintf("/osctl/pool.tank/group.default/user.%d/ct.%[1]d/user-owned/lxc.payload.%[1]d", i), int32(i))
	}
	return h
}

// TestCrowd asks each of many containers once, and has the owner of each.
func TestCrowd(t *testing.T) {
	const containers = 100
	h := crowded(t, containers)
	for i := range 20 { // stopped ones, and some that are no osctl's
		h.cgroup(fmt.Sprintf("/osctl/pool.tank/group.default/user.s%d/ct.s%[1]d/user-owned", i))
		h.init(5000+i, fmt.Sprintf("/lxc.payload.d%d", i), int32(containers+i))
	}
	f := h.finder()
	wants(t, f, containers-1, fmt.Sprintf("tank:%d", containers-1))
	for i := range containers {
		wants(t, f, int32(i), fmt.Sprintf("tank:%d", i))
		if n := h.asked[1000+i]; n != 1 {
			t.Errorf("container %d was asked %d times", i, n)
		}
	}
	for i := range 20 {
		wants(t, f, int32(containers+i), fmt.Sprintf("lxc:d%d", i))
	}
	if f.crowd != nil || f.helped == 0 {
		t.Errorf("helped for %v, at the end: %v", f.helped, f.crowd)
	}
	watched := 0
	for _, w := range f.watches.nodes {
		if w.n.group != nil {
			watched++
		}
	}
	if watched != 20 {
		t.Errorf("%d containers that were stopped are watched, want 20", watched)
	}
	// A container that starts in a cgroup that was empty then is heard of.
	h.init(6000, "/osctl/pool.tank/group.default/user.s7/ct.s7/user-owned/lxc.payload.s7", 4000)
	wants(t, f, 4000, "tank:s7")
}

// TestCrowdDies has processes die while they are asked, and the walk end early.
func TestCrowdDies(t *testing.T) {
	h := crowded(t, 100)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dead := map[int]bool{}
	h.during = func(pid int) {
		switch {
		case pid%3 == 0:
			h.mu.Lock()
			delete(h.nsids, pid)
			dead[pid] = true
			h.mu.Unlock()
		case pid == 1070:
			cancel()
		}
	}
	f := h.finder()
	f.Find(ctx, 5000)
	h.during = nil
	for i := range 100 {
		want := fmt.Sprintf("tank:%d", i)
		if dead[1000+i] {
			want = ""
		}
		wants(t, f, int32(i), want)
	}
}

// TestCrowdCosts counts the processor time of those who help.
func TestCrowdCosts(t *testing.T) {
	h := crowded(t, 100)
	f := h.finder()
	f.stage(&f.walks, func() { f.helped = time.Hour })
	if spent := f.walks.spent; spent < time.Hour {
		t.Errorf("a walk that was helped for an hour cost %v", spent)
	}
	rested(f)
	f.stage(&f.walks, func() {})
	if spent := f.walks.spent; spent > time.Hour+time.Minute {
		t.Errorf("with one that was not helped: %v", spent)
	}
}

// TestCrowdReplaced has a stopped container's cgroup be replaced by one of the same name
// before the walk is at its end: the one that is gone takes no watch from that.
func TestCrowdReplaced(t *testing.T) {
	h := newHost(t)
	const path = "/osctl/pool.tank/group.default/user.1/ct.1/user-owned"
	h.cgroup(path)
	f := h.finder()
	wants(t, f, 1, "")
	old := f.hierarchies[0].groups[0]
	h.remove("/osctl/pool.tank/group.default/user.1")
	h.cgroup(path)
	wants(t, f, 2, "")
	f.end(old, false) // as disperse does
	if now := f.hierarchies[0].groups[0]; now == old || !old.gone || f.watches.nodes[now.node.watch].n != now.node || old.node.watch != 0 {
		t.Errorf("watch %d of the old, %d of the new, which is told to %v", old.node.watch, now.node.watch, f.watches.nodes[now.node.watch].n)
	}
	h.init(100, path+"/lxc.payload.1", 3)
	wants(t, f, 3, "tank:1")
}

// TestEndsEarly has the context end while the first of several new containers is asked, in
// a walk and in a look: the others are found by the next.
func TestEndsEarly(t *testing.T) {
	eachWay(t, func(t *testing.T, h *fakeHost) {
		f := h.finder()
		for round := range 2 {
			var nsids []int32
			for i := range 5 {
				n := 10*round + i
				h.init(1000+n, fmt.Sprintf("/lxc.payload.%d", n), int32(n))
				nsids = append(nsids, int32(n))
			}
			ctx, cancel := context.WithCancel(t.Context())
			h.during = func(int) { cancel() }
			rested(f)
			f.Find(ctx, 5000)
			h.during = nil
			cancel()
			for _, nsid := range nsids {
				wants(t, f, nsid, fmt.Sprintf("lxc:%d", nsid))
			}
		}
	})
}
