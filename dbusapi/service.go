package dbusapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// Times of a [Service].
const (
	// firstRetry and lastRetry bound the pause before a lost bus is tried again. It
	// doubles each time; a bus that restarts is found again well within a second.
	firstRetry = 20 * time.Millisecond
	lastRetry  = time.Second

	// stepTimeout is more than Run takes to end a connection, pause and try the next
	// one: two dials, and the calls to own the name.
	stepTimeout = stopTimeout + lastRetry + 3*dialTimeout + 5*time.Second
)

// Config configures a [Service].
type Config struct {
	Hub     *hub.Hub
	Log     *slog.Logger
	Address string // of the bus, as [ResolveAddress] gives it
	Version string // the property Version

	// Missing returns what the service has to do without and what that costs, a line
	// each: the property Missing. It may be nil.
	Missing func() []string

	// WriteTimeout is how long the bus may take nothing before the connection is
	// thrown away and made anew; 10 s if 0.
	WriteTimeout time.Duration
}

// Service is org.osctl.Eventd on one bus. It keeps the name over restarts of the bus.
type Service struct {
	Config
	hub     *hub.Hub
	log     *slog.Logger
	methods map[string]map[string]method
	sub     *hub.Subscription // of the emitter, over all sessions
	lapses  lapses            // of the emitter
	started time.Time
	ready   chan struct{}
	once    sync.Once
	current atomic.Pointer[session] // nil while there is no bus

	progress    progress // of Run, while there is no bus
	stepTimeout time.Duration
}

// New returns a service for a hub. Its signals begin with the next event.
func New(config Config) (*Service, error) {
	sub, err := config.Hub.Subscribe(hub.Filter{}, "")
	if err != nil {
		return nil, err
	}
	return &Service{
		Config: config, hub: config.Hub, log: config.Log, methods: methods(), sub: sub, started: time.Now(), ready: make(chan struct{}),
		stepTimeout: stepTimeout,
	}, nil
}

// Ready is closed once the name is owned for the first time.
func (s *Service) Ready() <-chan struct{} { return s.ready }

// Run serves until ctx is done, then stops in order: no more calls are taken,
// pending waits are answered, the last signals are sent, the name is given up. When
// the bus is lost it goes on trying to get it back; only if there is none to begin
// with, or the name belongs to somebody else then, it returns an error.
func (s *Service) Run(ctx context.Context) error {
	defer func() { s.lapses.flush(s.log, time.Now()) }()
	pause := firstRetry
	for {
		served := false
		s.progress.step()
		err := s.serve(ctx, func() { pause, served = firstRetry, true })
		select {
		case <-ctx.Done():
			if err != nil {
				s.logStopped(err)
			}
			return nil
		default:
		}
		select {
		case <-s.ready:
		default:
			return err
		}
		if served {
			s.log.Warn("the bus is lost, getting it back", slog.Any("error", err))
			s.hub.Count("bus_losses", 1)
		} else {
			s.log.Debug("the bus is not back yet", slog.Any("error", err), slog.Duration("retry_in", pause))
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

// session is one connection of the service to the bus.
type session struct {
	ctx     context.Context //nolint:containedctx // ends the session, for its handlers
	conn    *conn
	callers *callers
	waits   *waits
	work    *dispatcher
	lost    chan struct{} // the name was taken from us
	late    atomic.Uint64 // calls without reply that came while stopping
}

// fail ends both connections, so that a reader that asks who is calling does not
// wait for the answer.
func (ss *session) fail(err error) {
	ss.conn.fail(err)
	ss.callers.conn.fail(err)
}

// serve connects, owns the name, and serves until the bus is lost or ctx is done.
func (s *Service) serve(ctx context.Context, connected func()) error {
	live, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	ss := &session{ctx: live, waits: newWaits(live), work: newDispatcher(maxBacklog), lost: make(chan struct{}, 1)}
	var err error
	if ss.callers, err = dialCallers(ctx, s.Address); err != nil {
		return err
	}
	defer ss.callers.conn.close()
	ss.conn, err = dialConn(ctx, s.Address, connConfig{
		maxBody: maxCallBody, timeout: s.WriteTimeout, strain: ss.work.strain, admit: ss.admit,
		handle: func(c *conn, m *message) { s.receive(ss, c, m) },
	})
	if err != nil {
		return err
	}
	defer ss.conn.close()
	defer ss.waits.close()
	// Only from here on calls are handled: somebody may have made one, to our unique name,
	// before the connection was known to be there.
	ss.work.start(func(m *message) { s.handle(ss, m) }, s.overLimit, ss.settle) //nolint:contextcheck // a rest ends with the dispatcher
	defer ss.work.close()
	if err := own(ctx, ss.conn); err != nil {
		return err
	}
	s.log.Info("on the bus", slog.String("address", s.Address), slog.String("unique_name", ss.conn.name))
	s.current.Store(ss)
	defer func() {
		s.progress.step()
		s.current.Store(nil)
	}()
	connected()
	return s.emitUntil(ctx, ss)
}

// settle waits until the bus has done with what it was sent, signals that wait in our
// outbox aside.
func (ss *session) settle(ctx context.Context) {
	// The error is that of ctx, or of the connection.
	_, _ = ss.conn.call(ctx, &wire.Header{Destination: busName, Path: busPath, Interface: busInterface, Member: "GetId"}, nil)
}

// emitUntil runs the emitter until the bus is lost or ctx is done.
func (s *Service) emitUntil(ctx context.Context, ss *session) error {
	_, sent := s.sub.Position()
	emitting, cancel := context.WithCancel(context.WithoutCancel(ctx)) // see finish
	ended := make(chan error, 1)
	go func() { ended <- s.emit(emitting, ss.conn) }()
	s.once.Do(func() { close(s.ready) })
	var err error
	select {
	case <-ctx.Done():
	case <-ss.conn.done:
		err = ss.conn.reason(errOutboxClosed)
	case <-ss.callers.conn.done:
		err = ss.callers.conn.reason(errOutboxClosed)
	case <-ss.lost:
		err = errors.New("the name " + Name + " was taken away")
	}
	if err == nil {
		err = s.finish(ss, cancel, ended)
	} else {
		cancel()
		ss.fail(err)
		<-ended //nolint:errcheck // the emitter failed for the same reason
	}
	if err != nil {
		ss.fail(err)
		<-ss.conn.writer // or what is written just now would not count as sent
	}
	// Signals that did not make it to the socket are sent over the next connection.
	s.sub.Rewind(max(sent, ss.conn.out.lastSent()))
	return err
}

// own asks for the name, and to be told when others leave the bus.
func own(ctx context.Context, c *conn) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	rule := "type='signal',sender='" + busName + "',interface='" + busInterface + "',member='NameOwnerChanged',arg2=''"
	if err := c.bus.BusObject().CallWithContext(ctx, busInterface+".AddMatch", 0, rule).Err; err != nil {
		return fmt.Errorf("watch for clients that leave: %w", err)
	}
	var answer uint32
	err := c.bus.BusObject().CallWithContext(ctx, busInterface+".RequestName", 0, Name, uint32(dbus.NameFlagDoNotQueue)).Store(&answer)
	if err != nil {
		return fmt.Errorf("own the name %s: %w", Name, err)
	}
	if dbus.RequestNameReply(answer) != dbus.RequestNameReplyPrimaryOwner {
		var owner string
		_ = c.bus.BusObject().CallWithContext(ctx, busInterface+".GetNameOwner", 0, Name).Store(&owner)
		return fmt.Errorf("the name %s already has an owner, %s: is another osctl-eventd running?", Name, owner)
	}
	return nil
}

// admit says whether the reader is to take a message.
func (ss *session) admit(m *message) error {
	if m.Type != wire.TypeCall {
		return nil
	}
	return ss.work.admit(m)
}

// receive takes a message that came in, called in order by the reader, which must not
// wait for anything but the bus.
func (s *Service) receive(ss *session, c *conn, m *message) {
	switch {
	case m.Sender == busName && m.Type == wire.TypeSignal:
		s.busSignal(ss, m)
	case m.Type != wire.TypeCall:
		s.hub.Count("messages_ignored", 1) // a signal, or a reply to nothing
	default:
		if m.refused == nil {
			m.refused = ss.work.push(m)
		}
		switch {
		case m.refused == nil:
		case m.Flags&wire.FlagNoReply == 0:
			_ = c.send(errorReply(m, toError(m.refused))) // see call.reply
		case errors.Is(m.refused, hub.ErrClosed):
			ss.late.Add(1)
		}
	}
}

// handle handles a message that has its turn: a call, or the signal that says that its
// sender has left.
func (s *Service) handle(ss *session, m *message) {
	if m.Type == wire.TypeSignal {
		ss.waits.gone(m.body)
		return
	}
	c := &call{message: m, service: s, session: ss}
	found, err := s.find(m)
	switch {
	case err == nil:
		err = found.handle(c)
	case m.isReport():
		err = c.reportRefused(err)
	}
	if err != nil {
		c.fail(err)
	}
}

// overLimit says that calls were refused as too many of their sender waited. Those that
// wanted no reply heard nothing of it.
func (s *Service) overLimit(sender string, refused uint64) {
	s.log.Warn("calls were refused: their sender makes more than can be handled", slog.String("sender", sender), slog.Uint64("refused", refused))
	s.hub.Count(counterOverLimit, refused)
}

// counterOverLimit counts calls that were refused as too many of their sender waited.
const counterOverLimit = "calls_over_limit"

// busSignal handles a signal of the bus itself.
func (s *Service) busSignal(ss *session, m *message) {
	d := m.decoder()
	name := d.String()
	if d.Err() != nil || m.Interface != busInterface {
		return
	}
	switch m.Member {
	case "NameOwnerChanged":
		// What it sent before it left is handled first: it may be to report something.
		left := &message{Header: &wire.Header{Type: wire.TypeSignal}, body: name}
		if !ss.work.follow(name, left) {
			ss.waits.gone(name)
		}
	case "NameLost":
		if name == Name {
			select {
			case ss.lost <- struct{}{}:
			default: // it is known already, or was given up
			}
		}
	}
}

// Check is what a watchdog asks. It is no error that the bus is away, or hangs: a
// connection on which the bus does not answer before the deadline of ctx is thrown away
// here, and Run makes a new one, as after any loss of the bus. To restart the service
// would do no more. The error says that Run itself stands still, it neither serves nor
// tries to, or that the handling of a call does.
func (s *Service) Check(ctx context.Context) error {
	ss := s.current.Load()
	if ss == nil {
		return s.progress.check(s.stepTimeout)
	}
	if busy := ss.work.longest(); busy > s.stepTimeout {
		return fmt.Errorf("a call is being handled for %v", busy.Round(time.Second))
	}
	// The policy of Debian denies Peer.Ping. Not through godbus: it would wait for room
	// in the outbox for longer than ctx.
	_, err := ss.conn.call(ctx, &wire.Header{Destination: busName, Path: busPath, Interface: busInterface, Member: "GetId"}, nil)
	if errors.Is(err, context.DeadlineExceeded) && s.current.Load() == ss {
		s.progress.step() // what follows has its own time
		ss.fail(errors.New("the bus does not answer"))
	}
	return nil
}
