package netwatch

import (
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/rtnl"
)

// Reasons for a dump, for the log.
const (
	becauseStart     = "start"
	becauseLoss      = "messages were lost"
	becauseInterrupt = "the last dump was interrupted"
	becauseDoubt     = "the last dump contradicts live messages"
	becauseFailed    = "the last dump failed"
	becauseForeign   = "a message may be from another namespace"
)

// dumpPause is the pause between two dumps. While links change faster than the watcher reads, each dump is
// incomplete.
const dumpPause = 200 * time.Millisecond

// resync is the state of dumps: of the one that runs, because a socket can have only one at a time,
// and of the next one.
type resync struct {
	requests   uint32 // the number of the last request
	seq        uint32 // the number of the dump that runs; 0 if none runs
	incomplete bool   // messages were lost since the dump was asked for, or it was interrupted
	wanted     string // why another dump is wanted; "" if none is
	records    int    // of the dump that runs
	nudge      uint32 // the number of the nudge because the dump stalls; 0 if there was none
	nudged     bool   // the nudge was answered, or the answer may be lost

	dumps     uint64        // asked for so far
	finished  bool          // at least one dump was finished
	pause     time.Duration // dumpPause, or none in tests
	notBefore time.Time     // when the next dump may be asked for
}

// number returns the number of the next request, never 0.
func (r *resync) number() uint32 {
	r.requests++
	if r.requests == 0 {
		r.requests = 1
	}
	return r.requests
}

// wantDump makes another dump wanted. A dump that runs is incomplete from then on.
func (r *resync) wantDump(why string) {
	r.wanted = why
	r.incomplete = true
}

// endDump ends the dump that runs.
func (r *resync) endDump(now time.Time) {
	r.seq = 0
	r.notBefore = now.Add(r.pause)
}

// synced reports whether no dump is running or wanted.
func (r *resync) synced() bool { return r.dumps > 0 && r.seq == 0 && r.wanted == "" }

// alarm returns when the wanted dump may be asked for; the zero Time is never.
func (r *resync) alarm() time.Time {
	if r.seq == 0 && r.wanted != "" {
		return r.notBefore
	}
	return time.Time{}
}

// isLoss reports whether an error of the kernel says that messages were lost.
func isLoss(err error) bool {
	return errors.Is(err, rtnl.ErrLost) || errors.Is(err, rtnl.ErrMalformed)
}

// noteLoss notes that messages were lost. Until the queue was empty, nothing else is done about that,
// because the kernel goes on dropping messages after an overrun, and a dump that is asked for earlier
// could be outdated without notice.
func (w *Watcher) noteLoss(err error) {
	if errors.Is(err, rtnl.ErrLost) {
		w.hub.Count(hub.CounterOverruns, 1)
	} else {
		w.log.Warn("cannot read a link message", slog.Any("error", err))
	}
	w.resync.wantDump(becauseLoss)
	w.lost = true
}

// suspectTable is called when the queue is empty after a loss. The lost messages may have been about
// anything.
func (w *Watcher) suspectTable() {
	w.lost = false
	w.table.Suspect()
	if w.resync.nudge != 0 {
		w.resync.nudged = true // the answer may be lost
	}
}

// advanceDump is called when the queue is empty. It asks for the wanted dump, or nudges the one that
// runs.
func (w *Watcher) advanceDump() error {
	r := &w.resync
	switch {
	case r.seq != 0:
		return w.nudgeDump()
	case r.wanted == "" || w.now().Before(r.notBefore):
		return nil
	}
	if r.dumps > 0 {
		w.hub.Count(hub.CounterResyncs, 1)
		w.log.Info("comparing the links with a new dump", slog.String("because", r.wanted), slog.Uint64("dump", r.dumps+1))
	}
	r.dumps++
	r.seq, r.wanted, r.incomplete, r.records, r.nudge = r.number(), "", false, 0, 0
	w.table.BeginDump()
	return w.handleSendError(w.kernel.RequestDump(r.seq))
}

// nudgeDump handles a dump that runs although the queue is empty. The kernel makes the next part of a
// dump when the last part is received. If it had no memory then, the dump stalls until another message
// is received, so nudgeDump asks for one. If the dump stalls even after the answer, its request or its
// refusal was lost.
func (w *Watcher) nudgeDump() error {
	r := &w.resync
	switch {
	case r.nudge == 0:
		r.nudge, r.nudged = r.number(), false
		return w.handleSendError(w.kernel.Nudge(r.nudge))
	case r.nudged:
		w.failDump(errDumpLost)
	}
	return nil
}

var errDumpLost = errors.New("the dump stalls")

// handleSendError fails the dump if an error of a request is temporary, and returns any other error.
func (w *Watcher) handleSendError(err error) error {
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
	w.resync.wantDump(becauseFailed)
	w.resync.endDump(w.now())
}

// applyReply applies a message that answers a request. It ignores replies of a dump that was given up.
func (w *Watcher) applyReply(m *rtnl.Message) {
	r := &w.resync
	if r.nudge != 0 && m.Request == r.nudge {
		r.nudged = true
	}
	if r.seq == 0 || m.Request != r.seq {
		return
	}
	r.nudge = 0
	if m.Interrupted {
		r.wantDump(becauseInterrupt)
	}
	switch m.Type {
	case unix.RTM_NEWLINK:
		r.records++
		if w.table.Apply(&m.Link, true) && r.wanted == "" {
			r.wanted = becauseDoubt // not wantDump, because this dump is still complete
		}
	case unix.NLMSG_DONE:
		w.finishDump(m.Errno)
	case unix.NLMSG_ERROR:
		// ENOBUFS is no refusal: the kernel began the dump, but had no room for the first part.
		if m.Errno == unix.ENOBUFS {
			r.wantDump(becauseLoss)
		} else if m.Errno != 0 {
			w.failDump(m.Errno)
		}
	}
}

// finishDump handles the end of a dump, maybe with an error. Links that a complete dump lacks are gone.
func (w *Watcher) finishDump(failed unix.Errno) {
	r := &w.resync
	if failed != 0 {
		w.failDump(failed)
		return
	}
	if !r.incomplete {
		w.table.EndDump()
	}
	r.endDump(w.now())
	r.finished = true
	w.log.Debug("compared the links with a dump", slog.Int("links", r.records), slog.Bool("complete", !r.incomplete), slog.String("again_because", r.wanted))
}
