package owner

import (
	"fmt"
	"sync"
	"testing"
)

// TestReboot is a container that gets a new namespace in the cgroup that it had.
func TestReboot(t *testing.T) { eachWay(t, reboot) }

func reboot(t *testing.T, h *fakeHost) {
	t.Helper()
	h.init(100, "/lxc.payload.a", 5)
	h.init(200, "/lxc.payload.b", 6)
	f := h.finder()
	wants(t, f, 5, "lxc:a")
	h.kill(100)
	h.init(101, "/lxc.payload.a", 7)
	wants(t, f, 7, "lxc:a") // the old namespace is not gone yet
	f.Forget(5)
	wants(t, f, 5, "")
	wants(t, f, 6, "lxc:b")
}

// TestReuse gives the nsid of a container that died to another, at once.
func TestReuse(t *testing.T) { eachWay(t, reuse) }

func reuse(t *testing.T, h *fakeHost) {
	t.Helper()
	f := h.finder()
	for i := range 20 {
		h.init(100+i, fmt.Sprintf("/lxc.payload.ct%d", i), 0)
		f.Forget(0)
		wants(t, f, 0, fmt.Sprintf("lxc:ct%d", i))
		h.kill(100 + i)
		if i%2 == 0 {
			h.remove(fmt.Sprintf("/lxc.payload.ct%d", i))
		}
	}
	f.Forget(0)
	wants(t, f, 0, "")
}

// TestReuseInPlace makes cgroups anew under the same path.
func TestReuseInPlace(t *testing.T) { eachWay(t, reuseInPlace) }

func reuseInPlace(t *testing.T, h *fakeHost) {
	t.Helper()
	f := h.finder()
	for i := range 20 {
		path := "/osctl/pool.tank/group.default/user.1/ct.100/user-owned/lxc.payload.100"
		h.init(100+i, path, int32(i))
		wants(t, f, int32(i), "tank:100")
		h.kill(100 + i)
		h.remove("/osctl/pool.tank/group.default/user.1")
	}
}

func TestDiesMidway(t *testing.T) { eachWay(t, diesMidway) }

func diesMidway(t *testing.T, h *fakeHost) {
	t.Helper()
	h.init(100, "/lxc.payload.a", 5)
	f := h.finder()
	h.during = func(pid int) { h.during = nil; h.kill(pid) }
	wants(t, f, 5, "")
	h.init(101, "/lxc.payload.a", 5)
	h.during = func(pid int) { h.during = nil; h.kill(pid); h.remove("/lxc.payload.a") }
	wants(t, f, 5, "")
	h.init(102, "/lxc.payload.b", 5)
	wants(t, f, 5, "lxc:b")
}

// TestPidReused: between the reading of a cgroup's processes and the query, the pid
// came to mean a process elsewhere.
func TestPidReused(t *testing.T) {
	h := newHost(t)
	h.init(100, "/lxc.payload.a", 5)
	f := h.finder()
	h.during = func(pid int) {
		h.during = nil
		h.kill(pid)
		h.init(pid, "/lxc.payload.b", 5)
	}
	wants(t, f, 5, "") // b is newer than this walk's list of cgroups
	wants(t, f, 5, "lxc:b")
}

func TestForgetDuringQuery(t *testing.T) {
	h := newHost(t)
	h.init(100, "/lxc.payload.a", 5)
	f := h.finder()
	h.during = func(int) {
		// The namespace dies after the kernel answered, and the number goes to another.
		h.during = nil
		f.Forget(5)
		h.nsids[100] = 6
		h.init(200, "/lxc.payload.b", 5)
	}
	wants(t, f, 5, "")
	wants(t, f, 5, "lxc:b")
	wants(t, f, 6, "lxc:a")
}

func TestForgetAlwaysDuringQuery(t *testing.T) {
	h := newHost(t)
	h.init(100, "/lxc.payload.a", 5)
	f := h.finder()
	h.during = func(int) { f.Forget(99) }
	wants(t, f, 5, "")
	if h.asked[100] != maxTries {
		t.Errorf("asked %d times, want %d", h.asked[100], maxTries)
	}
	h.during = nil
	wants(t, f, 5, "lxc:a")
}

func TestForgetAll(t *testing.T) { eachWay(t, forgetAll) }

func forgetAll(t *testing.T, h *fakeHost) {
	t.Helper()
	h.init(100, "/lxc.payload.a", 5)
	f := h.finder()
	wants(t, f, 5, "lxc:a")
	h.nsids[100] = 6
	f.ForgetAll()
	if _, ok := f.lookUp(5); ok {
		t.Error("5 is known still")
	}
	wants(t, f, 6, "lxc:a")
}

func TestConcurrently(t *testing.T) {
	h := newHost(t)
	for i := range 20 {
		h.init(100+i, fmt.Sprintf("/lxc.payload.ct%d", i), int32(i))
	}
	f := h.finder()
	var others sync.WaitGroup
	done := make(chan struct{})
	for range 3 {
		others.Go(func() {
			for i := int32(0); ; i++ {
				select {
				case <-done:
					return
				default:
				}
				if c, ok := f.lookUp(i % 20); ok && c.ID != fmt.Sprintf("ct%d", i%20) {
					t.Errorf("nsid %d is of %v", i%20, c)
					return
				}
				f.NextWalk()
				f.Missing()
				if i%64 == 0 {
					f.Forget(i / 64 % 20)
				}
			}
		})
	}
	for i := range 200 {
		rested(f)
		f.Find(t.Context(), int32(i%20))
	}
	close(done)
	others.Wait()
	for i := range 20 {
		wants(t, f, int32(i), fmt.Sprintf("lxc:ct%d", i))
	}
}
