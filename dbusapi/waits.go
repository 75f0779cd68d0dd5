package dbusapi

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/osctl/eventd/dbusapi/bus"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// Limits of WaitEvents; package wire has those that clients must know.
const (
	maxWaitsPerUser = 1024     // pending calls of one user other than root
	maxWaitsInAll   = 4096     // pending calls of all users other than root, and of root
	maxWaitBytes    = 16 << 10 // bytes of a call, which keeps its header and its filter while it waits
	maxReplyBytes   = 4 << 20  // bytes of events in one reply, unless it has only one event
	oldestTries     = 100      // attempts to read the oldest event before it is dropped
)

// waitEvents handles WaitEvents. It answers at once if there are events;
// otherwise a goroutine waits and answers.
func (c *call) waitEvents() error {
	if size := len(c.Frame()); size > maxWaitBytes {
		return &hub.TooLargeError{What: "bytes of one WaitEvents call", Got: size, Limit: maxWaitBytes}
	}
	d := c.Decoder()
	cursor, filter, limit, timeout := d.String(), d.Filter(), d.Uint32(), d.Uint32()
	if err := checkArgs(d, nil); err != nil {
		return err
	}
	if limit == 0 || limit > wire.MaxEvents {
		limit = wire.MaxEvents
	}
	w := &wait{call: c, limit: int(limit)}
	n, err := w.subscribe(filter, cursor)
	switch {
	case err != nil:
		return err
	case n > 0 || timeout == 0:
		w.answer()
		return nil
	}
	return c.waits.start(w, min(timeout, wire.MaxTimeout))
}

// wait is a WaitEvents call.
type wait struct {
	call   *call
	sub    *hub.Subscription
	limit  int // of events
	events []*hub.Event
}

// subscribe subscribes and polls. If the oldest event is dropped in between, it tries again for a
// relative cursor.
func (w *wait) subscribe(filter hub.Filter, cursor string) (n int, err error) {
	var lapped *hub.LappedError
	for range oldestTries {
		if w.sub, err = w.call.service.Hub.Subscribe(filter, cursor); err != nil {
			return 0, err
		}
		if n, err = w.poll(); !isRelative(cursor) || !errors.As(err, &lapped) {
			break
		}
	}
	return n, err
}

// isRelative reports whether a cursor is relative to the oldest or the newest event.
func isRelative(cursor string) bool {
	return cursor == hub.CursorOldest || strings.HasPrefix(cursor, hub.CursorNewest)
}

// poll collects the available events and returns their number. If an error follows collected events, it
// rewinds, so that the next call gets the error.
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

// collect adds the events of next, and reports whether to stop. It rewinds events that would make the
// reply too large.
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

// answer sends the collected events, and the cursor after them.
func (w *wait) answer() {
	cursor := w.sub.Cursor()
	w.call.reply(func(e *wire.Encoder) {
		e.String(cursor)
		e.Events(w.events)
	})
}

// run waits until there are events, or until ctx is done.
func (w *wait) run(ctx context.Context) error {
	_, err := w.collect(func(buf []*hub.Event) (int, error) { return w.sub.Next(ctx, buf) })
	if err == nil {
		_, err = w.poll()
	}
	return err
}

// waits limits the pending WaitEvents calls of one session.
type waits struct {
	ctx    context.Context //nolint:containedctx // the life of the session
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu         sync.Mutex
	users      map[uint32]int
	otherUsers int // of all users other than root
	conns      map[string]int
}

func newWaits(ctx context.Context) *waits {
	ctx, cancel := context.WithCancel(ctx)
	return &waits{ctx: ctx, cancel: cancel, users: map[uint32]int{}, conns: map[string]int{}}
}

// start runs w in a goroutine, unless a limit is reached. The wait ends early when its caller leaves the
// bus.
func (ws *waits) start(w *wait, timeoutMsec uint32) error {
	peer := w.call.Peer
	if err := ws.acquire(peer); err != nil {
		return err
	}
	go func() {
		defer ws.wg.Done()
		ctx, cancel := context.WithTimeout(ws.ctx, time.Duration(timeoutMsec)*time.Millisecond)
		stop := context.AfterFunc(peer.Left, cancel)
		err := w.run(ctx)
		stop()
		cancel()
		ws.release(peer) // before the answer, because the next call may follow at once
		switch {
		case ws.ctx.Err() != nil && errors.Is(err, context.Canceled):
			w.call.fail(hub.ErrClosed)
		case err == nil, errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
			w.answer()
		default:
			w.call.fail(err)
		}
	}()
	return nil
}

// acquire counts a wait of a caller. The caller of acquire calls wg.Done.
func (ws *waits) acquire(peer *bus.Peer) error {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	root := peer.Known && peer.UID == 0
	switch {
	case ws.ctx.Err() != nil:
		return hub.ErrClosed
	case !peer.Known:
		return unknownPeer(peer)
	case ws.conns[peer.Name] >= wire.MaxWaits:
		return wire.Errorf(wire.ErrLimitsExceeded, "this connection has %d pending WaitEvents calls, no more are taken", wire.MaxWaits)
	case root && ws.users[0] >= maxWaitsInAll:
		return wire.Errorf(wire.ErrLimitsExceeded, "root has %d pending WaitEvents calls, no more are taken", maxWaitsInAll)
	case !root && ws.users[peer.UID] >= maxWaitsPerUser:
		return wire.Errorf(wire.ErrLimitsExceeded, "user %d has %d pending WaitEvents calls, no more are taken", peer.UID, maxWaitsPerUser)
	case !root && ws.otherUsers >= maxWaitsInAll:
		return wire.Errorf(wire.ErrLimitsExceeded, "%d WaitEvents calls of all users are pending, no more are taken", maxWaitsInAll)
	}
	ws.wg.Add(1) // under the lock, before close waits
	ws.add(peer, 1)
	return nil
}

func (ws *waits) release(peer *bus.Peer) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.add(peer, -1)
}

func (ws *waits) add(peer *bus.Peer, n int) {
	if ws.users[peer.UID] += n; ws.users[peer.UID] == 0 {
		delete(ws.users, peer.UID)
	}
	if ws.conns[peer.Name] += n; ws.conns[peer.Name] == 0 {
		delete(ws.conns, peer.Name)
	}
	if peer.UID != 0 {
		ws.otherUsers += n
	}
}

// close ends all waits and waits until they are answered.
func (ws *waits) close() {
	ws.mu.Lock()
	ws.cancel()
	ws.mu.Unlock()
	ws.wg.Wait()
}
