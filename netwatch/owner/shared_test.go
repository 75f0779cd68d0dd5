package owner

import (
	"errors"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/netwatch/nstest"
)

// TestSharedSocket has several ask at a time by one socket: each has its own answer.
func TestSharedSocket(t *testing.T) {
	ns := nstest.New(t)
	var k *rtnetlink
	var err error
	ns.Do(func() { k, err = openKernel() })
	must(t, err)
	defer func() { must(t, k.close()) }()
	root := cgroupRoot(t)
	var asking sync.WaitGroup
	for range 4 {
		s := sleepIn(t, root+"/lxc.payload.a")
		pid, want, own := s.pid(), nsidOf(t, ns, s.pid()), k.another()
		asking.Go(func() {
			defer own.release()
			for range 500 {
				line, err := own.pidsOf(pid)
				if err != nil || len(line) == 0 {
					t.Errorf("pids of %d: %q, %v", pid, line, err)
					return
				}
				if nsid, err := own.byProcess(pid, func() bool { return true }); nsid != want || err != nil {
					t.Errorf("%d, %v, want %d", nsid, err, want)
					return
				}
				if _, err := own.byPid(1 << 30); !errors.Is(err, errGone) {
					t.Errorf("nobody: %v", err)
					return
				}
			}
		})
	}
	asking.Wait()
}

// TestStaleAnswer has an answer wait that nobody read: it is not taken for another's.
func TestStaleAnswer(t *testing.T) {
	ns := nstest.New(t)
	var k *rtnetlink
	var err error
	ns.Do(func() { k, err = openKernel() })
	must(t, err)
	defer func() { must(t, k.close()) }()
	s := sleepIn(t, cgroupRoot(t)+"/lxc.payload.a")
	want := nsidOf(t, ns, s.pid())
	// Those of 2 askers whose read failed.
	for range 2 {
		k.seq++
		_, err := unix.Write(k.fd, question(nil, k.seq, unix.NETNSA_PID, 1<<30))
		must(t, err)
	}
	if nsid, err := k.another().byPid(s.pid()); nsid != want || err != nil {
		t.Errorf("%d, %v, want %d", nsid, err, want)
	}
}
