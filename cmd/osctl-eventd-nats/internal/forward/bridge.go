package forward

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleet"
	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

const (
	firstPause      = 250 * time.Millisecond // of the exponential back-off after failed sessions
	lastPause       = 30 * time.Second
	deniedPause     = time.Minute            // after the server refused the credentials
	supersededPause = 300 * time.Millisecond // after another bridge wrote
)

// Config configures [Run].
type Config struct {
	Bus      string // address of the D-Bus bus, as [client.ResolveAddress] gives it
	Access   fleet.Access
	Stream   string
	Host     string        // names the host's subject
	Machine  string        // identifies the machine, see [MachineID]
	Version  string        // of the program
	StateDir string        // for the state file; one bridge may use it at a time
	Alive    time.Duration // interval of the heartbeats
	TakeOver bool          // continue once although another machine wrote the last message
	Log      *slog.Logger
	// Progress is called with a status line at least every Tick, or after the present call to NATS or
	// osctl-eventd, which takes at most callTimeout.
	Progress func(status string)
	Tick     time.Duration
}

// FenceError means that another machine, or another history of osctl-eventd, wrote the last message of
// the host. Text says what to do.
type FenceError struct{ Text string }

func (e *FenceError) Error() string { return e.Text }

// bridge is the state of a Run across sessions.
type bridge struct {
	Config
	state       *stateFile
	eventd      *eventd
	tick        *time.Ticker // of status lines
	heartbeat   *time.Ticker
	saveFailed  bool          // the last write of the state file failed
	announced   bool          // this run's _start is in the stream
	kept        *history      // last known history of osctl-eventd, nil while that is away
	pause       time.Duration // before the next session if this one stores nothing
	since       time.Time     // when the trouble began, zero for none
	rivalLogged bool          // it was logged that another bridge forwards this host
	trouble     string        // the last logged trouble, "" for none
}

// Run forwards until ctx is done, and then returns nil. It returns an error only if retrying is
// useless: a [FenceError], or an unusable state directory.
func Run(ctx context.Context, config Config) error {
	state, err := openState(config.StateDir, config.Log)
	if err != nil {
		return err
	}
	b := &bridge{Config: config, state: state, eventd: &eventd{address: config.Bus}}
	defer b.eventd.close()
	err = b.run(ctx)
	return errors.Join(err, state.close())
}

func (b *bridge) run(ctx context.Context) error {
	b.tick, b.heartbeat = time.NewTicker(b.Tick), time.NewTicker(b.Alive)
	defer b.tick.Stop()
	defer b.heartbeat.Stop()
	b.pause = firstPause
	for {
		err := b.session(ctx)
		b.saveState()
		if ctx.Err() != nil {
			return nil
		}
		if fence, ok := errors.AsType[*FenceError](err); ok {
			return fence
		}
		b.waitForRetry(ctx, err)
	}
}

// session forwards over one connection until an error.
func (b *bridge) session(ctx context.Context) error {
	link, err := fleet.Dial(&b.Access, b.Stream, b.Host)
	if err != nil {
		return err
	}
	defer link.Close()
	s := &session{bridge: b, link: link, limit: maxChunk}
	if err := s.resume(ctx); err != nil {
		return err
	}
	b.Log.Debug("connected", slog.String("server", link.Server()), slog.String("cursor", s.head.Cursor))
	return s.forward(ctx)
}

// saveState writes the state file. The bridge works without it, so an error is only logged.
func (b *bridge) saveState() {
	err := b.state.save()
	if err != nil && !b.saveFailed {
		b.Log.Warn("write the state file", errorAttr(err))
	}
	b.saveFailed = err != nil
}

// waitForRetry waits before the next session. The pause has jitter, because all hosts of a fleet lose
// a server at once.
func (b *bridge) waitForRetry(ctx context.Context, why error) {
	pause := b.pause
	switch {
	case errors.Is(why, fleet.ErrSuperseded):
		pause = supersededPause
	case errors.Is(why, nats.ErrAuthorization), errors.Is(why, nats.ErrPermissionViolation):
		pause = deniedPause
	default:
		b.pause = min(2*b.pause, lastPause)
	}
	pause = pause/2 + rand.N(pause) //nolint:gosec // jitter, not secret
	text := b.explain(why)
	b.logTrouble(ctx, why, text, pause)
	status := "Not forwarding since " + b.since.Format(time.DateTime) + ": " + text
	b.Progress(status)
	next := time.NewTimer(pause)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
			return
		case <-b.tick.C:
			b.Progress(status + b.formatBacklog(ctx))
		}
	}
}

// logTrouble logs each trouble once. It logs only once in all that two bridges take turns.
func (b *bridge) logTrouble(ctx context.Context, why error, text string, pause time.Duration) {
	if b.since.IsZero() {
		b.since = time.Now()
	}
	level, logged := slog.LevelWarn, text == b.trouble
	if errors.Is(why, fleet.ErrSuperseded) {
		logged, b.rivalLogged = b.rivalLogged, true
	} else {
		b.trouble = text
	}
	if logged {
		level = slog.LevelDebug
	}
	b.Log.LogAttrs(ctx, level, "not forwarding; retrying", slog.String("reason", text), slog.Duration("pause", pause))
}

// explain formats the error of a session for people.
func (b *bridge) explain(err error) string {
	if _, ok := errors.AsType[*client.Error](err); ok {
		return client.Explain(err, b.Bus)
	}
	if errors.Is(err, fleet.ErrSuperseded) { // omit the numbers, which differ each time
		return fleet.ErrSuperseded.Error() + ": another bridge also forwards this host, or the stream lost messages"
	}
	return err.Error()
}

// formatBacklog returns the backlog for a status line, "" if it is unknown.
func (b *bridge) formatBacklog(ctx context.Context) string {
	b.updateHistory(ctx)
	state := b.stateAt(b.state.cursor)
	if state == nil {
		return ""
	}
	return fmt.Sprintf(", %d of %d events behind", state.Backlog, state.History)
}

// updateHistory reads the state of osctl-eventd's history.
func (b *bridge) updateHistory(ctx context.Context) {
	h, err := b.eventd.history(ctx)
	if b.kept = &h; err != nil {
		b.kept = nil
	}
}

// stateAt compares a cursor with the last known history of osctl-eventd. It returns nil while
// osctl-eventd is away.
func (b *bridge) stateAt(cursor string) *fleet.State {
	h := b.kept
	if h == nil {
		return nil
	}
	state := &fleet.State{History: h.last + 1 - min(h.oldest, h.last+1), Full: h.oldest > 1, Durable: h.durable}
	epoch, seq, err := hub.ParseCursor(cursor)
	if err != nil || epoch != h.epoch {
		seq = 0 // no event of this history is in the stream
	}
	state.Backlog = min(h.last-min(seq, h.last), state.History) // seq may be newer than the history
	return state
}

func errorAttr(err error) slog.Attr { return slog.Any("error", err) }
