package bridge

import (
	"context"
	"log/slog"
	"time"

	"github.com/moby/moby/api/types/events"

	"github.com/osctl/eventd/dbusapi/client"
)

const (
	// overlap is how long before its position a session asks for events, because podman's processes
	// write their events only roughly in order.
	overlap = 10 * time.Second
	// removalDelay is the pause before a session reports containers as removed that the engine does not
	// list. By then it has read the removals that the engine remembers.
	removalDelay = 2 * time.Second
	// After idleInterval without events the position moves on by itself. Otherwise a later session could
	// report an old event again that is no longer in the history of osctl-eventd.
	idleInterval = time.Minute
	// healthDelay is the pause between the event of a health check and the query for its result. Podman
	// sends the event before it has the result, and an event that comes again has an old one.
	healthDelay = time.Second
	// maxContainers limits the containers of an engine. The bridge ignores the rest.
	maxContainers = 8192
	// reportTimeout is the timeout of a call to osctl-eventd.
	reportTimeout = 30 * time.Second
)

// session follows an engine, or the pods, until an error.
type session struct {
	*loop

	engine   *engine
	service  *client.Client
	position position
	reported *reported

	sessionStart   time.Time // names in earlier events are older than the list; without a monotonic part
	handled        time.Time // the position: the time of the newest event that was handled
	saved          time.Time // the position in the file
	positionFailed bool      // the last use of the file failed

	listed        map[string]bool // ids of the containers that the engine has
	incomplete    bool            // listed lacks containers
	healthPending map[string]bool // ids of containers whose health is queried soon
}

// followEngine connects to osctl-eventd and to an engine, and runs a session. It always returns an error.
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
		loop: l, engine: e, service: service, position: newPosition(l.stateDir, l.pool),
		listed: map[string]bool{}, healthPending: map[string]bool{},
	}
	if s.reported, err = readReported(ctx, service, l.pool); err != nil {
		return err
	}
	err = s.run(ctx)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// run reports how the containers of the engine differ from what was reported, and then follows its events.
func (s *session) run(ctx context.Context) error {
	since := s.loadPosition()
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
	if s.incomplete = !all; s.incomplete {
		s.log.Warn("containers are left out: there are too many, one is too large, or an id is invalid", slog.String("runtime", s.pool))
	}
	if err := s.compareContainers(ctx, containers); err != nil {
		return err
	}
	removal, health, idle := time.NewTimer(removalDelay), time.NewTimer(healthDelay), time.NewTimer(idleInterval)
	defer removal.Stop()
	defer health.Stop()
	defer idle.Stop()
	for {
		select {
		case m := <-messages:
			nonePending := len(s.healthPending) == 0
			if err = s.handleEvent(ctx, &m); nonePending && len(s.healthPending) > 0 {
				health.Reset(healthDelay)
			}
		case <-idle.C:
			s.movePosition(time.Now().Add(-overlap))
		case <-removal.C:
			err = s.reportRemovals(ctx)
		case <-health.C:
			err = s.queryHealth(ctx)
		case err = <-ended:
			running = false
			return err
		}
		if err != nil {
			return err
		}
		idle.Reset(idleInterval) // after each case, because events may have waited while it ran
	}
}

// loadPosition returns the time from which to ask for events: shortly before the position, or the start of
// the bridge if there is no position yet.
func (s *session) loadPosition() (since time.Time) {
	s.sessionStart = time.Now().Round(0)
	var err error
	s.saved, err = s.position.load()
	s.logPositionError(err)
	if s.saved.IsZero() || s.saved.After(s.sessionStart) {
		s.handled, s.saved = s.bridgeStart, time.Time{}
		if clockSetBack(s.bridgeStart) {
			s.handled = s.sessionStart
		}
		s.savePosition()
		return s.handled
	}
	s.handled = s.saved
	return s.handled.Add(-overlap)
}

// clockSetBack reports whether the clock was set back since a time. The times of later events may then be before
// it.
func clockSetBack(since time.Time) bool { return time.Now().Before(since) }

// movePosition moves the position forward to a time. If the clock was set back, it also moves it back, because the
// next session does not use a position in the future.
func (s *session) movePosition(to time.Time) {
	latest := time.Now().Add(overlap)
	if to.Before(latest) && (to.After(s.handled) || s.handled.After(latest)) {
		s.handled = to
	}
	s.savePosition()
}

// savePosition saves the position, unless it hardly differs from the saved one. A disk that is full or broken does
// not stop the session.
func (s *session) savePosition() {
	if s.handled.Sub(s.saved).Abs() < overlap/2 && !s.saved.IsZero() {
		return
	}
	s.saved = s.handled // after an error it waits for the next position to save
	s.logPositionError(s.position.save(s.handled))
}

// logPositionError logs an error of the position's file, but not again until the file works.
func (s *session) logPositionError(err error) {
	if err != nil && !s.positionFailed {
		s.log.Warn("the position cannot be kept: after a restart exits may be missing, or be reported twice",
			slog.String("runtime", s.pool), slog.Any("error", err))
	}
	s.positionFailed = err != nil
}

// report sends reports in batches, as fast as the limiter allows.
func (s *session) report(ctx context.Context, reports []client.Report) error {
	for len(reports) > 0 {
		n := min(len(reports), batchSize)
		if err := s.limiter.WaitN(ctx, n); err != nil {
			return err
		}
		if err := sendBatch(ctx, s.service, reports[:n]); err != nil {
			return err
		}
		s.status.addReports(n)
		reports = reports[n:]
	}
	return nil
}

// batchSize is the maximum number of events in a batch. An event has at most 40 KiB, mostly some 500 bytes.
const batchSize = 24

// sendBatch reports a batch of events.
func sendBatch(ctx context.Context, service *client.Client, reports []client.Report) error {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	_, err := service.ReportBatch(ctx, reports)
	return err
}
