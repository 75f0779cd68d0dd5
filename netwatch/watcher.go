package netwatch

import (
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
	Hub           *hub.Hub     // where events and rows go
	Logger        *slog.Logger // where troubles go
	Identity      Identity     // whose veth is it; nil knows nobody
	ReceiveBuffer int          // of the socket, in bytes; DefaultReceiveBuffer if 0
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
	waking    bool // a deadline is set
	firstDump bool // a dump was finished
	started   atomic.Bool
	ready     chan struct{}
	stopped   chan struct{}
}

// New returns a watcher of the network namespace of the calling thread, and opens
// its socket: messages queue up from now on. Either Run or Close must follow.
// Listening needs no privilege; a large receive buffer needs CAP_NET_ADMIN, and
// without it is limited by net.core.rmem_max, which is logged.
func New(config Config) (*Watcher, error) {
	size := config.ReceiveBuffer
	if size == 0 {
		size = DefaultReceiveBuffer
	}
	s, err := openSocket(size, config.Logger)
	if err != nil {
		return nil, fmt.Errorf("netwatch: %w", err)
	}
	return newWatcher(&config, s), nil
}

func newWatcher(config *Config, k kernel) *Watcher {
	identity := config.Identity
	if identity == nil {
		identity = unknownIdentity{}
	}
	return &Watcher{
		hub: config.Hub, log: config.Logger, kernel: k, table: newTable(identity),
		resync: resync{wanted: becauseStart, backoff: backoff}, buffer: make([]byte, datagramSize),
		ready: make(chan struct{}), stopped: make(chan struct{}),
	}
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
// what was known before: the first dump is compared with it. Lost messages,
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
	rows, _ := w.hub.Interfaces()
	w.table.seed(rows)
	if err := w.loop(ctx); err != nil {
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
		wait = empty
	}
	return w.commit()
}

// turn reads datagrams and commits what comes of them. It reports whether the
// queue was seen empty.
func (w *Watcher) turn(wait bool) (empty bool, err error) {
	for range maxUncommitted {
		n, err := w.kernel.receive(w.buffer, wait)
		wait = false
		switch {
		case err == nil:
			w.datagram(w.buffer[:n])
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
	if err := w.publish(true); err != nil {
		return err
	}
	return w.idle()
}

// publish commits what was read and tells those who wait for it.
func (w *Watcher) publish(empty bool) error {
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
	w.fences.release(empty && w.resync.synced())
	return nil
}

// wakeAt ends the next wait at an instant.
func (w *Watcher) wakeAt(at time.Time) error {
	w.waking = true
	return w.kernel.setDeadline(at)
}

// awake takes the deadline away again.
func (w *Watcher) awake() error {
	if !w.waking {
		return nil
	}
	w.waking = false
	return w.kernel.setDeadline(time.Time{})
}

// datagram applies the messages of a datagram, live or of a dump, in their order.
func (w *Watcher) datagram(b []byte) {
	for len(b) > 0 {
		m, rest, err := splitMessage(b)
		if err == nil {
			err = w.message(&m)
		}
		if err != nil {
			w.log.Warn("cannot read a link message", slog.Any("error", err))
			w.overrun(becauseMalformed)
		}
		b = rest
	}
}

// message applies one message. Answers to us carry our port and the number of the
// request. That is not enough to tell them: live messages carry those of whoever
// made the change, who may have the same port in another namespace. But only
// answers of several parts are marked as such.
func (w *Watcher) message(m *message) error {
	r := &w.resync
	ours := m.pid == w.kernel.port() && (m.typ < unix.NLMSG_MIN_TYPE || m.flags&unix.NLM_F_MULTI != 0)
	dumped := ours && r.seq != 0 && m.seq == r.seq
	if dumped {
		r.nudge = 0
		if m.flags&unix.NLM_F_DUMP_INTR != 0 {
			r.want(becauseInterrupt)
		}
	}
	switch m.typ {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		if ours && !dumped {
			return nil // of a dump that was given up
		}
		return w.link(m, dumped)
	case unix.NLMSG_DONE:
		if !dumped {
			return nil
		}
		failed, err := m.errno()
		w.finishDump(failed)
		return err
	case unix.NLMSG_ERROR:
		failed, err := m.errno()
		switch {
		case err != nil:
			return err
		case dumped && failed != 0:
			w.refuseDump(failed)
		case ours && !dumped:
			w.fences.ack(m.seq)
		}
	case unix.NLMSG_OVERRUN:
		w.overrun(becauseOverrun)
	}
	return nil
}

// link applies one link message.
func (w *Watcher) link(m *message, dumped bool) error {
	l, ok, err := decodeLink(m)
	if err != nil || !ok {
		return err
	}
	if dumped {
		w.resync.records++
	}
	if w.table.apply(&l, dumped) {
		w.resync.doubts++
		if w.resync.wanted == "" {
			// Not want: this dump is whole all the same.
			w.resync.wanted = becauseDoubt
		}
	}
	return nil
}
