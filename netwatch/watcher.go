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

// maxUncommitted is how many datagrams one turn reads before it commits their changes, if the queue
// does not become empty earlier.
const maxUncommitted = 256

// Config configures a [Watcher].
type Config struct {
	Hub           *hub.Hub     // where events and rows go, and where reports come from
	Logger        *slog.Logger // for problems
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
	Left(c containers.Container, nsid int32) bool
	Begin(listed map[containers.Container]containers.State) []containers.StateChange
	Run(ctx context.Context, changed func(c containers.Container, nsid int32), state func(containers.StateChange))
	Missing() []string
}

// Watcher turns the link changes of one network namespace into commits.
type Watcher struct {
	hub       *hub.Hub
	log       *slog.Logger
	kernel    kernel
	table     *links.Table
	budgets   *links.Budgets // of containers, for their interfaces and states
	owners    Owners
	reports   *hub.Subscription
	now       func() time.Time
	place     string // boot and network namespace, see hub.Batch
	queueSize uint64 // how many datagrams fit into the receive buffer
	missing   missing
	inbox     inbox
	submitted atomic.Int64 // batches in the hub's queue
	ready     chan struct{}
	started   atomic.Bool
	stopped   chan struct{}

	// Used only by the goroutine in Run.
	resync    resync
	datagrams uint64       // read so far
	lost      bool         // messages were lost since the queue was last empty
	findings  *findings    // nil if there are none
	warnedAt  time.Time    // when a full queue of the hub was logged last
	unsent    []stateEvent // the hub refused them
	retryAt   time.Time    // when to try the hub again because its queue was full; else zero
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
	if err := errors.Join(w.endFormerBoot(), w.beginStates()); err != nil {
		return nil, errors.Join(fmt.Errorf("netwatch: %w", err), w.Close())
	}
	w.place += "/" + namespace
	w.queueSize = maxQueued(s.ReceiveBuffer())
	if s.ReceiveBuffer() < size {
		w.missing.socket = append(w.missing.socket, fmt.Sprintf(missingBuffer, s.ReceiveBuffer()>>10, size>>10))
	}
	if !s.HearsNamespaces() {
		w.missing.socket = append(w.missing.socket, missingBroadcast)
	}
	w.logMissing()
	return w, nil
}

// maxQueued returns how many datagrams fit at most into a receive buffer. The kernel doubles the size
// of the buffer, and counts at least 768 bytes for each datagram (SKB_TRUESIZE).
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
		resync: resync{wanted: becauseStart, pause: dumpPause}, ready: make(chan struct{}), stopped: make(chan struct{}),
	}
	w.table = links.New(links.Config{
		Now: func() time.Time { return w.now() }, Owners: config.Owners != nil, Hears: hears, Budgets: w.budgets,
	})
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
	close(w.stopped)
	w.reports.Close()
	return w.kernel.Close()
}

// Run watches until ctx is done, and then returns nil. It may be called once. It compares the first dump
// with the interfaces in the hub's view. If the view is of another boot of the machine or another network
// namespace, all its interfaces are gone. Run recovers from lost messages, interrupted dumps and the like.
// It returns an error only if it cannot continue: the hub was closed ([hub.ErrClosed]), or the socket
// failed permanently.
func (w *Watcher) Run(ctx context.Context) error {
	if w.started.Swap(true) {
		return fmt.Errorf("netwatch: run: %w", ErrStopped)
	}
	ctx, cancel := context.WithCancel(ctx)
	var helpers sync.WaitGroup
	helpers.Go(func() { w.followReports(ctx) })
	if w.owners != nil {
		helpers.Go(func() { w.owners.Run(ctx, w.queueRecheck, w.queueState) })
	}
	woken := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(woken)
		w.wake(nil)
	})
	err := w.seedTable()
	if err == nil {
		err = w.loop(ctx)
	}
	cancel()
	helpers.Wait()
	<-woken
	if closing := w.stop(); closing != nil {
		w.log.Warn("cannot close the watcher", slog.Any("error", closing))
	}
	if err != nil {
		return fmt.Errorf("netwatch: %w", err)
	}
	return nil
}

// loop takes turns, and waits for the kernel when a turn leaves nothing to do.
func (w *Watcher) loop(ctx context.Context) error {
	wait := false
	for ctx.Err() == nil {
		idle, err := w.turn(wait)
		if err != nil {
			return err
		}
		wait = w.prepareWait(idle)
	}
	return nil
}

// turn reads the kernel's queue, applies the findings of an earlier turn, asks the questions that are
// due, and commits the changes. It reports whether nothing is left to do.
func (w *Watcher) turn(wait bool) (idle bool, err error) {
	check := w.inbox.takeCheck()
	empty, err := w.read(wait)
	if err != nil {
		return false, err
	}
	if empty && w.lost {
		w.suspectTable()
	}
	w.applyFindings(empty)
	w.catchUp()
	w.table.Expire()
	if empty {
		if err := w.advanceDump(); err != nil {
			return false, err
		}
	}
	w.gatherFindings(empty)
	if err := w.announceStates(); err != nil { // before the ups of the containers' interfaces
		return false, err
	}
	if err := w.commitChanges(w.submit); err != nil {
		return false, err
	}
	w.closeReady()
	if check != nil {
		close(check)
	}
	return empty && w.findings == nil, nil
}

// read applies the queued messages of up to maxUncommitted datagrams, and reports whether it found the
// queue empty. With wait it waits for the first datagram.
func (w *Watcher) read(wait bool) (empty bool, err error) {
	for range maxUncommitted {
		messages, err := w.kernel.Receive(wait)
		wait = false
		switch {
		case errors.Is(err, unix.EAGAIN):
			return true, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue // something else is due, or the end
		case isLoss(err):
			w.noteLoss(err)
		case err != nil:
			return false, err
		}
		w.datagrams++
		for i := range messages {
			w.applyMessage(&messages[i])
		}
	}
	return false, nil
}

// applyMessage applies one message. From other namespaces only links count.
func (w *Watcher) applyMessage(m *rtnl.Message) {
	isLink := m.Type == unix.RTM_NEWLINK || m.Type == unix.RTM_DELLINK
	switch {
	case m.From != rtnl.NSIDLocal:
		if isLink {
			w.table.Inside(&m.Link, m.From)
		}
	case m.Request != 0:
		w.applyReply(m)
	case isLink:
		if w.table.Apply(&m.Link, false) {
			w.resync.wantDump(becauseForeign)
		}
	case m.Type == unix.RTM_NEWNSID || m.Type == unix.RTM_DELNSID:
		w.table.Renumbered(m.NSID)
	}
}
