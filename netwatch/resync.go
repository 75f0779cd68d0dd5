package netwatch

import (
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/rtnl"
)

// Reasons for a dump, as the log says them.
const (
	becauseStart     = "start"
	becauseLoss      = "messages were lost"
	becauseInterrupt = "the last dump was interrupted"
	becauseDoubt     = "the last dump contradicts what was seen live"
	becauseFailed    = "the last dump failed"
	becauseForeign   = "a message may be of another namespace"
	becauseFull      = "the hub's queue was full"
)

// The back-off between dumps: none before one that stands alone, then from firstBackoff doubling
// to lastBackoff, until none was needed for calmAfter.
const (
	firstBackoff = 5 * time.Millisecond
	lastBackoff  = 500 * time.Millisecond
	calmAfter    = time.Second
)

// resync is what is known of dumps: the one that runs, as a socket can have one at a time, and
// the one that is wanted.
type resync struct {
	requests uint32 // the number of the last request
	seq      uint32 // of the dump that runs; 0 is none
	lossy    bool   // what came since it was asked for is not all there was
	wanted   string // why another one is wanted; "" is not
	records  int    // of the dump that runs
	nudge    uint32 // request that was sent because the dump stands still; 0 is none
	nudged   bool   // that was answered

	dumps     uint64    // asked for so far
	whole     bool      // a dump was finished
	streak    int       // dumps in a row without calm
	notBefore time.Time // when the next may be asked for
	backoff   func(streak int) time.Duration
}

func backoff(streak int) time.Duration {
	if streak == 0 {
		return 0
	}
	return min(firstBackoff<<min(streak-1, 16), lastBackoff)
}

// number returns the number of the next request, never 0.
func (r *resync) number() uint32 {
	r.requests++
	if r.requests == 0 {
		r.requests = 1
	}
	return r.requests
}

// want asks for another dump. While one runs, its picture is no longer whole.
func (r *resync) want(why string) {
	r.wanted = why
	r.lossy = true
}

// done ends the dump that runs.
func (r *resync) done(now time.Time) {
	r.seq = 0
	r.notBefore = now.Add(r.backoff(r.streak))
}

// synced reports whether no dump is running or wanted.
func (r *resync) synced() bool { return r.dumps > 0 && r.seq == 0 && r.wanted == "" }

// alarm returns when a dump may be asked for that is wanted; the zero Time is never.
func (r *resync) alarm() time.Time {
	if r.seq == 0 && r.wanted != "" {
		return r.notBefore
	}
	return time.Time{}
}

// isLoss reports whether an error of the kernel says that messages were lost.
func isLoss(err error) bool {
	return errors.Is(err, rtnl.ErrLost) || errors.Is(err, rtnl.ErrTruncated) || errors.Is(err, rtnl.ErrMalformed)
}

// noteLoss notes that messages were lost. After an overrun the kernel goes on dropping until
// the queue was seen empty, so what follows waits for that, see suspect: a dump that is
// asked for earlier could be outdated unheard.
func (w *Watcher) noteLoss(err error) {
	if errors.Is(err, rtnl.ErrLost) {
		w.hub.Count(hub.CounterOverruns, 1)
	} else {
		w.log.Warn("cannot read a link message", slog.Any("error", err))
	}
	w.resync.want(becauseLoss)
	w.lost = true
}

// suspect notes, once the queue is empty after a loss, that anything may have been said unheard.
func (w *Watcher) suspect() {
	w.lost = false
	w.table.Suspect()
	if w.resync.nudge != 0 {
		w.resync.nudged = true // its answer may be among what was lost
	}
}

// tendDump is called when the queue is empty. It asks for the dump that is wanted, and looks
// after the one that runs.
func (w *Watcher) tendDump() error {
	r := &w.resync
	now := w.now()
	switch {
	case r.seq != 0:
		return w.nudgeDump()
	case r.wanted == "" || now.Before(r.notBefore):
		return nil
	}
	if r.dumps > 0 {
		w.hub.Count(hub.CounterResyncs, 1)
		w.log.Info("comparing the links with a new dump", slog.String("because", r.wanted), slog.Uint64("dump", r.dumps+1))
	}
	r.streak++
	if now.Sub(r.notBefore) > calmAfter {
		r.streak = 0
	}
	r.dumps++
	r.seq, r.wanted, r.lossy, r.records, r.nudge = r.number(), "", false, 0, 0
	w.table.BeginDump()
	return w.failSend(w.kernel.RequestDump(r.seq))
}

// nudgeDump deals with a dump that runs although the queue is empty. The kernel makes the next
// part of a dump when the last one is read; where it had no memory for it, only another message
// gets it going, so it is asked for one. A dump that stands still after that is not there: its
// request or its refusal was lost.
func (w *Watcher) nudgeDump() error {
	r := &w.resync
	switch {
	case r.nudge == 0:
		r.nudge, r.nudged = r.number(), false
		return w.failSend(w.kernel.Nudge(r.nudge))
	case r.nudged:
		w.failDump(errDumpLost)
	}
	return nil
}

var errDumpLost = errors.New("dump stands still")

// failSend takes an error of a request, and returns one that has no remedy.
func (w *Watcher) failSend(err error) error {
	for _, temporary := range []error{unix.ENOBUFS, unix.ENOMEM, unix.EAGAIN, unix.EBUSY} {
		if errors.Is(err, temporary) {
			w.failDump(err)
			return nil
		}
	}
	return err
}

func (w *Watcher) failDump(err error) {
	w.log.Warn("cannot dump the links, trying again", slog.Any("error", err))
	w.resync.want(becauseFailed)
	w.resync.done(w.now())
}

// answer applies what answers a request. That of a dump that was given up is nothing.
func (w *Watcher) answer(m *rtnl.Message) {
	r := &w.resync
	if r.nudge != 0 && m.Request == r.nudge {
		r.nudged = true
	}
	if r.seq == 0 || m.Request != r.seq {
		return
	}
	r.nudge = 0
	if m.Interrupted {
		r.want(becauseInterrupt)
	}
	switch m.Type {
	case unix.RTM_NEWLINK:
		r.records++
		if w.table.Apply(&m.Link, true) && r.wanted == "" {
			r.wanted = becauseDoubt // not want: this dump is whole all the same
		}
	case unix.NLMSG_DONE:
		w.finishDump(m.Errno)
	case unix.NLMSG_ERROR:
		// ENOBUFS is no refusal: the kernel had no room for the first part, but began the dump.
		if m.Errno == unix.ENOBUFS {
			r.want(becauseLoss)
		} else if m.Errno != 0 {
			w.failDump(m.Errno)
		}
	}
}

// finishDump takes the end of a dump, maybe with an error. A dump that is whole tells what is
// gone.
func (w *Watcher) finishDump(failed unix.Errno) {
	r := &w.resync
	if failed != 0 {
		w.failDump(failed)
		return
	}
	if !r.lossy {
		w.table.EndDump()
	}
	r.done(w.now())
	r.whole = true
	w.log.Debug("compared the links with a dump", slog.Int("links", r.records), slog.Bool("whole", !r.lossy), slog.String("again_because", r.wanted))
}
