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
	firstPause  = 250 * time.Millisecond // after a session that failed; it doubles each time
	lastPause   = 30 * time.Second
	deniedPause = time.Minute // once the server refused our credentials
	shortPause  = 300 * time.Millisecond
)

// Config says what [Run] forwards, and where to.
type Config struct {
	Bus      string // address of the D-Bus bus, as [client.ResolveAddress] gives it
	Access   fleet.Access
	Stream   string
	Host     string        // names the host's subject
	Machine  string        // identifies the machine, see [MachineID]
	Version  string        // of the program
	StateDir string        // for the state file; one bridge may use it at a time
	Alive    time.Duration // how often to say that the host lives
	TakeOver bool          // once: go on although another machine wrote the last message
	Log      *slog.Logger
	// Progress is called at least every Tick, unless one reply of osctl-eventd takes longer to forward,
	// with a line on how things are.
	Progress func(status string)
	Tick     time.Duration
}

// FenceError says that the last message of the host was not written by this machine, or not from
// this history of osctl-eventd. Text says what to do.
type FenceError struct{ Text string }

func (e *FenceError) Error() string { return e.Text }

// bridge is what outlives a session.
type bridge struct {
	Config
	state     *stateFile
	eventd    *eventd
	unsaved   bool          // the state file could not be written
	announced bool          // this run's _start is in the stream
	kept      *history      // of osctl-eventd as it was lately, nil while that is away
	nextAlive time.Time     // of the next heartbeat
	pause     time.Duration // before the next session, if this one stores nothing
	since     time.Time     // when trouble began, zero if all is well
	rival     bool          // another bridge forwards this host, too: that was logged
	trouble   string        // what was logged last of why nothing is stored, "" if all is well
}

// Run forwards until ctx is done. It returns nil then, and an error where trying again is of no
// use: a [FenceError], or a state directory that cannot be used.
func Run(ctx context.Context, config Config) error {
	state, err := openState(config.StateDir, config.Log)
	if err != nil {
		return err
	}
	b := &bridge{Config: config, state: state, eventd: &eventd{address: config.Bus}}
	b.nextAlive = time.Now().Add(config.Alive)
	defer b.eventd.close()
	err = b.run(ctx)
	return errors.Join(err, state.close())
}

func (b *bridge) run(ctx context.Context) error {
	b.pause = firstPause
	for {
		err := b.session(ctx)
		b.saveState()
		if ctx.Err() != nil {
			return nil //nolint:nilerr // whatever it was, we were told to end
		}
		if fence, ok := errors.AsType[*FenceError](err); ok {
			return fence
		}
		b.wait(ctx, err)
	}
}

// session forwards over one connection until something fails.
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

// saveState writes the state file. Forwarding goes on without one.
func (b *bridge) saveState() {
	err := b.state.save()
	if err != nil && !b.unsaved {
		b.Log.Warn("the state file cannot be written", errorAttr(err))
	}
	b.unsaved = err != nil
}

// wait waits before the next session. The pause is spread, because the hosts of a fleet lose a
// server all at once.
func (b *bridge) wait(ctx context.Context, why error) {
	pause := b.pause
	switch {
	case errors.Is(why, fleet.ErrSuperseded):
		pause = shortPause
	case errors.Is(why, nats.ErrAuthorization), errors.Is(why, nats.ErrPermissionViolation):
		pause = deniedPause
	default:
		b.pause = min(2*b.pause, lastPause)
	}
	pause = pause/2 + rand.N(pause) //nolint:gosec // spread, not secret
	text := b.explain(why)
	b.logTrouble(ctx, why, text, pause)
	status := "Not forwarding since " + b.since.Format(time.DateTime) + ": " + text
	b.Progress(status)
	next, tick := time.NewTimer(pause), time.NewTicker(b.Tick)
	defer next.Stop()
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
			return
		case <-tick.C:
			b.Progress(status + b.behind(ctx))
		}
	}
}

// logTrouble logs each trouble once. That of two bridges that take turns is logged once for all.
func (b *bridge) logTrouble(ctx context.Context, why error, text string, pause time.Duration) {
	if b.since.IsZero() {
		b.since = time.Now()
	}
	level, said := slog.LevelWarn, text == b.trouble
	if errors.Is(why, fleet.ErrSuperseded) {
		said, b.rival = b.rival, true
	} else {
		b.trouble = text
	}
	if said {
		level = slog.LevelDebug
	}
	b.Log.LogAttrs(ctx, level, "not forwarding; trying again", slog.String("reason", text), slog.Duration("pause", pause))
}

// explain says in words for a person why a session ended.
func (b *bridge) explain(err error) string {
	if _, ok := errors.AsType[*client.Error](err); ok {
		return client.Explain(err, b.Bus)
	}
	if errors.Is(err, fleet.ErrSuperseded) { // its numbers differ each time
		return fleet.ErrSuperseded.Error() + ": another bridge of this host forwards, too, or the stream lost messages"
	}
	return err.Error()
}

// behind says how much of the history waits, for a status line. It says nothing where that cannot
// be learnt.
func (b *bridge) behind(ctx context.Context) string {
	b.updateHistory(ctx)
	state := b.stateAt(b.state.cursor)
	if state == nil {
		return ""
	}
	return fmt.Sprintf(", %d of %d events behind", state.Backlog, state.History)
}

// updateHistory asks osctl-eventd what it keeps.
func (b *bridge) updateHistory(ctx context.Context) {
	h, err := b.eventd.history(ctx)
	if b.kept = &h; err != nil {
		b.kept = nil
	}
}

// stateAt compares a cursor with what osctl-eventd kept lately. It returns nil while that is away.
func (b *bridge) stateAt(cursor string) *fleet.State {
	h := b.kept
	if h == nil {
		return nil
	}
	state := &fleet.State{History: h.last + 1 - min(h.oldest, h.last+1), Full: h.oldest > 1, Durable: h.durable}
	epoch, seq, err := hub.ParseCursor(cursor)
	if err != nil || epoch != h.epoch {
		seq = 0 // nothing of this history is in the stream
	}
	state.Backlog = min(h.last-min(seq, h.last), state.History) // seq is ahead of what came since
	return state
}

func errorAttr(err error) slog.Attr { return slog.Any("error", err) }
