package owner

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/netwatch/nstest"
)

// users makes so many containers in one group of osctl's that it is held open, each of a
// user of its own. first is the number of the first.
func (h *fakeHost) users(first int) {
	h.t.Helper()
	for i := first; i <= first+crowdFor; i++ {
		h.init(1000+i, fmt.Sprintf("/osctl/pool.tank/group.default/user.%d/ct.%[1]d/user-owned/lxc.payload.%[1]d", i), int32(i))
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
	wasHeld(t, f, maxShortcuts)
}

// wasHeld checks how many cgroups were held open, and that none is any more.
func wasHeld(t *testing.T, f *Finder, want int) {
	t.Helper()
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
	if held != want || len(f.shortcuts) != 0 {
		t.Errorf("%d were held open, want %d; %d listed as open", held, want, len(f.shortcuts))
	}
}

// TestShortcutsOfNews has many cgroups come at once, after the walk.
func TestShortcutsOfNews(t *testing.T) {
	h := newHost(t)
	h.init(100, "/lxc.payload.a", 5)
	f := h.finder()
	wants(t, f, 5, "lxc:a")
	before := openFiles(t)
	h.users(1000)
	noticed(t, f, 1000, "tank:1000")
	wasHeld(t, f, 1)
	if now := openFiles(t); now > before {
		t.Errorf("%d files are open, and were %d before", now, before)
	}
}

// TestShortcutsLeaveFiles walks where few more files may be opened: none are held open.
func TestShortcutsLeaveFiles(t *testing.T) {
	for _, c := range []struct{ files, held int }{{spareFiles - 1, 0}, {spareFiles + 16, 1}} {
		h := newHost(t)
		h.users(0)
		f := h.finder()
		leaveFiles(t, c.files, func() { f.Find(t.Context(), 1<<20) })
		wasHeld(t, f, c.held)
		wants(t, f, crowdFor, fmt.Sprintf("tank:%d", crowdFor))
	}
}

// leaveFiles lets do open so many more files at a time.
func leaveFiles(t *testing.T, files int, do func()) {
	t.Helper()
	runtime.GC() // closes what nobody holds any more, rather than in between
	var was unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &was))
	low := was
	low.Cur = 0
	for ; files > 0; low.Cur++ {
		if _, err := unix.FcntlInt(uintptr(low.Cur), unix.F_GETFD, 0); err != nil {
			files--
		}
	}
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &low))
	defer func() { must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &was)) }()
	do()
}

// TestHelpersAsManyAsFit opens a finder where there are files for none or some of its
// helpers, and where it may have all, one less than there are processors.
func TestHelpersAsManyAsFit(t *testing.T) {
	ns := nstest.New(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3))
	const own = 3 // files of the first: the socket, the namespace, fdinfo
	for _, c := range []struct{ files, helpers int }{{own, 0}, {own + 1, 1}, {own + 2, 2}, {own + 100, 2}} {
		ns.Do(func() {
			leaveFiles(t, c.files, func() {
				f, err := New(Config{})
				if err != nil {
					t.Errorf("%d files: %v", c.files, err)
					return
				}
				if got := len(f.helpers); got != c.helpers {
					t.Errorf("%d files: %d helpers, want %d", c.files, got, c.helpers)
				}
				must(t, f.Close())
			})
		})
	}
}

// TestShortcutGone has a cgroup be replaced by one of the same name while it is held open.
func TestShortcutGone(t *testing.T) {
	eachWay(t, func(t *testing.T, h *fakeHost) {
		h.users(0)
		h.during = func(int) {
			h.during = nil
			h.remove("/osctl/pool.tank/group.default")
			h.users(1000)
		}
		f := h.finder()
		f.Find(t.Context(), 1<<20)
		for i := int32(0); i <= crowdFor; i += 8 {
			wants(t, f, 1000+i, fmt.Sprintf("tank:%d", 1000+i))
		}
	})
}
