package containers

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/osctl/eventd/netwatch/nstest"
)

// BenchmarkOwner measures Owner for one of many known containers: the cost of an interface that comes up.
func BenchmarkOwner(b *testing.B) {
	ns, root := nstest.New(b), cgroupRoot(b)
	tracker := trackerIn(b, ns, Config{Cgroup: root})
	var nsid int32
	for i := range 50 {
		s := sleepIn(b, filepath.Join(root, fmt.Sprintf("lxc.payload.ct%d", i)))
		nsid = vethTo(b, ns, fmt.Sprintf("v%d", i), s.pid())
	}
	find(b, tracker, nsid)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, _ := tracker.Owner(nsid, func() bool { return true }); !ok {
			b.Fatal("not found")
		}
	}
}

// BenchmarkSearch measures a search among unchanged containers for an nsid that none has.
func BenchmarkSearch(b *testing.B) {
	ns, root := nstest.New(b), cgroupRoot(b)
	tracker := trackerIn(b, ns, Config{Cgroup: root})
	for i := range 50 {
		s := sleepIn(b, filepath.Join(root, fmt.Sprintf("lxc.payload.ct%d", i)))
		wants(b, tracker, vethTo(b, ns, fmt.Sprintf("v%d", i), s.pid()), fmt.Sprintf("lxc:ct%d", i))
	}
	b.ReportAllocs()
	for b.Loop() {
		tracker.mu.Lock()
		tracker.search(4711, func() bool { return true })
		tracker.mu.Unlock()
	}
}

// BenchmarkQueryNSID measures the question for the nsid of a new container.
func BenchmarkQueryNSID(b *testing.B) {
	ns, root := nstest.New(b), cgroupRoot(b)
	tracker := trackerIn(b, ns, Config{Cgroup: root})
	s := sleepIn(b, filepath.Join(root, "osctl/pool.tank/group.default/user.1/ct.100/user-owned/lxc.payload.100"))
	wants(b, tracker, vethTo(b, ns, "v", s.pid()), "tank:100")
	b.ReportAllocs()
	for b.Loop() {
		tracker.mu.Lock()
		for _, c := range tracker.containers {
			tracker.queryNSID(c)
		}
		tracker.mu.Unlock()
	}
}
