package owner

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/netwatch/nstest"
)

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
