package netwatch

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/owner"
)

// queue hands work from the goroutine in Run to one other, in order, and never waits.
// What may be in it is bounded by who puts it there: see where it is made.
type queue[T any] struct {
	mu    sync.Mutex
	items []T
	some  chan struct{} // has a token if there may be items
}

func newQueue[T any]() *queue[T] { return &queue[T]{some: make(chan struct{}, 1)} }

func (q *queue[T]) put(items ...T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.items = append(q.items, items...)
	select {
	case q.some <- struct{}{}:
	default: // there is a token, which is all that is needed
	}
}

// compact has what is in the queue made less, if it is more than a limit.
func (q *queue[T]) compact(limit int, less func([]T) []T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) > limit {
		q.items = less(q.items)
	}
}

// poll returns the next item, if there is one.
func (q *queue[T]) poll() (item T, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) == 0 {
		return item, false
	}
	item = q.items[0]
	q.items = q.items[1:]
	return item, true
}

// next waits for the next item; ok is false once ctx is done.
func (q *queue[T]) next(ctx context.Context) (item T, ok bool) {
	for ctx.Err() == nil {
		if item, ok = q.poll(); ok {
			return item, true
		}
		select {
		case <-q.some:
		case <-ctx.Done():
		}
	}
	return item, false
}

// delivery is what another goroutine found out. It is about the kernel as it was at
// that time, so the goroutine in Run takes it when it has read all that the kernel
// had queued by then.
type delivery struct {
	space    *namespace // whose owner it is
	owner    owner.Container
	found    bool
	next     time.Time // when to ask again may help
	bindings []*binding
}

// help starts the goroutines that wait for others on behalf of the one in Run. An
// error of the socket ends them all.
func (w *Watcher) help(ctx context.Context, fail context.CancelCauseFunc) *sync.WaitGroup {
	var all sync.WaitGroup
	start := func(fn func(context.Context) error) {
		all.Go(func() {
			if err := fn(ctx); err != nil && ctx.Err() == nil {
				fail(err)
			}
		})
	}
	start(w.askLinks)
	start(w.findOwners)
	start(w.followReports)
	return &all
}

// askLinks sends questions to the kernel, which answers them under a lock that may
// be taken for long (RTNL). Those that came together are sent together, and answered
// one by one.
func (w *Watcher) askLinks(ctx context.Context) error {
	for {
		request, ok := w.asks.next(ctx)
		if !ok {
			return nil
		}
		for more := true; more; {
			var next []byte
			next, more = w.asks.poll()
			request = append(request, next...)
		}
		if err := w.transmit(ctx, request); err != nil {
			return err
		}
	}
}

// transmit sends a request, again and again if the kernel is short of memory.
func (w *Watcher) transmit(ctx context.Context, request []byte) error {
	for {
		err := w.kernel.send(request)
		if err == nil || !temporary(err) {
			return err
		}
		select {
		case <-time.After(firstBackoff):
		case <-ctx.Done():
			return nil
		}
	}
}

// deliverAfter is how long answers wait for those to other questions, and maxDeliveries
// how many are delivered together.
const (
	deliverAfter  = 5 * time.Millisecond
	maxDeliveries = 64
)

// findOwners has the owners of namespaces found.
func (w *Watcher) findOwners(ctx context.Context) error {
	for {
		q, ok := w.questions.next(ctx)
		if !ok {
			return nil
		}
		var answers []*delivery
		for start := time.Now(); ok; q, ok = w.questions.poll() {
			if d := w.consult(ctx, q); d != nil {
				answers = append(answers, d)
			}
			if len(answers) == maxDeliveries || time.Since(start) > deliverAfter {
				break
			}
		}
		if len(answers) == 0 {
			continue
		}
		if _, err := w.deliver(ctx, answers...); err != nil {
			return err
		}
	}
}

// consult puts a question to the Owners. What is to be delivered is nil for one that
// has no answer.
func (w *Watcher) consult(ctx context.Context, q question) *delivery {
	switch {
	case q.forgetAll:
		w.owners.ForgetAll()
		return nil
	case q.find == nil:
		w.owners.Forget(q.forget)
		return nil
	}
	d := &delivery{space: q.find}
	d.owner, d.found = w.owners.Find(ctx, q.find.nsid)
	if !d.found {
		d.next = w.owners.NextWalk()
	}
	return d
}

// deliver gives something to the goroutine in Run.
func (w *Watcher) deliver(ctx context.Context, all ...*delivery) (*waiter, error) {
	waiter, err := w.fences.addDelivery(all)
	if errors.Is(err, ErrStopped) {
		return nil, nil
	}
	return waiter, w.transmit(ctx, fenceRequest(waiter.seq))
}

// followReports reads what container managers report of their interfaces. It goes on
// when the last lot was taken, so what waits is bounded.
func (w *Watcher) followReports(ctx context.Context) error {
	var events [64]*hub.Event
	for {
		n, err := w.reports.Next(ctx, events[:])
		if lapped := (*hub.LappedError)(nil); errors.As(err, &lapped) {
			w.log.Warn("missed reports of interfaces, whose owners are found all the same", slog.Any("error", err))
			continue
		}
		if err != nil {
			return nil //nolint:nilerr // the end, of which Run hears as well
		}
		d := &delivery{}
		for _, e := range events[:n] {
			if b, ok := bindingOf(e); ok {
				d.bindings = append(d.bindings, b)
			}
		}
		if len(d.bindings) == 0 {
			continue
		}
		waiter, err := w.deliver(ctx, d)
		if err != nil || waiter == nil {
			return err
		}
		select {
		case <-waiter.done:
		case <-ctx.Done():
			return nil
		}
	}
}

// receiveDeliveries takes what may be taken by now.
func (w *Watcher) receiveDeliveries() {
	for _, d := range w.fences.delivered() {
		if d.space != nil {
			w.table.found(d.space, d.owner, d.found, d.next)
		}
		for _, b := range d.bindings {
			w.table.bind(b)
		}
	}
}

// handOut gives the questions of the table to those who ask them, as many as the
// window has room for. Not while a dump runs, which needs all the room in the queue
// if that is short of it, and not while the kernel drops messages.
func (w *Watcher) handOut() {
	if w.fences.lost || w.resync.seq != 0 {
		return
	}
	if w.table.settled() {
		w.window = maxAsked // the round is over, and nothing was lost in it
	}
	for room := w.window - len(w.table.asked) - w.table.consulted; room > 0; room-- {
		a := w.table.nextAsk(w.fences.take)
		if a == nil {
			w.consultOwners(room)
			return
		}
		w.asks.put(a.request())
	}
}

func (w *Watcher) consultOwners(room int) {
	if all := w.table.takeQuestions(room); len(all) > 0 {
		w.questions.put(all...)
		w.questions.compact(maxQuestions, forgetTogether)
	}
}
