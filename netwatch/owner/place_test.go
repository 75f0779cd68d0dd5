package owner

import (
	"fmt"
	"os"
	"testing"
)

// users makes containers, each of a user of its own, in a group of osctl's.
func (h *fakeHost) users(group string, first, count int) {
	h.t.Helper()
	for i := first; i < first+count; i++ {
		h.init(1000+i, fmt.Sprintf("/osctl/pool.tank/%s/user.%d/ct.%[2]d/user-owned/lxc.payload.%[2]d", group, i), int32(i))
	}
}

// openFiles returns how many files this process has open.
func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(files)
}

// TestShortcuts walks over more cgroups with many in them than are held open at a time:
// all containers are found, and nothing stays open.
func TestShortcuts(t *testing.T) {
	h := newHost(t)
	const many = crowdFor + 1
	for group := range maxShortcuts + 2 {
		for i := group * many; i < (group+1)*many; i++ {
			h.init(1000+i, fmt.Sprintf("/slice.%d/lxc.payload.%d", group, i), int32(i))
		}
	}
	f := h.finder()
	before := openFiles(t)
	f.Find(t.Context(), 1<<20)
	if now := openFiles(t); now > before {
		t.Errorf("%d files are open, and were %d before", now, before)
	}
	for nsid := range int32(many * (maxShortcuts + 2)) {
		if c, ok := f.lookUp(nsid); !ok || c.ID != fmt.Sprint(nsid) {
			t.Errorf("owner of nsid %d is %v, %v", nsid, c, ok)
		}
	}
	held := 0
	var look func(*node)
	look = func(n *node) {
		if n.held != nil {
			if held++; n.held.fd != -1 {
				t.Errorf("%s is still open", n.path)
			}
		}
		for _, kid := range n.kids {
			look(kid)
		}
	}
	look(f.hierarchies[0].top)
	if held != maxShortcuts || len(f.shortcuts) != 0 {
		t.Errorf("%d were held open, want %d; %d listed as open", held, maxShortcuts, len(f.shortcuts))
	}
}

// TestShortcutGone has a cgroup be replaced by one of the same name while it is held open.
func TestShortcutGone(t *testing.T) {
	eachWay(t, func(t *testing.T, h *fakeHost) {
		h.users("group.default", 0, crowdFor+1)
		h.during = func(int) {
			h.during = nil
			h.remove("/osctl/pool.tank/group.default")
			h.users("group.default", 1000, crowdFor+1)
		}
		f := h.finder()
		f.Find(t.Context(), 1<<20)
		for i := int32(0); i <= crowdFor; i += 8 {
			wants(t, f, 1000+i, fmt.Sprintf("tank:%d", 1000+i))
		}
	})
}
