package netwatch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
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

// fences are marks in the queue of the socket: requests that only ask for an
// acknowledgement, and who waits for it.
type fences struct {
	mu      sync.Mutex
	seq     uint32 // last number given out, to fences and dumps alike
	waiters []*waiter
	calls   int // waiters that are calls
	stopped bool

	// Of the goroutine in Run.
	acked uint32 // newest acknowledgement
	lost  bool   // acknowledgements may have been dropped since the queue was last empty
}

type waiter struct {
	seq        uint32
	settle     bool // waits for the table to be in sync too
	done       chan struct{}
	deliveries []*delivery // what is taken when it is over; nil for a call
}

// take returns a new number, never 0.
func (f *fences) take() uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.next()
}

func (f *fences) next() uint32 {
	f.seq++
	if f.seq == 0 {
		f.seq = 1
	}
	return f.seq
}

// passed reports whether the queue was read past a fence. Numbers wrap around.
func (f *fences) passed(seq uint32) bool { return f.acked != 0 && int32(f.acked-seq) >= 0 } //nolint:gosec // the sign is meant

func (f *fences) ack(seq uint32) {
	if !f.passed(seq) {
		f.acked = seq
	}
}

func (f *fences) add(settle bool) (*waiter, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return nil, ErrStopped
	}
	if f.calls >= maxWaiters {
		return nil, ErrBusy
	}
	f.calls++
	w := &waiter{seq: f.next(), settle: settle, done: make(chan struct{})}
	f.waiters = append(f.waiters, w)
	return w, nil
}

// addDelivery adds what is taken when a fence is passed. There is one at a time for
// each namespace, and one of reports.
func (f *fences) addDelivery(all []*delivery) (*waiter, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return nil, ErrStopped
	}
	w := &waiter{seq: f.next(), done: make(chan struct{}), deliveries: all}
	f.waiters = append(f.waiters, w)
	return w, nil
}

// delivered returns what was delivered by now.
func (f *fences) delivered() (all []*delivery) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiters = slices.DeleteFunc(f.waiters, func(w *waiter) bool {
		over := w.deliveries != nil && f.passed(w.seq)
		if over {
			all = append(all, w.deliveries...)
			close(w.done)
		}
		return over
	})
	return all
}

func (f *fences) remove(w *waiter) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := slices.Index(f.waiters, w); i >= 0 {
		f.waiters = slices.Delete(f.waiters, i, i+1)
		f.calls--
	}
}

// release ends the waits that are over.
func (f *fences) release(synced bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiters = slices.DeleteFunc(f.waiters, func(w *waiter) bool {
		over := w.deliveries == nil && f.passed(w.seq) && (synced || !w.settle)
		if over {
			close(w.done)
			f.calls--
		}
		return over
	})
}

// outstanding reports whether somebody waits for an acknowledgement.
func (f *fences) outstanding() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.waiters, func(w *waiter) bool { return !f.passed(w.seq) })
}

func (f *fences) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped = true
}

// Check proves that the watcher makes progress, for a watchdog: it returns nil
// once Run has read everything that the kernel had queued when Check was called,
// and committed what came of it. The error is that of ctx, [ErrStopped],
// [ErrBusy] when 64 calls wait already, or one of the socket. It is safe for
// concurrent use and wakes Run only once.
func (w *Watcher) Check(ctx context.Context) error { return w.await(ctx, false) }

// Settle is Check that also waits until no dump is running or wanted, nothing is held
// back, and nothing that was asked is unanswered: the view
// then is what the kernel had when Settle was called, or newer. While links change
// so fast that messages get lost again and again, that may take as long as they do.
func (w *Watcher) Settle(ctx context.Context) error { return w.await(ctx, true) }

func (w *Watcher) await(ctx context.Context, settle bool) error {
	waiter, err := w.fences.add(settle)
	if err != nil {
		return err
	}
	defer w.fences.remove(waiter)
	if err := w.sendFence(waiter.seq); err != nil {
		select {
		case <-w.stopped:
			return ErrStopped // the socket closed under us
		default:
			return err
		}
	}
	select {
	case <-waiter.done:
		return nil
	case <-w.stopped:
		return ErrStopped
	case <-ctx.Done():
		return fmt.Errorf("netwatch: waiting for the kernel's answer: %w", context.Cause(ctx))
	}
}

func (w *Watcher) sendFence(seq uint32) error { return w.kernel.send(fenceRequest(seq)) }

// ownFence sends a fence for Run itself, and tries again later if the kernel is
// short of memory.
func (w *Watcher) ownFence(seq uint32) error {
	err := w.sendFence(seq)
	if err == nil || !temporary(err) {
		return err
	}
	w.fences.lost = true
	w.wakeAt(w.now().Add(firstBackoff))
	return nil
}

// resendFence sends one fence for all whose acknowledgement may have been dropped
// with other messages: it is newer than all of them, so it stands for them.
func (w *Watcher) resendFence() error {
	r := &w.resync
	nudging := r.nudge != 0 && !w.fences.passed(r.nudge)
	if !nudging && !w.fences.outstanding() {
		return nil
	}
	return w.ownFence(w.fences.take())
}
