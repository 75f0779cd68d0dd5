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

// inbox has what other goroutines pass to the goroutine in Run.
type inbox struct {
	mu       sync.Mutex
	waiters  []*waiter
	turn     uint64 // of the loop
	bindings []*links.Binding
	taken    chan struct{} // closed when the bindings were taken
	rechecks map[recheck]struct{}
	states   states
	stopped  bool
	unread   bool      // the loop has not seen the last wake
	deadline time.Time // of the kernel's Receive
}

// recheck is a container whose nsid changed, and its old or new nsid.
type recheck struct {
	owner links.Owner
	nsid  int32
}

// queueRecheck queues questions about a container and an nsid, because the Owners may have another answer.
func (w *Watcher) queueRecheck(c containers.Container, nsid int32) {
	w.wake(func(b *inbox) {
		if b.rechecks == nil {
			b.rechecks = map[recheck]struct{}{}
		}
		b.rechecks[recheck{links.Owner(c), nsid}] = struct{}{}
	})
}

// queueState queues a change of a container's state.
func (w *Watcher) queueState(c containers.StateChange) { w.wake(func(b *inbox) { b.states.add(c) }) }

func (b *inbox) takeStates(now time.Time, spend func(containers.Container) (at time.Time, ok bool)) []stateEvent {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.states.take(now, spend)
}

// waiter is a call of Check or Settle.
type waiter struct {
	settle bool
	turn   uint64 // of the loop at the time of the call
	done   chan struct{}
}

func (b *inbox) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped = true
}

// wake changes the inbox by leave, and wakes the loop.
func (w *Watcher) wake(leave func(b *inbox)) {
	b := &w.inbox
	b.mu.Lock()
	defer b.mu.Unlock()
	if leave != nil {
		leave(b)
	}
	b.unread = true
	b.setDeadline(w, time.Unix(1, 0))
}

// setDeadline sets when the kernel's Receive returns. It fails only if the socket is closed, and then
// Receive returns an error, too.
func (b *inbox) setDeadline(w *Watcher, at time.Time) {
	if !b.deadline.Equal(at) {
		b.deadline = at
		_ = w.kernel.SetDeadline(at)
	}
}

// prepareWait sets the deadline of the next wait for the kernel. It reports whether to wait at all.
func (w *Watcher) prepareWait(idle bool) (wait bool) {
	if !idle {
		return false
	}
	alarm := earlier(w.table.Next(), w.resync.alarm())
	b := &w.inbox
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.unread {
		b.unread = false
		return false
	}
	if alarm = earlier(alarm, b.states.tokenAt); w.lagging() { // before that nothing can be announced
		alarm = w.retryAt
	}
	b.setDeadline(w, alarm)
	return true
}

// earlier returns the earlier of two times; the zero Time is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Check is for a watchdog: it returns nil once Run took a turn after Check was called. If that turn read
// the kernel's queue to its end, the hub has all changes from it, except those that wait for an owner or
// a budget. The error is that of ctx, [ErrStopped], or [ErrBusy] if 64 calls wait already. Check is safe
// for concurrent use and wakes Run only once.
func (w *Watcher) Check(ctx context.Context) error { return w.await(ctx, false) }

// Settle is like Check, but also waits until the queue was read to its end, no dump is running or due, no
// up waits for its owner, no question is due, and all changes are committed. The view is then as the
// kernel was when Settle was called, or newer. Rows with changes over budget stay as they were announced
// last until the budget allows more. If links change so fast that messages are lost again and again,
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
			x.turn = b.turn
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

// beginTurn begins a turn, which reads all messages that were queued before.
func (b *inbox) beginTurn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn++
}

// finishWaiters ends the calls of Check and Settle that have no more to wait for.
func (w *Watcher) finishWaiters(idle bool) {
	settled := idle && !w.lagging() && w.resync.synced() && w.table.Settled() && w.submitted.Load() == 0
	b := &w.inbox
	b.mu.Lock()
	defer b.mu.Unlock()
	settled = settled && !b.states.added
	b.waiters = slices.DeleteFunc(b.waiters, func(x *waiter) bool {
		over := x.turn < b.turn && (settled || !x.settle)
		if over {
			close(x.done)
		}
		return over
	})
}

// followReports passes the reports of container managers about interfaces to the loop. It continues
// when the loop has taken the last ones, so the inbox is bounded.
func (w *Watcher) followReports(ctx context.Context) {
	var events [64]*hub.Event
	for {
		n, err := w.reports.Next(ctx, events[:])
		if _, lapped := errors.AsType[*hub.LappedError](err); lapped {
			w.log.Warn("missed reports of interfaces, whose owners are known only from cgroups now", slog.Any("error", err))
			continue
		}
		if err != nil {
			return // the hub is closed, which Run notices, too, or ctx is done
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
