package netwatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/containers"
	"github.com/osctl/eventd/netwatch/links"
)

// maxWaiters is how many calls of Check and Settle may wait at once.
const maxWaiters = 64

// Errors of [Watcher.Check] and [Watcher.Settle].
var (
	// ErrStopped says that Run has ended.
	ErrStopped = errors.New("netwatch: stopped")
	// ErrBusy says that too many calls wait already.
	ErrBusy = errors.New("netwatch: too many checks at once")
)

// inbox is where other goroutines leave something for the one in Run.
type inbox struct {
	mu       sync.Mutex
	waiters  []*waiter
	turn     uint64 // of the loop
	bindings []*links.Binding
	taken    chan struct{} // closed when the bindings were taken
	changes  map[change]struct{}
	states   states
	stopped  bool
	full     bool      // something is in it
	armed    time.Time // when the kernel's deadline is
}

// change is a container whose nsid is or was this, and is another by now.
type change struct {
	owner links.Owner
	nsid  int32
}

// changed takes what the Owners tell.
func (w *Watcher) changed(c containers.Container, nsid int32) {
	w.wake(func(b *inbox) {
		if b.changes == nil {
			b.changes = map[change]struct{}{}
		}
		b.changes[change{links.Owner(c), nsid}] = struct{}{}
	})
}

// changedState takes a change of a container's state.
func (w *Watcher) changedState(c containers.StateChange) { w.wake(func(b *inbox) { b.states.add(c) }) }

func (b *inbox) takeStates(now time.Time, spend func(containers.Container) (at time.Time, ok bool)) []stateEvent {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.states.take(now, spend)
}

// waiter is a call of Check or Settle.
type waiter struct {
	settle bool
	came   uint64 // in this turn of the loop
	done   chan struct{}
}

func (b *inbox) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped = true
}

// wake leaves something in the inbox and has the loop look.
func (w *Watcher) wake(leave func(b *inbox)) {
	b := &w.inbox
	b.mu.Lock()
	defer b.mu.Unlock()
	if leave != nil {
		leave(b)
	}
	b.full = true
	b.arm(w, time.Unix(1, 0))
}

// arm has the kernel's Receive return at an instant. A failure means that the socket is closed,
// which Receive says too.
func (b *inbox) arm(w *Watcher, at time.Time) {
	if !b.armed.Equal(at) {
		b.armed = at
		_ = w.kernel.SetDeadline(at)
	}
}

// sleep readies a wait for the kernel, until there is something else to do. It reports whether
// to wait at all.
func (w *Watcher) sleep(idle bool) (wait bool, err error) {
	if !idle {
		return false, nil
	}
	alarm := earlier(w.table.Next(), w.resync.alarm())
	b := &w.inbox
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.full {
		b.full = false
		return false, nil
	}
	if alarm = earlier(alarm, b.states.roomAt); w.lagging() { // nothing else can be announced before
		alarm = w.retryAt
	}
	b.arm(w, alarm)
	return true, nil
}

// earlier returns the earlier of two times; the zero Time is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Check waits for the watcher's progress, for a watchdog: it returns nil once Run took a turn after Check
// was called. If that turn read the kernel's queue to its end, the hub has all changes from it, except
// held ones. The error is that of ctx, [ErrStopped], or [ErrBusy] if 64 calls wait already. Check is safe
// for concurrent use and wakes Run only once.
func (w *Watcher) Check(ctx context.Context) error { return w.await(ctx, false) }

// Settle is Check that also waits until the queue was read to its end, no dump is running or due, no up
// waits for its owner, no question is due, and all changes are committed. The view is then what the kernel
// had when Settle was called, or newer, except for changes over budget: their rows stay as they were
// announced last until there is room. If links change so fast that messages are lost again and again,
// Settle waits until they stop.
func (w *Watcher) Settle(ctx context.Context) error { return w.await(ctx, true) }

func (w *Watcher) await(ctx context.Context, settle bool) error {
	x := &waiter{settle: settle, done: make(chan struct{})}
	var err error
	w.wake(func(b *inbox) {
		switch {
		case b.stopped:
			err = ErrStopped
		case len(b.waiters) >= maxWaiters:
			err = ErrBusy
		default:
			x.came = b.turn
			b.waiters = append(b.waiters, x)
		}
	})
	if err != nil {
		return err
	}
	defer w.inbox.remove(x)
	select {
	case <-x.done:
		return nil
	case <-w.stopped:
		return ErrStopped
	case <-ctx.Done():
		return fmt.Errorf("netwatch: waiting for the watcher: %w", context.Cause(ctx))
	}
}

func (b *inbox) remove(x *waiter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiters = slices.DeleteFunc(b.waiters, func(other *waiter) bool { return other == x })
}

// beginTurn notes that a turn begins: it sees all that was queued for calls that came before.
func (b *inbox) beginTurn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn++
}

// finishWaiters ends the calls that are over after a turn.
func (w *Watcher) finishWaiters(idle bool) {
	settled := idle && !w.lagging() && w.resync.synced() && w.table.Settled() && w.submitted.Load() == 0
	b := &w.inbox
	b.mu.Lock()
	defer b.mu.Unlock()
	settled = settled && !b.states.added
	b.waiters = slices.DeleteFunc(b.waiters, func(x *waiter) bool {
		over := x.came < b.turn && (settled || !x.settle)
		if over {
			close(x.done)
		}
		return over
	})
}

// followReports hands what container managers report of their interfaces to the loop. It goes
// on when the last lot was taken, so what waits is bounded.
func (w *Watcher) followReports(ctx context.Context) {
	var events [64]*hub.Event
	for {
		n, err := w.reports.Next(ctx, events[:])
		if _, lapped := errors.AsType[*hub.LappedError](err); lapped {
			w.log.Warn("missed reports of interfaces, whose owners are found all the same", slog.Any("error", err))
			continue
		}
		if err != nil {
			return // the end, of which Run hears as well
		}
		var bindings []*links.Binding
		for _, e := range events[:n] {
			if b, ok := links.BindingOf(e); ok {
				bindings = append(bindings, b)
			}
		}
		if len(bindings) == 0 {
			continue
		}
		taken := make(chan struct{})
		w.wake(func(b *inbox) { b.bindings, b.taken = bindings, taken })
		select {
		case <-taken:
		case <-ctx.Done():
			return
		}
	}
}
