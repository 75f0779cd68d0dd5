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
	firstPause = 250 * time.Millisecond // after a session that failed; it doubles each time
	lastPause  = 30 * time.Second
	checkEvery = time.Second // for hosts that went silent
)

// Config says what [Run] reads, and from where.
type Config struct {
	Access fleet.Access
	Stream string
	Hosts  []string // only these; none for all
	// After is a position to go on after. Without one, Run begins at Since, by the clock of the
	// server, at the oldest message if that is the [Oldest], or with new messages.
	After  fleet.Position
	Since  time.Time
	Finite bool // end with the newest message there is
}

// Oldest is a time before all messages.
var Oldest = time.Unix(0, 0) //nolint:gochecknoglobals // it does not change

// Update is what Run hands on: a message, or a word about a host or the stream.
type Update struct {
	Host  string       // "" for the stream
	Lines []fleet.Line // of a message
	// Notice is for people: what went wrong, or is well again. The texts in it come from anywhere.
	Notice string
	Lost   bool           // events are missing, or may be
	After  fleet.Position // after the message; zero where there is none
	More   bool           // more messages come at once
}

// watcher is what outlives a session.
type watcher struct {
	Config
	take  func(Update) error
	hosts map[string]*host

	at     fleet.Position // after the last message that was read
	base   uint64         // the number that this run began after, if it is anchored there
	end    uint64         // the last number of a finite run
	jumped bool           // messages after base may have been dropped

	anchored bool          // else this run began at a time
	running  bool          // the first session has begun
	trouble  string        // what was said last of why nothing is read, "" if all is well
	since    time.Time     // when reading began again after trouble
	pause    time.Duration // before the next session, if this one reads nothing
}

// host is what is known of a host.
type host struct {
	fleet.Host
	track   fleet.Track
	silent  bool // that was told
	checked bool // nothing of it is missing between where the reader began and its first message, or that was told
}

// handlerError is an error of the function that takes updates.
type handlerError struct{ error }

// errEnd ends a finite run.
var errEnd = errors.New("the end")

// Run reads until ctx is done, and returns nil then. It returns an error if it cannot begin, or if take
// returns one. After that, NATS may be away: Run tells it, and reads on when it can.
func Run(ctx context.Context, config Config, take func(Update) error) error {
	w := &watcher{Config: config, take: take, hosts: map[string]*host{}, at: config.After, pause: firstPause}
	for {
		err := w.session(ctx)
		if handler, ok := errors.AsType[handlerError](err); ok {
			return handler.error
		}
		switch {
		case errors.Is(err, errEnd), ctx.Err() != nil:
			return nil //nolint:nilerr // whatever it was, we were told to end
		case errors.Is(err, errOther):
			continue
		case !w.running:
			return err
		}
		if err := w.wait(ctx, err); err != nil {
			return err
		}
	}
}

// wait says what the trouble is, and waits before the next session.
func (w *watcher) wait(ctx context.Context, why error) error {
	if text := why.Error(); text != w.trouble {
		w.trouble = text
		if err := w.take(Update{Notice: "not reading the stream; trying again: " + text}); err != nil {
			return err
		}
	}
	pause := time.NewTimer(w.pause/2 + rand.N(w.pause)) //nolint:gosec // spread, not secret
	defer pause.Stop()
	w.pause = min(2*w.pause, lastPause)
	select {
	case <-ctx.Done():
	case <-pause.C:
	}
	return nil
}

// give hands an update on.
func (w *watcher) give(u Update) error {
	if err := w.take(u); err != nil {
		return handlerError{err}
	}
	return nil
}

// session reads over one connection until something fails.
func (w *watcher) session(ctx context.Context) error {
	link, err := fleet.Dial(&w.Access, w.Stream, cmp.Or(w.Access.User, "watch"))
	if err != nil {
		return err
	}
	defer link.Close()
	ctx, cancel := link.Bound(ctx)
	defer cancel()
	s := &session{watcher: w, fetchBytes: max(fetchBytes, 2*link.MaxPayload())}
	if s.stream, err = link.Stream(ctx); err != nil {
		return err
	}
	if err = s.begin(ctx); err == nil {
		err = s.read(ctx)
	}
	if errors.Is(err, context.Canceled) {
		err = context.Cause(ctx) // the link's, unless we were told to end
	}
	return err
}

// checkSilence says which hosts went silent.
func (w *watcher) checkSilence(now time.Time) error {
	for _, h := range w.hosts {
		heard := h.Host
		if heard.Head.Seen.Before(w.since) { // hosts need a while to come back, as we did
			heard.Head.Seen = w.since
		}
		if h.silent || !heard.Silent(now) {
			continue
		}
		h.silent = true
		const form = "silent: nothing was heard of it since %s, though it says every %v that it lives"
		interval := time.Duration(h.Head.Status.Interval * float64(time.Second))
		notice := fmt.Sprintf(form, h.Head.Seen.Local().Format(time.DateTime), interval)
		if err := w.give(Update{Host: h.Name, Notice: notice}); err != nil {
			return err
		}
	}
	return nil
}
