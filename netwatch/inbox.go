package netwatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/containers"
	"github.com/osctl/eventd/netwatch/links"
)

// ErrStopped says that Run has ended.
var ErrStopped = errors.New("netwatch: stopped")

// inbox has what other goroutines pass to the goroutine in Run.
type inbox struct {
	mu       sync.Mutex
	check    chan struct{} // closed at the end of the next turn; nil if nobody waits for that
	bindings []*links.Binding
	taken    chan struct{} // closed when the bindings were taken
	rechecks map[recheck]struct{}
	states   states
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
// a budget. The error is that of ctx, or [ErrStopped]. Check is safe for concurrent use and wakes Run only once.
func (w *Watcher) Check(ctx context.Context) error {
	var checked <-chan struct{}
	w.wake(func(b *inbox) {
		if b.check == nil {
			b.check = make(chan struct{})
		}
		checked = b.check
	})
	select {
	case <-checked:
		return nil
	case <-w.stopped:
		return ErrStopped
	case <-ctx.Done():
		return fmt.Errorf("netwatch: waiting for the watcher: %w", context.Cause(ctx))
	}
}

// takeCheck returns the channel of the calls of Check before this turn; nil if there are none.
func (b *inbox) takeCheck() chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	check := b.check
	b.check = nil
	return check
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
