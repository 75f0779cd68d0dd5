package netwatch

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/nstest"
)

// counting counts receives, of which each wake-up takes at least one, and deadlines,
// without which nothing but the kernel wakes the watcher.
type counting struct {
	kernel
	receives, deadlines atomic.Int64
}

func (c *counting) receive(b []byte, wait bool) (int, error) {
	c.receives.Add(1)
	return c.kernel.receive(b, wait)
}

func (c *counting) setDeadline(at time.Time) error {
	c.deadlines.Add(1)
	return c.kernel.setDeadline(at)
}

// TestIdle wants a watcher that has nothing to do to do nothing: what is received
// is what the test asks for, and no timer runs.
func TestIdle(t *testing.T) {
	w := newWatcherIn(t, nstest.New(t), &Config{Hub: newHub(t)})
	k := &counting{kernel: w.kernel}
	w.kernel = k
	run(t, w)
	must(t, w.Check(t.Context()))
	const checks = 1000
	before := k.receives.Load()
	for range checks {
		must(t, w.Check(t.Context()))
	}
	// For each: the answer, that there is no more, and the wait.
	if n := k.receives.Load() - before; n < checks || n > 3*checks+3 {
		t.Errorf("%d receives for %d checks", n, checks)
	}
	if n := k.deadlines.Load(); n != 0 {
		t.Errorf("%d deadlines", n)
	}
}

func TestCheck(t *testing.T) {
	ns := nstest.New(t)
	h := newHub(t)
	w := newWatcherIn(t, ns, &Config{Hub: h})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Check(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("before Run: %v", err)
	}
	t.Run("running", func(t *testing.T) {
		run(t, w)
		var all sync.WaitGroup
		for range maxWaiters / 2 {
			all.Go(func() {
				for range 20 {
					if err := w.Check(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		_, err := ns.Pair("h", "p", nil)
		must(t, err)
		must(t, w.Check(t.Context()))
		if n := h.Status().Interfaces; n != 2 { // Check is a barrier
			t.Errorf("%d interfaces", n)
		}
	})
	if err := w.Check(t.Context()); !errors.Is(err, ErrStopped) {
		t.Errorf("after Run: %v", err)
	}
	if err := w.Run(t.Context()); !errors.Is(err, ErrStopped) {
		t.Errorf("second Run: %v", err)
	}
	if len(w.fences.waiters) != 0 {
		t.Errorf("%d waiters are left", len(w.fences.waiters))
	}
}

func TestCheckIsBounded(t *testing.T) {
	w := newFakeWatcher(t, newHub(t), &fake{})
	for range maxWaiters {
		_, err := w.fences.add(false)
		must(t, err)
	}
	if err := w.Check(t.Context()); !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
}

// TestCheckWaitsForItsAnswer wants neither what came before nor a lost answer to
// end a check, and Settle to wait for the dump too.
func TestCheckWaitsForItsAnswer(t *testing.T) {
	f := &fake{links: map[uint32]*fakeLink{}}
	w := newFakeWatcher(t, newHub(t), f)
	w.resync.backoff = func(int) time.Duration { return 0 }
	turns := func() {
		for range 5 {
			_, err := w.turn(false)
			must(t, err)
		}
	}
	over := func(x *waiter) bool {
		select {
		case <-x.done:
			return true
		default:
			return false
		}
	}
	turns()
	check, err := w.fences.add(false)
	must(t, err)
	f.broadcast(newLink(1, &fakeLink{name: "a"}))
	turns()
	if over(check) {
		t.Error("over without an answer")
	}
	f.congested, f.pending = true, unix.ENOBUFS // the answer is dropped, and asked for again
	must(t, w.sendFence(check.seq))
	turns()
	if !over(check) {
		t.Error("a lost answer was not asked for again")
	}
	settle, err := w.fences.add(true)
	must(t, err)
	must(t, w.sendFence(settle.seq))
	w.resync.want(becauseOverrun)
	w.resync.notBefore = time.Now().Add(time.Hour)
	turns()
	if over(settle) {
		t.Error("settled while a dump is wanted")
	}
	w.resync.notBefore = time.Time{}
	turns()
	if !over(settle) {
		t.Error("not settled")
	}
}

func TestCloseWithoutRun(t *testing.T) {
	w := newWatcherIn(t, nstest.New(t), &Config{Hub: newHub(t)})
	must(t, w.Close())
	must(t, w.Close())
	if err := w.Check(t.Context()); !errors.Is(err, ErrStopped) {
		t.Error(err)
	}
}

func TestRunEndsWithTheHub(t *testing.T) {
	ns := nstest.New(t)
	h := newHub(t)
	w := newWatcherIn(t, ns, &Config{Hub: h})
	_, err := ns.Pair("h", "p", nil)
	must(t, err)
	h.Close()
	if err := w.Run(t.Context()); !errors.Is(err, hub.ErrClosed) {
		t.Error(err)
	}
}

// dying is a kernel whose socket fails for good.
type dying struct{ fake }

func (*dying) receive([]byte, bool) (int, error) { return 0, unix.EBADF }

func TestRunEndsWithTheSocket(t *testing.T) {
	w := newFakeWatcher(t, newHub(t), &dying{})
	if err := w.Run(t.Context()); !errors.Is(err, unix.EBADF) {
		t.Error(err)
	}
}

// TestBackoff wants dumps that follow each other to be spread out.
func TestBackoff(t *testing.T) {
	f := &fake{links: map[uint32]*fakeLink{}}
	w := newFakeWatcher(t, newHub(t), f)
	w.resync.backoff = func(streak int) time.Duration {
		if streak == 0 {
			return 0
		}
		return time.Hour
	}
	for range 100 {
		f.pending = unix.ENOBUFS
		_, err := w.turn(false)
		must(t, err)
	}
	if f.dumps != 2 || w.armed.IsZero() {
		t.Errorf("%d dumps, waking %v", f.dumps, w.armed)
	}
	if backoff(0) != 0 || backoff(1) != firstBackoff || backoff(1000) != lastBackoff {
		t.Error(backoff(0), backoff(1), backoff(1000))
	}
}

// TestForeignSender wants what other processes send to the socket to be ignored.
func TestForeignSender(t *testing.T) {
	ns := nstest.New(t)
	h := newHub(t)
	w := newWatcherIn(t, ns, &Config{Hub: h})
	run(t, w)
	other := openBare(t, ns)
	forged := newLink(1000, &fakeLink{name: "forged", flags: flagsUp})
	must(t, other.conn.Control(func(fd uintptr) {
		if err := unix.Sendto(int(fd), forged, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: w.kernel.port()}); err != nil {
			t.Error(err)
		}
	}))
	must(t, w.Check(t.Context()))
	if n := h.Status().Interfaces; n != 0 {
		t.Error("a forged link was taken")
	}
}

// TestLargeBatches wants what is more than a commit may hold to be split.
func TestLargeBatches(t *testing.T) {
	h := newHub(t)
	w := newFakeWatcher(t, h, &fake{})
	const n = 3*hub.MaxBatch + 1
	for i := range uint32(n) {
		w.table.apply(say(i+1, "h", flagsUp, alone), false)
	}
	must(t, w.commit())
	if s := h.Status(); s.Interfaces != n || s.Last != n {
		t.Errorf("%+v", s)
	}
}
