package netwatch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/hub"
)

// DefaultReceiveBuffer is the size of the socket's receive buffer in bytes. The
// kernel doubles it; that holds about 7,000 messages.
const DefaultReceiveBuffer = 8 << 20

const (
	// datagramSize holds any datagram: the kernel makes parts of a dump of at most
	// 32 KiB, and one link takes about 2 KiB.
	datagramSize = 64 << 10
	// maxUncommitted is how many datagrams are read before what came of them is
	// committed, if the queue is not empty before.
	maxUncommitted = 256
)

// Config configures a [Watcher].
type Config struct {
	Hub           *hub.Hub     // where events and rows go, and where reports come from
	Logger        *slog.Logger // where troubles go
	Owners        Owners       // whose is a namespace; nil knows nobody
	ReceiveBuffer int          // of the socket, in bytes; DefaultReceiveBuffer if 0
	Boot          string       // names this boot of the machine; see Run
}

// Watcher turns the link changes of one network namespace into commits.
type Watcher struct {
	hub       *hub.Hub
	log       *slog.Logger
	kernel    kernel
	table     *table
	resync    resync
	fences    fences
	buffer    []byte
	owners    Owners
	reports   *hub.Subscription
	now       func() time.Time
	place     string // boot and network namespace, see hub.Batch
	self      int32  // id of the watched namespace in itself, NSIDLocal for none
	window    int    // how many questions to the kernel may be outstanding
	missing   missing
	asks      *queue[[]byte]   // at most as many as the window
	questions *queue[question] // bounded by forgetAll, see takeQuestions
	pauses    pauses
	expires   time.Time // when an event was held back for long enough; the zero time is never
	alarm     time.Time // when to wake up; the zero time is never
	armed     time.Time // when the deadline is
	firstDump bool      // a dump was finished
	started   atomic.Bool
	ready     chan struct{}
	stopped   chan struct{}
}

// New returns a watcher of the network namespace of the calling thread, and opens
// its socket: messages queue up from now on. Either Run or Close must follow.
// Listening needs no privilege; a large receive buffer needs CAP_NET_ADMIN, and
// without it is limited by net.core.rmem_max: see [Watcher.Missing].
func New(config Config) (*Watcher, error) {
	size := config.ReceiveBuffer
	if size == 0 {
		size = DefaultReceiveBuffer
	}
	s, err := openSocket(size, config.Logger)
	if err != nil {
		return nil, fmt.Errorf("netwatch: %w", err)
	}
	hears, err := s.hearNamespaces()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("netwatch: %w", err), s.close())
	}
	w, err := newWatcher(&config, s, hears)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("netwatch: %w", err), s.close())
	}
	cookie, err := s.namespaceCookie()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("netwatch: %w", err), s.close())
	}
	w.place += "/" + cookie
	w.pauses = newPauses(cmp.Or(s.cramped, size))
	if s.cramped != 0 {
		w.missing.buffer = fmt.Sprintf(missingBuffer, s.cramped>>10, size>>10)
	}
	w.askSelf()
	w.sayMissing()
	return w, nil
}

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
		place: config.Boot, self: NSIDLocal, window: maxAsked, asks: newQueue[[]byte](), questions: newQueue[question](),
		resync: resync{wanted: becauseStart, backoff: backoff}, pauses: newPauses(DefaultReceiveBuffer),
		buffer: make([]byte, datagramSize), ready: make(chan struct{}), stopped: make(chan struct{}),
	}
	w.table = newTable(func() time.Time { return w.now() }, config.Owners != nil, hears)
	w.missing.deaf = !hears
	return w, nil
}

// Ready is closed when the first dump has been committed: the view then holds all
// veths.
func (w *Watcher) Ready() <-chan struct{} { return w.ready }

// Close closes the socket of a watcher that is never run. Run does it itself.
func (w *Watcher) Close() error {
	if w.started.Swap(true) {
		return nil
	}
	w.fences.stop()
	close(w.stopped)
	return w.kernel.close()
}

// Run watches until ctx is done, then commits what was read and returns nil. It
// may be called once. What the hub's view holds when it is called is taken for
// what was known before: the first dump is compared with it. If that was in another
// boot of the machine or another network namespace, all of it is gone. Lost messages,
// interrupted dumps and the like are mended and no errors; an error means that
// watching cannot go on: the hub was closed ([hub.ErrClosed]), or the socket
// failed in a way that has no remedy.
func (w *Watcher) Run(ctx context.Context) error {
	if w.started.Swap(true) {
		return fmt.Errorf("netwatch: run: %w", ErrStopped)
	}
	defer func() {
		w.fences.stop()
		close(w.stopped)
		if err := w.kernel.close(); err != nil {
			w.log.Warn("closing", slog.Any("error", err))
		}
	}()
	outer := ctx
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		_ = w.kernel.setDeadline(time.Unix(1, 0)) // fails only once the file is closed
	})
	defer func() {
		if !stop() {
			<-interrupted
		}
	}()
	if err := w.begin(); err != nil {
		return fmt.Errorf("netwatch: %w", err)
	}
	helpers := w.help(ctx, fail)
	err := w.loop(ctx)
	if err == nil && outer.Err() == nil {
		err = context.Cause(ctx) // of a helper
	}
	fail(nil)
	helpers.Wait()
	if err != nil {
		return fmt.Errorf("netwatch: %w", err)
	}
	return nil
}

// loop reads the queue until it is empty, or until that has gone on for long,
// commits, and waits for more only when there is none.
func (w *Watcher) loop(ctx context.Context) error {
	for wait := false; ctx.Err() == nil; {
		empty, err := w.turn(wait)
		if err != nil {
			return err
		}
		if empty {
			w.gather(ctx)
		}
		wait = empty
	}
	w.table.releaseAll()
	return w.commit()
}

// gather lets messages come together in a burst, unless some were lost just now, or
// namespaces end so early that there would be nobody left to ask.
func (w *Watcher) gather(ctx context.Context) {
	if now := w.now(); w.window == maxAsked && w.resync.synced() && now.Sub(w.table.endedEarly) >= alertFor {
		w.pauses.take(ctx, now, len(w.table.spaces), w.expires)
	}
}

// turn reads datagrams and commits what comes of them. It reports whether the
// queue was seen empty.
func (w *Watcher) turn(wait bool) (empty bool, err error) {
	for range maxUncommitted {
		n, err := w.kernel.receive(w.buffer, wait)
		wait = false
		switch {
		case err == nil:
			w.datagram(w.buffer[:n], w.kernel.sender())
			continue
		case errors.Is(err, unix.EAGAIN):
			return true, w.pause()
		case errors.Is(err, os.ErrDeadlineExceeded):
			// Time for a dump, or the end, which the loop sees.
			return false, w.awake()
		}
		if err := w.mend(err); err != nil {
			return false, err
		}
	}
	return false, w.publish(false)
}

// mend deals with what receiving failed for. All of it says that messages are lost.
func (w *Watcher) mend(err error) error {
	switch {
	case errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM):
		w.hub.Count(hub.CounterOverruns, 1)
		w.overrun(becauseOverrun)
	case errors.Is(err, errTruncated):
		w.overrun(becauseTruncated)
	default:
		return err
	}
	return nil
}

// pause is for the moment when the queue is empty.
func (w *Watcher) pause() error {
	w.alarm = time.Time{}
	if err := w.idle(); err != nil {
		return err
	}
	if err := w.publish(true); err != nil {
		return err
	}
	return w.arm()
}

// publish commits what was read and tells those who wait for it.
func (w *Watcher) publish(empty bool) error {
	w.expires = time.Time{}
	if w.table.waits() { // a look at the clock costs
		now := w.now()
		w.expires = w.table.expire(now)
		w.wakeAt(w.expires)
		w.wakeAt(w.table.retry(now))
	}
	w.handOut()
	if err := w.commit(); err != nil {
		return err
	}
	if w.firstDump {
		select {
		case <-w.ready:
		default:
			close(w.ready)
		}
	}
	w.fences.release(empty && w.resync.synced() && w.table.settled())
	return nil
}

// wakeAt ends the next wait at an instant, if not before; the zero time is never.
func (w *Watcher) wakeAt(at time.Time) { w.alarm = earlier(w.alarm, at) }

// arm has the next wait end at the alarm.
func (w *Watcher) arm() error {
	if w.alarm.Equal(w.armed) {
		return nil
	}
	w.armed = w.alarm
	return w.kernel.setDeadline(w.alarm)
}

// awake takes the deadline away again.
func (w *Watcher) awake() error {
	if w.armed.IsZero() {
		return nil
	}
	w.armed = time.Time{}
	return w.kernel.setDeadline(time.Time{})
}
