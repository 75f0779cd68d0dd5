package bridge

import (
	"context"
	"log/slog"
	"time"

	"github.com/moby/moby/api/types/events"

	"github.com/osctl/eventd/dbusapi/client"
)

const (
	// overlap is how long before its position a session asks for events. Podman's processes write
	// them in about the order of their times.
	overlap = 10 * time.Second
	// removalDelay is how long after its start a session says that containers are gone which the
	// engine does not list. By then the engine has told of those that it remembers removing.
	removalDelay = 2 * time.Second
	// idleTime is how long after the last event the position moves on without one. So an old event is not
	// asked for again when the service no longer has it in its history.
	idleTime = time.Minute
	// healthDelay is how long after a health check its result is asked for. Podman tells of the check
	// before it has the result.
	healthDelay = time.Second
	// maxContainers is how many containers of an engine are followed. The rest is left out.
	maxContainers = 8192
	// reportTime is how long a call of the service may take.
	reportTime = 30 * time.Second
)

// session follows an engine until something fails.
type session struct {
	pool     string
	log      *slog.Logger
	engine   *engine
	service  *client.Client
	bucket   *bucket
	position position
	told     *told
	first    time.Time       // where to begin without a position
	began    time.Time       // names in earlier events are older than the list
	handled  time.Time       // the time of the newest event that was handled
	saved    time.Time       // what the file says
	unsaved  bool            // the last use of the file failed
	listed   map[string]bool // ids
	partial  bool            // listed lacks some
	checked  map[string]bool // ids of containers whose health is to be asked for
	status   *status
}

// followEngine connects to the service and to an engine, and runs a session. It returns with an error.
func (l *loop) followEngine(ctx context.Context) error {
	e, err := newEngine(l.socket)
	if err != nil {
		return err
	}
	defer e.close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	service, stop, err := l.connect(ctx, cancel)
	if err != nil {
		return err
	}
	defer stop()
	s := &session{
		pool: l.name, log: l.log, engine: e, service: service, bucket: l.bucket, position: positionOf(l.stateDir, l.name), first: l.began,
		listed: map[string]bool{}, checked: map[string]bool{}, status: l.status,
	}
	if s.told, err = readTold(ctx, service, l.name); err != nil {
		return err
	}
	err = s.run(ctx)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// run compares the engine with what was told, and then follows it.
func (s *session) run(ctx context.Context) error {
	since := s.begin()
	ctx, cancel := context.WithCancel(ctx)
	messages, ended := make(chan events.Message), make(chan error, 1)
	go func() { ended <- s.engine.follow(ctx, since, messages) }()
	running := true
	defer func() {
		cancel()
		if running {
			s.log.Debug("the stream of events ended", slog.String("runtime", s.pool), slog.Any("reason", <-ended))
		}
	}()
	containers, all, err := s.engine.list(ctx)
	if err != nil {
		return err
	}
	if s.partial = !all; s.partial {
		s.log.Warn("containers are left out: too many, too much of one, or no valid id", slog.String("runtime", s.pool))
	}
	if err := s.compare(ctx, containers); err != nil {
		return err
	}
	removal, health, idle := time.NewTimer(removalDelay), time.NewTimer(healthDelay), time.NewTimer(idleTime)
	defer removal.Stop()
	defer health.Stop()
	defer idle.Stop()
	for {
		select {
		case m := <-messages:
			unchecked := len(s.checked) == 0
			if err = s.take(ctx, &m); unchecked && len(s.checked) > 0 {
				health.Reset(healthDelay)
			}
			idle.Reset(idleTime)
		case <-idle.C:
			s.advance(time.Now())
			idle.Reset(idleTime)
		case <-removal.C:
			err = s.removeOthers(ctx)
		case <-health.C:
			err = s.askHealth(ctx)
		case err = <-ended:
			running = false
			return err
		}
		if err != nil {
			return err
		}
	}
}

// begin finds out where to begin: at the position, or when the bridge began if there is none yet.
func (s *session) begin() (since time.Time) {
	s.began = time.Now()
	var err error
	s.saved, err = s.position.load()
	s.notePosition(err)
	if s.saved.IsZero() || s.saved.After(s.began) {
		s.handled, s.saved = s.first, time.Time{}
		s.savePosition()
		return s.first
	}
	s.handled = s.saved
	return s.handled.Add(-overlap)
}

// advance moves the position on where the engine has had nothing to tell.
func (s *session) advance(now time.Time) {
	if at := now.Add(-overlap); at.After(s.handled) {
		s.handled = at
	}
	s.savePosition()
}

// savePosition saves how far the events were handled, unless the file says about that. A disk that is
// full or broken does not stop the session.
func (s *session) savePosition() {
	if s.handled.Sub(s.saved) < overlap/2 && !s.saved.IsZero() {
		return
	}
	s.saved = s.handled // if that fails, the next one is saved
	s.notePosition(s.position.save(s.handled))
}

// notePosition logs that the file cannot be used, once until it can.
func (s *session) notePosition(err error) {
	if err != nil && !s.unsaved {
		s.log.Warn("the position cannot be kept: after a restart exits may be missing, or be reported twice",
			slog.String("runtime", s.pool), slog.Any("error", err))
	}
	s.unsaved = err != nil
}

// report reports events in batches.
func (s *session) report(ctx context.Context, reports []client.Report) error {
	for len(reports) > 0 {
		n := min(len(reports), batchSize)
		if err := s.bucket.take(ctx, n); err != nil {
			return err
		}
		if err := reportAll(ctx, s.service, reports[:n]); err != nil {
			return err
		}
		s.status.count(n)
		reports = reports[n:]
	}
	return nil
}

// batchSize is how many events a batch has at most: none has more than 40 KiB, most have 500 bytes.
const batchSize = 24

// reportAll reports a batch.
func reportAll(ctx context.Context, service *client.Client, reports []client.Report) error {
	ctx, cancel := context.WithTimeout(ctx, reportTime)
	defer cancel()
	_, err := service.ReportBatch(ctx, reports)
	return err
}
