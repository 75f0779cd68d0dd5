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
	// firstRetry and lastRetry bound the back-off before a lost bus is tried again. It
	// doubles each time; a bus that restarts is found again well within a second.
	firstRetry = 20 * time.Millisecond
	lastRetry  = time.Second

	// stopTimeout bounds the orderly end. backlogTimeout and drainTimeout are how much of it
	// may go by with handling the calls that were taken, and with queueing the last signals.
	stopTimeout    = 4 * time.Second
	backlogTimeout = 1 * time.Second
	drainTimeout   = 2 * time.Second

	// stuckAfter is how long one call, or one attempt to reach the bus, may take before the
	// watchdog counts the service as stuck: more than any of their own time limits.
	stuckAfter = 30 * time.Second
)

// counterBusLosses counts how often the bus was lost.
const counterBusLosses = "bus_losses"

// Config configures a [Service].
type Config struct {
	Hub     *hub.Hub
	Log     *slog.Logger
	Address string // of the bus, as [wire.ResolveAddress] gives it
	Version string // the property Version

	// Missing returns what the service has to do without and what that costs, a line
	// each: the property Missing, which everybody may read. It may be nil.
	Missing func() []string

	// WriteTimeout is how long the bus may take nothing before the connection is given up
	// and made anew; 10 s if 0.
	WriteTimeout time.Duration
}

// Service is org.osctl.Eventd on one bus. It keeps the name over restarts of the bus.
type Service struct {
	Config
	methods  map[string]map[string]method
	emitter  *emitter
	started  time.Time
	ready    chan struct{}
	once     sync.Once
	overflow overflow                  // reports for which the hub had no room at first
	checked  chan struct{}             // holds a token after a Check
	large    sync.Mutex                // held while a large report is decoded
	current  atomic.Pointer[session]   // nil while there is no bus
	tried    atomic.Pointer[time.Time] // when the bus was tried last, while there is none
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
		Config: config, methods: methods(), emitter: e, started: time.Now(), ready: make(chan struct{}), checked: make(chan struct{}, 1),
	}, nil
}

// Ready is closed once the name is owned for the first time.
func (s *Service) Ready() <-chan struct{} { return s.ready }

// Run serves until ctx is done, then stops in order: no more calls are taken, pending waits
// are answered, the last signals are sent, the name is given up, within 4 s. When the bus is
// lost it goes on trying to get it back; only if there is none to begin with, or the name
// belongs to somebody else then, it returns an error.
func (s *Service) Run(ctx context.Context) error {
	defer s.emitter.lapses.flush(s.Log, time.Now())
	pause := firstRetry
	for {
		s.try()
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
			s.Log.Warn("the bus is lost, getting it back", slog.Any("error", err))
			s.Hub.Count(counterBusLosses, 1)
		} else {
			s.Log.Debug("the bus is not back yet", slog.Any("error", err), slog.Duration("retry_in", pause))
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

// try notes for the watchdog that the bus is being tried.
func (s *Service) try() {
	now := time.Now()
	s.tried.Store(&now)
}

// serve serves on one connection, until the bus is lost or ctx is done. It reports whether
// the name was owned.
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
	s.Log.Info("on the bus", slog.String("address", s.Address), slog.String("unique_name", b.UniqueName()))
	s.current.Store(&session{b, waits})
	defer func() {
		s.try()
		s.current.Store(nil)
	}()
	return true, s.emitUntil(ctx, b, waits, announcer)
}

// emitUntil runs the emitter and the announcer until the bus is lost or ctx is done.
func (s *Service) emitUntil(ctx context.Context, b *bus.Bus, waits *waits, announcer *announcer) error {
	s.emitter.begin()
	emitting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	end := func() {
		cancel()
		running.Wait()
	}
	defer end()
	// Their errors are that of the bus, or that we cancelled them.
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
		b.Close() // or what is being written would not count as written
	}
	s.emitter.rewind(b.Written())
	return err
}

// stop ends a session in order. endSignals ends emitter and announcer, and waits for them.
func (s *Service) stop(b *bus.Bus, waits *waits, endSignals func()) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	late := context.AfterFunc(ctx, func() { b.GiveUp(fmt.Errorf("stopping took more than %v", stopTimeout)) })
	defer late()
	drain, cancelDrain := context.WithTimeout(ctx, drainTimeout)
	defer cancelDrain()
	b.StopCalls(backlogTimeout) // from then on nothing is committed
	waits.close()
	endSignals()
	if err := s.emitter.drain(drain, ctx, b); err != nil {
		return err
	}
	return b.Leave(ctx)
}

// logStopped tells the log of an end that was not in order, and of which events it is not
// known whether their signals were sent.
func (s *Service) logStopped(err error) {
	if err == nil {
		return
	}
	confirmed, last := s.emitter.confirmed(), s.Hub.Status().Last
	if confirmed < last {
		s.Log.Warn("stopped without the bus: the last signals may not have been sent", slog.Any("error", err),
			slog.Uint64("first_seq", confirmed+1), slog.Uint64("last_seq", last))
		return
	}
	s.Log.Warn("stopped without taking leave of the bus: all signals were sent, or told with Lapped", slog.Any("error", err))
}

// Check is what a watchdog asks. It is no error that the bus is away, or hangs: if the bus
// does not answer before the deadline of ctx, the connection is given up here, and Run makes
// a new one. To restart the service would do no more. The error says that Run itself is
// stuck, or that the handling of a call is.
//
// Check also has the properties compared: nobody says when Missing changes.
func (s *Service) Check(ctx context.Context) error {
	select {
	case s.checked <- struct{}{}:
	default: // the announcer is about to look
	}
	now := s.current.Load()
	if now == nil {
		if tried := s.tried.Load(); tried != nil && time.Since(*tried) > stuckAfter {
			return fmt.Errorf("no attempt to reach the bus for %v", time.Since(*tried).Round(time.Second))
		}
		return nil
	}
	if busy := now.bus.Stuck(); busy > stuckAfter {
		return fmt.Errorf("a call is being handled for %v", busy.Round(time.Second))
	}
	if err := now.bus.Alive(ctx); errors.Is(err, context.DeadlineExceeded) && s.current.Load() == now {
		s.try()
		now.bus.GiveUp(errors.New("the bus does not answer"))
		return nil
	}
	_ = s.emitter.confirm(ctx, now.bus) // for logStopped; in a flood the answer may come late
	return nil
}
