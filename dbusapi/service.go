package dbusapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/osctl/eventd/dbusapi/bus"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// Times of a [Service].
const (
	// firstRetry and lastRetry are the limits of the back-off after a lost bus. It doubles each
	// time; the service finds a restarted bus well within a second.
	firstRetry = 20 * time.Millisecond
	lastRetry  = time.Second

	stopTimeout    = 4 * time.Second // for an orderly end
	backlogTimeout = 1 * time.Second // of that, for queued calls
	drainTimeout   = 2 * time.Second // of that, for queueing the last signals

	// stuckAfter is how long a call, or an attempt to reach the bus, may take before the service
	// counts as stuck. It is longer than all their own timeouts.
	stuckAfter = 30 * time.Second
)

const counterBusLosses = "bus_losses"

// Config configures a [Service].
type Config struct {
	Hub     *hub.Hub
	Log     *slog.Logger // its handler must not block, see [bus.Config]
	Address string       // of the bus, see [wire.ResolveAddress]
	Version string       // the property Version

	// Missing returns the missing capabilities of the service and their consequences, a line
	// each. It is the property Missing, which every user may read. It may be nil.
	Missing func() []string

	// WriteTimeout is how long the bus may take no byte before the service reconnects; 10 s if 0.
	WriteTimeout time.Duration
}

// Service is org.osctl.Eventd on one bus. It survives restarts of the bus.
type Service struct {
	Config
	methods     map[string]map[string]method
	emitter     *emitter
	started     time.Time
	ready       chan struct{}
	once        sync.Once
	overflow    overflow                  // reports that found the hub's queue full
	recheck     chan struct{}             // holds a token after a Check
	largeCall   sync.Mutex                // held while a large report is decoded
	current     atomic.Pointer[session]   // nil while there is no bus
	attemptedAt atomic.Pointer[time.Time] // when the bus was tried last, while there is none
}

// session is one connection of the service to the bus.
type session struct {
	bus   *bus.Bus
	waits *waits
}

// New returns a service for a hub. Its signals begin with the next event.
func New(config Config) (*Service, error) {
	e, err := newEmitter(config.Hub, config.Log)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{counterBusLosses, bus.CounterOverLimit, bus.CounterIgnored} {
		config.Hub.Count(name, 0)
	}
	return &Service{
		Config: config, methods: methods(), emitter: e, started: time.Now(), ready: make(chan struct{}), recheck: make(chan struct{}, 1),
	}, nil
}

// Ready returns a channel that is closed when the name is owned for the first time.
func (s *Service) Ready() <-chan struct{} { return s.ready }

// Run serves until ctx is done. Then, within 4 s, it handles queued calls, answers pending waits, sends
// the last signals and releases the name. When the bus is lost it reconnects. It returns an error only
// if there is no bus at the start, or the name already has an owner.
func (s *Service) Run(ctx context.Context) error {
	defer s.emitter.lapses.logNow(s.Log, time.Now())
	pause := firstRetry
	for {
		s.markAttempt()
		served, err := s.serve(ctx)
		select {
		case <-ctx.Done():
			s.logStopped(err)
			return nil
		default:
		}
		select {
		case <-s.ready:
		default:
			return err
		}
		if served {
			pause = firstRetry
			s.Log.Warn("lost the bus, reconnecting", slog.Any("error", err))
			s.Hub.Count(counterBusLosses, 1)
		} else {
			s.Log.Debug("cannot reach the bus yet", slog.Any("error", err), slog.Duration("retry_in", pause))
		}
		select {
		case <-ctx.Done():
			s.logStopped(err)
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, lastRetry)
	}
}

// markAttempt records an attempt to reach the bus, for the watchdog.
func (s *Service) markAttempt() {
	now := time.Now()
	s.attemptedAt.Store(&now)
}

// serve serves on one connection until the bus is lost or ctx is done. It reports whether the name was
// owned.
func (s *Service) serve(ctx context.Context) (bool, error) {
	live, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	waits := newWaits(live)
	announcer := newAnnouncer(s)
	b, err := bus.Connect(ctx, bus.Config{
		Address: s.Address, Name: wire.Name, Log: s.Log, MaxBody: maxCallBody, WriteTimeout: s.WriteTimeout,
		Handler: &handler{service: s, waits: waits}, Count: s.Hub.Count,
	})
	if err != nil {
		return false, err
	}
	defer waits.close()
	defer b.Close()
	s.Log.Info("connected to the bus", slog.String("address", s.Address), slog.String("unique_name", b.UniqueName()))
	s.current.Store(&session{b, waits})
	defer func() {
		s.markAttempt()
		s.current.Store(nil)
	}()
	return true, s.emitUntil(ctx, b, waits, announcer)
}

// emitUntil runs the emitter and the announcer until the bus is lost or ctx is done.
func (s *Service) emitUntil(ctx context.Context, b *bus.Bus, waits *waits, announcer *announcer) error {
	s.emitter.startSession()
	emitting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	end := func() {
		cancel()
		running.Wait()
	}
	defer end()
	// Their errors are that of the bus or of the canceled context.
	running.Go(func() { _ = s.emitter.run(emitting, b) })
	running.Go(func() { _ = announcer.run(emitting, changesSignal(b)) })
	s.once.Do(func() { close(s.ready) })
	var err error
	select {
	case <-ctx.Done():
		err = s.stop(b, waits, end) //nolint:contextcheck // ctx is done; stopping has its own time
	case <-b.Done():
		err = b.Err()
	}
	if err != nil {
		b.GiveUp(err)
		end()
		b.Close() // waits for the last write, which counts for Written
	}
	s.emitter.rewind(b.Written())
	return err
}

// stop ends a session in an orderly way. endSignals ends the emitter and the announcer, and waits for
// them.
func (s *Service) stop(b *bus.Bus, waits *waits, endSignals func()) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	late := context.AfterFunc(ctx, func() { b.GiveUp(fmt.Errorf("stopping took more than %v", stopTimeout)) })
	defer late()
	drain, cancelDrain := context.WithTimeout(ctx, drainTimeout)
	defer cancelDrain()
	b.StopCalls(backlogTimeout) // only reports that a hung disk holds up may be committed after this
	waits.close()
	endSignals()
	if err := s.emitter.drain(drain, ctx, b); err != nil {
		return err
	}
	return b.Leave(ctx)
}

// logStopped logs an end with an error, and the events whose signals may not have been sent.
func (s *Service) logStopped(err error) {
	confirmed, last := s.emitter.confirmed(), s.Hub.Status().Last
	if err == nil && confirmed < last {
		err = errors.New("reports were committed too late")
	}
	switch {
	case confirmed < last:
		s.Log.Warn("stopped: the last signals may not have been sent", slog.Any("error", err),
			slog.Uint64("first_seq", confirmed+1), slog.Uint64("last_seq", last))
	case err != nil:
		s.Log.Warn("stopped without leaving the bus: all signals were sent or replaced by Lapped", slog.Any("error", err))
	}
}

// Check is for a watchdog. It returns an error if Run or the handling of a call is stuck. A bus that is
// away or hangs is no error, because a restart of the service would not help. If the bus does not answer
// before the deadline of ctx, Check ends the connection, and Run reconnects.
//
// Check also makes the service compare its properties, because a change of Missing is not signaled.
func (s *Service) Check(ctx context.Context) error {
	select {
	case s.recheck <- struct{}{}:
	default: // a token is there
	}
	now := s.current.Load()
	if now == nil {
		if tried := s.attemptedAt.Load(); tried != nil && time.Since(*tried) > stuckAfter {
			return fmt.Errorf("no attempt to reach the bus for %v", time.Since(*tried).Round(time.Second))
		}
		return nil
	}
	if busy := now.bus.Stuck(); busy > stuckAfter {
		return fmt.Errorf("a call has been running for %v", busy.Round(time.Second))
	}
	if err := now.bus.Alive(ctx); errors.Is(err, context.DeadlineExceeded) && s.current.Load() == now {
		s.markAttempt()
		now.bus.GiveUp(errors.New("the bus does not answer"))
		return nil
	}
	_ = s.emitter.confirm(ctx, now.bus) // for logStopped; during a flood the answer may be late
	return nil
}
