package netwatch

import (
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/hub"
)

// Reasons for a dump, as the log says them.
const (
	becauseStart     = "start"
	becauseOverrun   = "the kernel dropped messages"
	becauseTruncated = "a message was truncated"
	becauseMalformed = "a message was malformed"
	becauseInterrupt = "the last dump was interrupted"
	becauseDoubt     = "the last dump contradicts what was seen live"
	becauseFailed    = "the last dump failed"
)

// The back-off between dumps: none before one that stands alone, then from
// firstBackoff doubling to lastBackoff, until none was needed for calmAfter.
const (
	firstBackoff = 5 * time.Millisecond
	lastBackoff  = 500 * time.Millisecond
	calmAfter    = time.Second
)

// resync is what is known of dumps: the one that runs, as a socket can have one at
// a time, and the one that is wanted.
type resync struct {
	seq     uint32 // of the dump that runs; 0 is none
	lossy   bool   // what came since it was asked for is not all there was
	wanted  string // why another one is wanted; "" is not
	records int    // of the dump that runs
	nudge   uint32 // fence sent because the dump stands still; 0 is none

	dumps     uint64    // asked for so far
	doubts    uint64    // records that contradicted a live message, so far
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

// want asks for another dump. While one runs, its picture is no longer whole.
func (r *resync) want(why string) {
	r.wanted = why
	r.lossy = true
}

// done ends the dump that runs.
func (r *resync) done(now time.Time) { r.notBefore = now.Add(r.backoff(r.streak)) }

// overrun notes that the kernel dropped messages, or that one could not be read.
// The kernel says so once, then goes on dropping until the queue was seen empty
// (NETLINK_S_CONGESTED in net/netlink/af_netlink.c). So a dump is only asked for
// then, see idle: one asked for earlier could be outdated unheard.
func (w *Watcher) overrun(why string) {
	w.resync.want(why)
	w.fences.lost = true
}

// idle is called when the queue is empty: what had to wait for that is done here.
func (w *Watcher) idle() error {
	if w.fences.lost {
		w.fences.lost = false
		w.suspect()
		if err := w.resendFence(); err != nil {
			return err
		}
	}
	r := &w.resync
	if r.seq != 0 {
		return w.nudgeDump()
	}
	if r.wanted == "" {
		return nil
	}
	now := w.now()
	if now.Before(r.notBefore) {
		w.wakeAt(r.notBefore)
		return nil
	}
	return w.requestDump(now)
}

// suspect takes note that anything may have been said unheard.
func (w *Watcher) suspect() {
	w.window = max(w.window/4, 1)
	w.table.suspect()
	w.askSelf()
}

// requestDump asks for a dump on the listening socket, where its records queue up
// among the live messages.
func (w *Watcher) requestDump(now time.Time) error {
	r := &w.resync
	if r.dumps > 0 {
		w.hub.Count(hub.CounterResyncs, 1)
		w.log.Info("comparing the links with a new dump", slog.String("because", r.wanted), slog.Uint64("dump", r.dumps+1))
	}
	r.streak++
	if now.Sub(r.notBefore) > calmAfter {
		r.streak = 0
	}
	r.dumps++
	r.seq, r.wanted, r.lossy, r.records, r.nudge = w.fences.take(), "", false, 0, 0
	w.table.beginDump()
	err := w.kernel.send(dumpRequest(r.seq))
	if err != nil && !temporary(err) {
		return err
	}
	if err != nil {
		r.seq = 0
		w.failDump(err)
		w.wakeAt(r.notBefore)
	}
	return nil
}

// nudgeDump deals with a dump that runs although the queue is empty. The kernel
// makes the next part of a dump when we read the last one; where it had no memory
// for it, only another message gets it going, so we have one sent. A dump that
// stands still after that is not there: its request or its refusal was lost.
func (w *Watcher) nudgeDump() error {
	r := &w.resync
	switch {
	case r.nudge == 0:
		r.nudge = w.fences.take()
		return w.ownFence(r.nudge)
	case w.fences.passed(r.nudge):
		r.seq = 0
		w.failDump(errDumpLost)
		w.wakeAt(r.notBefore)
	default: // its acknowledgement will come; if it was lost, so was said, and it is sent again
	}
	return nil
}

var errDumpLost = errors.New("dump stands still")

func (w *Watcher) failDump(err error) {
	w.log.Warn("cannot dump the links, trying again", slog.Any("error", err))
	w.resync.want(becauseFailed)
	w.resync.done(w.now())
}

// temporary reports whether a request may be taken when it is sent again.
func temporary(err error) bool {
	return errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EBUSY)
}

// finishDump takes the end of a dump: NLMSG_DONE, maybe with an error. A dump
// that is whole tells what is gone.
func (w *Watcher) finishDump(failed unix.Errno) {
	r := &w.resync
	r.seq = 0
	if failed != 0 {
		w.failDump(failed)
		return
	}
	if !r.lossy {
		w.table.prune()
	}
	w.table.ageSpaces()
	r.done(w.now())
	w.log.Debug("compared the links with a dump", slog.Int("links", r.records), slog.Bool("whole", !r.lossy), slog.String("again_because", r.wanted))
	w.firstDump = true
}

// refuseDump takes the refusal of a dump. ENOBUFS is none: the kernel had no room
// for the first part, but the dump was begun.
func (w *Watcher) refuseDump(why unix.Errno) {
	if why == unix.ENOBUFS {
		w.resync.want(becauseOverrun)
		return
	}
	w.resync.seq = 0
	w.failDump(why)
}

// synced reports whether nothing is outstanding that could change the table
// without the kernel saying something new.
func (r *resync) synced() bool { return r.dumps > 0 && r.seq == 0 && r.wanted == "" }
