package dbusapi

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// wait is one WaitEvents call.
type wait struct {
	call   *call
	sub    *hub.Subscription
	limit  int // events that are wanted at most
	events []*hub.Event
}

// begin subscribes and polls. What was the oldest event may be kept no longer just then:
// who asked for the oldest gets that of now.
func (w *wait) begin(filter hub.Filter, cursor string) (n int, err error) {
	var lapped *hub.LappedError
	for range oldestTries {
		if w.sub, err = w.call.service.hub.Subscribe(filter, cursor); err != nil {
			return 0, err
		}
		if n, err = w.poll(); cursor != hub.CursorOldest || !errors.As(err, &lapped) {
			break
		}
	}
	return n, err
}

// oldestTries is how often the oldest event may be gone before its reader could look.
const oldestTries = 100

// poll collects what is there by now and returns how much. What goes wrong after
// something was collected is left for the next call to find.
func (w *wait) poll() (int, error) {
	for len(w.events) < w.limit {
		done, err := w.collect(func(buf []*hub.Event) (int, error) { return w.sub.Poll(buf) })
		if n := len(w.events); err != nil && n > 0 {
			w.sub.Rewind(w.events[n-1].Seq)
			return n, nil
		}
		if done || err != nil {
			return len(w.events), err
		}
	}
	return len(w.events), nil
}

// collect adds what next delivers, and reports whether that was all for now. What
// would make the reply too large is given back.
func (w *wait) collect(next func([]*hub.Event) (int, error)) (bool, error) {
	var buf [256]*hub.Event
	n, err := next(buf[:min(len(buf), w.limit-len(w.events))])
	if err != nil || n == 0 {
		return true, err
	}
	w.events = append(w.events, buf[:n]...)
	size := 0
	for i, event := range w.events {
		if size += len(event.Encoding(wire.EncodeEvent)) + 8; size > maxReplyBytes && i > 0 {
			w.sub.Rewind(w.events[i-1].Seq)
			w.events = w.events[:i]
			return true, nil
		}
	}
	return false, nil
}

// answer sends the events that were collected, and the cursor to go on from.
func (w *wait) answer() {
	cursor := w.sub.Cursor()
	w.call.reply("sa("+wire.EventType+")", func(e *wire.Encoder) {
		e.String(cursor)
		e.Events(w.events)
	})
}

// run waits until there is something, or until ctx is done.
func (w *wait) run(ctx context.Context) error {
	_, err := w.collect(func(buf []*hub.Event) (int, error) { return w.sub.Next(ctx, buf) })
	if err == nil {
		_, err = w.poll()
	}
	return err
}

// finish answers after run.
func (w *wait) finish(err error) {
	switch {
	case err == nil, errors.Is(err, context.DeadlineExceeded):
		w.answer()
	case errors.Is(err, context.Canceled):
		w.call.fail(hub.ErrClosed)
	default:
		w.call.fail(err)
	}
}

// waits accounts for the pending WaitEvents calls of one session.
type waits struct {
	ctx context.Context
	wg  sync.WaitGroup

	mu      sync.Mutex
	all     int
	users   map[uint32]int
	senders map[string]*pending
	closed  bool
}

// pending are the waits of one connection.
type pending struct {
	count  int
	ctx    context.Context //nolint:containedctx // the life of the sender's connection
	cancel context.CancelFunc
}

func newWaits(ctx context.Context) *waits {
	return &waits{ctx: ctx, users: map[uint32]int{}, senders: map[string]*pending{}}
}

// start lets w wait in a goroutine of its own, unless too many do already.
func (ws *waits) start(w *wait, who *caller, timeoutMsec uint32) error {
	ctx, err := ws.take(who)
	if err != nil {
		return err
	}
	go func() {
		defer ws.wg.Done()
		ctx, cancel := context.WithTimeout(ctx, time.Duration(timeoutMsec)*time.Millisecond)
		err := w.run(ctx)
		cancel()
		ws.release(who) // before the answer, upon which the next call may come
		w.finish(err)
	}()
	return nil
}

// take accounts for one more wait of a caller, and returns a context that ends
// with the caller's connection. Who takes one calls wg.Done.
func (ws *waits) take(who *caller) (context.Context, error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	p := ws.senders[who.name]
	switch {
	case ws.closed:
		return nil, hub.ErrClosed
	case ws.all >= MaxWaitsInAll:
		return nil, errorf(ErrLimitsExceeded, "%d WaitEvents calls are pending in all, no more are taken", ws.all)
	case who.uid != 0 && ws.users[who.uid] >= MaxWaitsPerUser:
		return nil, errorf(ErrLimitsExceeded, "user %d has %d pending WaitEvents calls, no more are taken", who.uid, MaxWaitsPerUser)
	case p != nil && p.count >= MaxWaits:
		return nil, errorf(ErrLimitsExceeded, "this connection has %d pending WaitEvents calls, no more are taken", MaxWaits)
	case p == nil:
		p = &pending{}
		p.ctx, p.cancel = context.WithCancel(ws.ctx)
		ws.senders[who.name] = p
	}
	ws.wg.Add(1) // under the lock: close may be about to wait
	p.count++
	ws.all++
	ws.users[who.uid]++
	return p.ctx, nil
}

func (ws *waits) release(who *caller) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.all--
	if ws.users[who.uid]--; ws.users[who.uid] == 0 {
		delete(ws.users, who.uid)
	}
	p := ws.senders[who.name]
	if p.count--; p.count == 0 {
		p.cancel()
		delete(ws.senders, who.name)
	}
}

// gone ends the waits of a connection that has left the bus.
func (ws *waits) gone(name string) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if p := ws.senders[name]; p != nil {
		p.cancel()
	}
}

// close ends all waits and returns when the last one was answered.
func (ws *waits) close() {
	ws.mu.Lock()
	ws.closed = true
	for _, p := range ws.senders {
		p.cancel()
	}
	ws.mu.Unlock()
	ws.wg.Wait()
}
