package owner

import (
	"fmt"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/netwatch/nstest"
)

// TestCrowdOfKernels has many containers be asked by several at a time, of the kernel.
func TestCrowdOfKernels(t *testing.T) {
	old := runtime.GOMAXPROCS(1 + maxHelpers)
	defer runtime.GOMAXPROCS(old)
	const containers = crowdFor + 36
	ns, root, nsids := hostOf(t, containers, 1, layouts["osctl"])
	names := t.TempDir()
	before := openFiles(t)
	for range 10 {
		var f *Finder
		var err error
		ns.Do(func() { f, err = New(Config{Cgroup: root, Netns: names}) })
		must(t, err)
		if len(f.helpers) != maxHelpers {
			t.Errorf("%d may help, want %d", len(f.helpers), maxHelpers)
		}
		wants(t, f, nobody, "")
		for i, nsid := range nsids {
			if c, ok := f.lookUp(nsid); c != (Container{"tank", fmt.Sprint(i)}) {
				t.Errorf("owner of nsid %d is %v, %v, want tank:%d", nsid, c, ok, i)
			}
		}
		must(t, f.Close())
	}
	if now := openFiles(t); now > before {
		t.Errorf("%d files are open, and were %d before", now, before)
	}
}

// TestStaleAnswer has an answer wait that nobody read: it is not taken for another's.
func TestStaleAnswer(t *testing.T) {
	ns := nstest.New(t)
	k := kernelIn(t, ns)
	s := sleepIn(t, cgroupRoot(t)+"/lxc.payload.a")
	want := nsidOf(t, ns, s.pid())
	// Those of two questions whose read failed.
	for range 2 {
		k.seq++
		_, err := unix.Write(k.fd, question(nil, k.seq, unix.NETNSA_PID, 1<<30))
		must(t, err)
	}
	if nsid, err := k.byPid(s.pid()); nsid != want || err != nil {
		t.Errorf("%d, %v, want %d", nsid, err, want)
	}
}
