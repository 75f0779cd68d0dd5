package watch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleet"
)

const (
	firstPause = 250 * time.Millisecond // of the exponential back-off after failed sessions
	lastPause  = 30 * time.Second
	checkEvery = time.Second // how often to check for silent hosts
)

// Config configures [Run].
type Config struct {
	Access fleet.Access
	Stream string
	Hosts  []string // the watched hosts; none for all
	// After is the position to resume at. Without one, Run begins at Since, by the clock of the
	// server; at the oldest message if Since is [Oldest]; with new messages if Since is zero.
	After  fleet.Position
	Since  time.Time
	Finite bool // end with the newest message
}

// Oldest is a time before all messages.
var Oldest = time.Unix(0, 0) //nolint:gochecknoglobals // it does not change

// Update is a message, or a notice about a host or the stream.
type Update struct {
	Host  string       // "" for the stream
	Lines []fleet.Line // of a message
	// Notice tells people what failed or recovered. It may contain text from the stream.
	Notice string
	Lost   bool           // events are missing, or may be missing
	After  fleet.Position // after the message; zero without one
	More   bool           // more messages follow at once
}

// watcher is the state of a Run across sessions.
type watcher struct {
	Config
	handler func(Update) error
	hosts   map[string]*host

	at      fleet.Position // after the last message read
	base    uint64         // the last message before the run; the run must report what is missing after it
	end     uint64         // the last message of a finite run
	skipped bool           // messages after base may have been dropped

	running bool          // the first session has begun; from then on Since is zero if the run began after a message
	trouble string        // the last reported failure, "" for none
	since   time.Time     // when reading resumed after a failure
	pause   time.Duration // before the next session if this one reads nothing
}

// host is the state of a watched host.
type host struct {
	fleet.Host
	track   fleet.Track
	silent  bool // reported as silent
	checked bool // checkFirst was done
}

// handlerError is an error of the handler.
type handlerError struct{ error }

// errEnd ends a finite run.
var errEnd = errors.New("the end")

// Run reads the stream until ctx is done, and then returns nil. It returns an error if the first session
// fails, or if handler returns one. Later it reports failures of NATS, and retries.
func Run(ctx context.Context, config Config, handler func(Update) error) error {
	w := &watcher{Config: config, handler: handler, hosts: map[string]*host{}, at: config.After, pause: firstPause}
	for {
		err := w.session(ctx)
		if handler, ok := errors.AsType[handlerError](err); ok {
			return handler.error
		}
		switch {
		case errors.Is(err, errEnd), ctx.Err() != nil:
			return nil //nolint:nilerr // the caller ended the run
		case errors.Is(err, errOtherStream):
			continue
		case !w.running:
			return err
		}
		if err := w.waitForRetry(ctx, err); err != nil {
			return err
		}
	}
}

// waitForRetry reports a new failure, and waits before the next session.
func (w *watcher) waitForRetry(ctx context.Context, why error) error {
	if text := why.Error(); text != w.trouble {
		w.trouble = text
		if err := w.handler(Update{Notice: "not reading the stream; trying again: " + text}); err != nil {
			return err
		}
	}
	pause := time.NewTimer(w.pause/2 + rand.N(w.pause)) //nolint:gosec // jitter, not secret
	defer pause.Stop()
	w.pause = min(2*w.pause, lastPause)
	select {
	case <-ctx.Done():
	case <-pause.C:
	}
	return nil
}

// deliver passes an update to the handler.
func (w *watcher) deliver(u Update) error {
	if err := w.handler(u); err != nil {
		return handlerError{err}
	}
	return nil
}

// session reads over one connection until an error.
func (w *watcher) session(ctx context.Context) error {
	link, err := fleet.Dial(&w.Access, w.Stream, cmp.Or(w.Access.User, "watch"))
	if err != nil {
		return err
	}
	defer link.Close()
	ctx, cancel := link.Bound(ctx)
	defer cancel()
	s := &session{watcher: w}
	if s.stream, err = link.Stream(ctx); err != nil {
		return err
	}
	if err = s.resume(ctx); err == nil {
		err = s.read(ctx)
	}
	if errors.Is(err, context.Canceled) {
		err = context.Cause(ctx) // the error of the link, unless the caller ended the run
	}
	return err
}

// checkSilence reports hosts that went silent.
func (w *watcher) checkSilence(now time.Time) error {
	for _, h := range w.hosts {
		heard := h.Host
		if heard.Head.Seen.Before(w.since) { // after an outage hosts need a while to come back
			heard.Head.Seen = w.since
		}
		if h.silent || !heard.Silent(now) {
			continue
		}
		h.silent = true
		const form = "silent: no heartbeat since %s, though one is due every %v"
		interval := time.Duration(h.Head.Status.Interval * float64(time.Second))
		notice := fmt.Sprintf(form, h.Head.Seen.Local().Format(time.DateTime), interval)
		if err := w.deliver(Update{Host: h.Name, Notice: notice}); err != nil {
			return err
		}
	}
	return nil
}
