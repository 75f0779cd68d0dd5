package netwatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/containers"
	"github.com/osctl/eventd/netwatch/links"
	"github.com/osctl/eventd/netwatch/rtnl"
)

// DefaultReceiveBuffer is the size of the socket's receive buffer in bytes. The kernel doubles it.
const DefaultReceiveBuffer = 8 << 20

// maxUncommitted is how many datagrams are read before what came of them is committed, if the
// queue is not empty before.
const maxUncommitted = 256

// Config configures a [Watcher].
type Config struct {
	Hub           *hub.Hub     // where events and rows go, and where reports come from
	Logger        *slog.Logger // gets problems
	Owners        Owners       // finds owners and states; nil finds none
	ReceiveBuffer int          // of the socket, in bytes; DefaultReceiveBuffer if 0
	Boot          string       // names this boot of the machine; see Run
}

// kernel is the edge to rtnetlink: [rtnl.Socket], and in tests a model that injects faults.
type kernel interface {
	Receive(wait bool) ([]rtnl.Message, error)
	RequestDump(number uint32) error
	Nudge(number uint32) error
	Link(at rtnl.Peer) (rtnl.Link, error)
	SetDeadline(at time.Time) error
	Close() error
}

// Owners finds the owners of namespaces and the states of containers: [containers.Tracker], which
// documents the methods, or a fake in tests.
type Owners interface {
	Owner(nsid int32, still func() bool) (c containers.Container, found bool, next time.Time)
	Runs(c containers.Container) bool
	Begin(listed map[containers.Container]bool) []containers.StateChange
	Run(ctx context.Context, changed func(c containers.Container, nsid int32), state func(containers.StateChange))
	Missing() []string
}

// Watcher turns the link changes of one network namespace into commits.
type Watcher struct {
	hub       *hub.Hub
	log       *slog.Logger
	kernel    kernel
	table     *links.Table
	budgets   *links.Budgets // of what is announced of containers
	owners    Owners
	reports   *hub.Subscription
	now       func() time.Time
	place     string // boot and network namespace, see hub.Batch
	queueSize uint64 // datagrams that the receive buffer holds at most
	missing   missing
	inbox     inbox
	submitted atomic.Int64 // batches that the hub has and has not committed yet
	ready     chan struct{}
	started   atomic.Bool
	stopped   chan struct{}

	// Of the goroutine in Run.
	resync    resync
	datagrams uint64    // read so far
	lost      bool      // messages were lost since the queue was last empty
	learnt    *learnt   // nil for nothing
	retryAt   time.Time // when to look whether the hub's queue, which was full, has room; zero if it was not
}

// New returns a watcher of the network namespace of the calling thread, and opens its socket, so messages
// are queued from now on. Either Run or Close must follow.
//
// New announces containers as stopped whose state in the hub's view is of another boot, and announces the
// states of cgroups that the view does not have. When it returns, these events are committed.
//
// Listening needs no privilege. A large receive buffer needs CAP_NET_ADMIN; without it the limit is
// net.core.rmem_max: see [Watcher.Missing].
func New(config Config) (*Watcher, error) {
	size := config.ReceiveBuffer
	if size == 0 {
		size = DefaultReceiveBuffer
	}
	s, err := rtnl.Open(size)
	if err != nil {
		return nil, fmt.Errorf("netwatch: %w", err)
	}
	namespace, err := s.Namespace()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("netwatch: %w", err), s.Close())
	}
	w, err := newWatcher(&config, s, s.HearsNamespaces())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("netwatch: %w", err), s.Close())
	}
	if err := errors.Join(w.endFormerBoot(), w.beginStates(w.commitNow)); err != nil {
		return nil, errors.Join(fmt.Errorf("netwatch: %w", err), w.Close())
	}
	w.place += "/" + namespace
	w.queueSize = maxQueued(s.ReceiveBuffer())
	if s.ReceiveBuffer() < size {
		w.missing.buffer = fmt.Sprintf(missingBuffer, s.ReceiveBuffer()>>10, size>>10)
	}
	w.sayMissing()
	return w, nil
}

// maxQueued returns how many datagrams fit into a receive buffer that was asked for. The kernel
// doubles the size, and counts at least 768 bytes for each (SKB_TRUESIZE).
func maxQueued(buffer int) uint64 { return uint64(2*buffer/768) + 1 } //nolint:gosec // not negative

func newWatcher(config *Config, k kernel, hears bool) (*Watcher, error) {
	netif, err := hub.Filter{}.With("type", hub.TypeNetif)
	if err != nil {
		return nil, err
	}
	reports, err := config.Hub.Subscribe(netif, "")
	if err != nil {
		return nil, fmt.Errorf("follow reports: %w", err)
	}
	w := &Watcher{
		hub: config.Hub, log: config.Logger, kernel: k, owners: config.Owners, reports: reports, now: time.Now,
		budgets: links.NewBudgets(links.InterfaceBudget, links.ContainerBudget),
		place:   config.Boot, queueSize: maxQueued(DefaultReceiveBuffer),
		resync: resync{wanted: becauseStart, backoff: backoff}, ready: make(chan struct{}), stopped: make(chan struct{}),
	}
	w.table = links.New(links.Config{
		Now: func() time.Time { return w.now() }, Owners: config.Owners != nil, Hears: hears, Budgets: w.budgets,
	})
	w.missing.deaf = !hears
	return w, nil
}

// Ready is closed when the first dump has been committed. The view then has all veths, except those over
// the budget of their container.
func (w *Watcher) Ready() <-chan struct{} { return w.ready }

// Close closes the socket of a watcher that is never run. Run does it itself.
func (w *Watcher) Close() error {
	if w.started.Swap(true) {
		return nil
	}
	return w.stop()
}

func (w *Watcher) stop() error {
	w.inbox.stop()
	close(w.stopped)
	w.reports.Close()
	return w.kernel.Close()
}

// Run watches until ctx is done and returns nil. It may be called once. It compares the first dump with
// the interfaces in the hub's view. If these are of another boot of the machine or another network
// namespace, all of them are gone. Run repairs lost messages, interrupted dumps and the like. It returns
// an error only if it cannot continue: the hub was closed ([hub.ErrClosed]), or the socket failed for
// good.
func (w *Watcher) Run(ctx context.Context) error {
	if w.started.Swap(true) {
		return fmt.Errorf("netwatch: run: %w", ErrStopped)
	}
	ctx, cancel := context.WithCancel(ctx)
	var helpers sync.WaitGroup
	helpers.Go(func() { w.followReports(ctx) })
	if w.owners != nil {
		helpers.Go(func() { w.owners.Run(ctx, w.changed, w.changedState) })
	}
	woken := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(woken)
		w.wake(nil)
	})
	err := w.begin()
	if err == nil {
		err = w.loop(ctx)
	}
	cancel()
	helpers.Wait()
	<-woken
	if closing := w.stop(); closing != nil {
		w.log.Warn("closing", slog.Any("error", closing))
	}
	if err != nil {
		return fmt.Errorf("netwatch: %w", err)
	}
	return nil
}

// loop takes turns, and waits for the kernel when there is nothing else to do.
func (w *Watcher) loop(ctx context.Context) error {
	wait := false
	for ctx.Err() == nil {
		idle, err := w.turn(wait)
		if err != nil {
			return err
		}
		if wait, err = w.sleep(idle); err != nil {
			return err
		}
	}
	return nil
}

// turn reads what the kernel has queued, takes what was learnt before that, asks what is to be
// asked, and commits what came of it. It reports whether there is nothing left to do.
func (w *Watcher) turn(wait bool) (idle bool, err error) {
	w.inbox.beginTurn()
	empty, err := w.read(wait)
	if err != nil {
		return false, err
	}
	if empty && w.lost {
		w.suspect()
	}
	w.takeLearnt(empty)
	w.table.Expire()
	if err := w.catchUp(); err != nil {
		return false, err
	}
	if empty {
		if err := w.tendDump(); err != nil {
			return false, err
		}
	}
	w.learn(empty)
	if err := w.announceStates(); err != nil { // before the up of an interface of the container
		return false, err
	}
	if err := w.commit(); err != nil {
		return false, err
	}
	idle = empty && w.learnt == nil
	w.finishWaiters(idle)
	return idle, nil
}

// read applies what is queued, up to maxUncommitted datagrams, and reports whether the queue was
// seen empty. With wait it waits for the first.
func (w *Watcher) read(wait bool) (empty bool, err error) {
	for range maxUncommitted {
		messages, err := w.kernel.Receive(wait)
		wait = false
		switch {
		case errors.Is(err, unix.EAGAIN):
			return true, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue // time for something else, or the end
		case isLoss(err):
			w.noteLoss(err)
		case err != nil:
			return false, err
		}
		w.datagrams++
		for i := range messages {
			w.message(&messages[i])
		}
	}
	return false, nil
}

// message applies one message. Of what other namespaces say, only links count.
func (w *Watcher) message(m *rtnl.Message) {
	isLink := m.Type == unix.RTM_NEWLINK || m.Type == unix.RTM_DELLINK
	switch {
	case m.From != rtnl.NSIDLocal:
		if isLink {
			w.table.Inside(&m.Link, m.From)
		}
	case m.Request != 0:
		w.answer(m)
	case isLink:
		if w.table.Apply(&m.Link, false) {
			w.resync.want(becauseForeign)
		}
	case m.Type == unix.RTM_NEWNSID || m.Type == unix.RTM_DELNSID:
		w.table.Renumbered(m.NSID)
	}
}
