package netwatch

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/containers"
	"github.com/osctl/eventd/netwatch/nstest"
	"github.com/osctl/eventd/netwatch/rtnl"
)

// TestIdle expects an idle watcher to wait once, without a timer.
func TestIdle(t *testing.T) {
	w := newWatcherIn(t, nstest.New(t), &Config{Hub: newHub(t)})
	run(t, w)
	k := w.kernel.(*observer)
	must(t, w.Check(t.Context()))
	const checks = 1000
	before := k.receives.Load()
	for range checks {
		must(t, w.Check(t.Context()))
	}
	// Each check ends one wait, and the queue is found empty twice.
	if n := k.receives.Load() - before; n < checks || n > 5*checks+5 {
		t.Errorf("%d receives for %d checks", n, checks)
	}
	if at := k.deadline.Load(); at != nil && !at.IsZero() && at.After(time.Unix(1, 0)) {
		t.Errorf("the watcher wakes up at %v", at)
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
		for range 32 {
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
		w.waitCommitted()
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
}

// checkedMidway is a kernel that has Check called while a turn receives for the first time.
type checkedMidway struct {
	kernel
	w     *Watcher
	check chan struct{} // of the inbox
	ended chan error    // the result of Check
}

func (c *checkedMidway) Receive(wait bool) ([]rtnl.Message, error) {
	if c.ended == nil {
		c.ended = make(chan error, 1)
		go func() { c.ended <- c.w.Check(context.Background()) }()
		for c.check == nil {
			c.w.inbox.mu.Lock()
			c.check = c.w.inbox.check
			c.w.inbox.mu.Unlock()
		}
	}
	return c.kernel.Receive(wait)
}

// TestCheckTakesATurn expects Check to end with a turn that began after it.
func TestCheckTakesATurn(t *testing.T) {
	w := newFakeWatcher(t, newHub(t), &fake{links: map[uint32]*fakeLink{}})
	k := &checkedMidway{kernel: w.kernel, w: w}
	w.kernel = k
	turns(t, w, 1)
	select {
	case <-k.check:
		t.Error("over with a turn that began before the call")
	default:
	}
	turns(t, w, 1)
	must(t, <-k.ended)
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

// dying is a kernel whose socket fails permanently.
type dying struct{ fake }

func (*dying) Receive(bool) ([]rtnl.Message, error) { return nil, unix.EBADF }

func TestRunEndsWithTheSocket(t *testing.T) {
	w := newFakeWatcher(t, newHub(t), &dying{})
	if err := w.Run(t.Context()); !errors.Is(err, unix.EBADF) {
		t.Error(err)
	}
}

// TestDumpPause expects a pause between dumps.
func TestDumpPause(t *testing.T) {
	f := &fake{links: map[uint32]*fakeLink{}}
	w := newFakeWatcher(t, newHub(t), f)
	now := time.Now()
	w.now = func() time.Time { return now }
	lose := func(want int) {
		t.Helper()
		for range 100 {
			f.pending = rtnl.ErrLost
			turns(t, w, 1)
		}
		if next := now.Add(dumpPause); f.dumps != want || !w.resync.alarm().Equal(next) {
			t.Errorf("%d dumps, want %d; the next at %v, want %v", f.dumps, want, w.resync.alarm(), next)
		}
	}
	lose(1)
	now = now.Add(dumpPause)
	lose(2)
}

// TestLargeBatches expects changes that exceed one batch to be split.
func TestLargeBatches(t *testing.T) {
	h := newHub(t)
	w := newFakeWatcher(t, h, &fake{})
	const n = 3*hub.MaxBatch + 1
	for i := range uint32(n) {
		w.table.Apply(&rtnl.Link{Ifindex: i + 1, Name: "h", Flags: flagsUp, Peer: alone}, false)
	}
	must(t, w.commitChanges(w.submit))
	w.waitCommitted()
	if s := h.Status(); s.Interfaces != n || s.Last != n {
		t.Errorf("%+v", s)
	}
}

// TestAnswersWaitForTheQueue expects an answer to be applied after all messages that were queued at the
// time of the question, and expects later messages not to delay it forever.
func TestAnswersWaitForTheQueue(t *testing.T) {
	f := &fake{links: map[uint32]*fakeLink{7: {name: "h", flags: flagsUp, peer: rtnl.Peer{NSID: 0, Ifindex: 2}}}, inner: map[rtnl.Peer]*fakeLink{}}
	f.makeInner(7, f.links[7].peer)
	h := newHub(t)
	events := follow(t, h)
	w := patient(newFakeWatcher(t, h, f))
	w.queueSize = 3 * maxUncommitted
	w.resync = resync{dumps: 1, finished: true}
	noise := func(n int) {
		for range n {
			f.sayFrom(5, newLink(3, &fakeLink{name: "own", peer: rtnl.Peer{NSID: 1, Ifindex: 9}}))
		}
	}
	turn := func() {
		_, err := w.turn(false)
		must(t, err)
	}
	f.tell(7)
	turn()
	noise(2 * maxUncommitted)
	f.say(nsidMessage(unix.RTM_DELNSID, 0)) // the namespace of the question is gone
	turn()
	turn()
	if n := len(events.read(t)); n != 0 || w.findings == nil {
		t.Fatalf("%d events before the queue was read", n)
	}
	for range 10 { // the queue never becomes empty
		noise(2 * maxUncommitted)
		turn()
	}
	if w.findings != nil && w.datagrams >= w.findings.until {
		t.Error("an answer is delayed forever")
	}
}

// TestKnownInterface expects no question at the down of a known interface. At its up it expects one
// question for the owner, and questions only about the link itself.
func TestKnownInterface(t *testing.T) {
	f := &fake{links: map[uint32]*fakeLink{7: {name: "h", flags: flagsUp, peer: rtnl.Peer{NSID: 0, Ifindex: 2}}}, inner: map[rtnl.Peer]*fakeLink{}}
	f.makeInner(7, f.links[7].peer)
	h := newHub(t)
	events := follow(t, h)
	owners := &confirmer{}
	w, err := newWatcher(&Config{Hub: h, Logger: slog.New(slog.DiscardHandler), Owners: owners}, f, true)
	must(t, err)
	turns(t, w, 5)
	for i := range 5 {
		for _, c := range []struct {
			flags        uint32
			links, owner int
		}{{flagsNoCarrier, 0, 0}, {flagsUp, 2, 1}} {
			f.asked, owners.asked = 0, 0
			f.links[7].flags = c.flags
			f.tell(7)
			if turns(t, w, 5); f.asked != c.links || owners.asked != c.owner {
				t.Errorf("change %d to %#x: asked for links %d times, for the owner %d times", i, c.flags, f.asked, owners.asked)
			}
		}
	}
	w.waitCommitted()
	if n := len(events.read(t)); n != 11 {
		t.Errorf("%d events", n)
	}
}

// confirmer is Owners that knows the owner of everything, and counts how often it is asked.
type confirmer struct {
	Owners

	asked int
}

func (c *confirmer) Owner(_ int32, still func() bool) (containers.Container, bool, time.Time) {
	c.asked++
	return containers.Container{Pool: "tank", ID: "101"}, still(), time.Time{}
}
