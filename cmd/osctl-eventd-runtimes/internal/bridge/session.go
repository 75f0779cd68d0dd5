package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

const (
	// overlap is how long before its position a session asks for events. Podman's processes write
	// them in about the order of their times.
	overlap = 10 * time.Second
	// settleTime is how long after its start a session says that containers are gone which the
	// engine does not list. By then the engine has told of those that it remembers removing.
	settleTime = 2 * time.Second
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
	began    time.Time       // names of events before that are those of the list, or old
	handled  time.Time       // the time of the newest event that was handled
	saved    time.Time       // what the file says
	listed   map[string]bool // ids
	checked  map[string]bool // ids of containers whose health is to be asked for
	status   func(string)
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
		pool: l.name, log: l.log, engine: e, service: service, bucket: l.bucket, position: positionOf(l.stateDir, l.name),
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
	since, err := s.begin()
	if err != nil {
		return err
	}
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
	containers, err := s.engine.list(ctx)
	if err != nil {
		return err
	}
	if err := s.compare(ctx, containers); err != nil {
		return err
	}
	settled, health := time.NewTimer(settleTime), time.NewTimer(healthDelay)
	defer settled.Stop()
	defer health.Stop()
	for {
		select {
		case m := <-messages:
			idle := len(s.checked) == 0
			if err = s.take(ctx, &m); idle && len(s.checked) > 0 {
				health.Reset(healthDelay)
			}
		case <-settled.C:
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

// begin finds out where to begin: at the position, or now if there is none yet.
func (s *session) begin() (since time.Time, err error) {
	s.began = time.Now()
	if s.saved, err = s.position.load(); err != nil {
		return since, err
	}
	if s.saved.IsZero() || s.saved.After(s.began) {
		s.handled, s.saved = s.began, time.Time{}
		return s.began, s.savePosition()
	}
	s.handled = s.saved
	return s.handled.Add(-overlap), nil
}

// savePosition saves how far the events were handled, unless the file says about that.
func (s *session) savePosition() error {
	if s.handled.Sub(s.saved) < overlap/2 && !s.saved.IsZero() {
		return nil
	}
	s.saved = s.handled
	return s.position.save(s.handled)
}

// compare reports the names of containers that run, or that the service lists, where they differ.
func (s *session) compare(ctx context.Context, containers []container.Summary) error {
	var reports []client.Report
	for i := range containers {
		c := &containers[i]
		if !validID(c.ID) || len(s.listed) == maxContainers {
			continue
		}
		s.listed[c.ID] = true
		known, isKnown := s.told.infos[c.ID]
		is := summaryInfo(c)
		if is.name == "" || known.same(is) || !isKnown && c.State != container.StateRunning && c.State != container.StatePaused {
			continue
		}
		s.told.infos[c.ID] = is
		reports = append(reports, infoReport(s.pool, c.ID, is))
	}
	if skipped := len(containers) - len(s.listed); skipped > 0 {
		s.log.Warn("containers are left out: too many, or without a valid id", slog.String("runtime", s.pool), slog.Int("containers", skipped))
	}
	s.status(fmt.Sprintf("%d containers", len(s.listed)))
	return s.report(ctx, reports)
}

// removeOthers reports that containers are gone which had a name and are no longer listed.
func (s *session) removeOthers(ctx context.Context) error {
	if len(s.listed) >= maxContainers {
		return nil // there may be more
	}
	var reports []client.Report
	for id, known := range s.told.infos {
		if known.name == "" || s.listed[id] || s.told.removed[id] {
			continue
		}
		s.told.removed[id] = true
		delete(s.told.infos, id)
		reports = append(reports, dbReport(s.pool, id, "remove", known.name))
	}
	return s.report(ctx, reports)
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

// take handles an event of the engine, which it may have told before.
func (s *session) take(ctx context.Context, m *events.Message) error {
	id := m.Actor.ID
	if m.Type != events.ContainerEventType || !validID(id) {
		return nil
	}
	reports := s.translate(id, m)
	if err := s.report(ctx, reports); err != nil {
		return err
	}
	if at := occurred(m); at.After(s.handled) && at.Before(time.Now().Add(overlap)) {
		s.handled = at
	}
	return s.savePosition()
}

// translate returns what an event is to be reported as, and notes that.
func (s *session) translate(id string, m *events.Message) (reports []client.Report) {
	name := eventInfo(m).name
	switch action, result, _ := strings.Cut(string(m.Action), ": "); action {
	case "create":
		if !s.told.added[id] && !s.told.removed[id] {
			reports = append(reports, dbReport(s.pool, id, "add", name))
		}
	case "start", "rename":
		return s.takeInfo(id, m)
	case "die":
		if key := (exitKey{id, hub.Micros(occurred(m))}); !s.told.exits[key] {
			reports = append(reports, exitReport(s.pool, m))
		}
	case "health_status":
		if result == "" { // podman
			if len(s.checked) < maxContainers {
				s.checked[id] = true
			}
			return nil
		}
		return s.takeHealth(id, result, name)
	case "destroy", "remove":
		delete(s.listed, id)
		delete(s.told.infos, id)
		delete(s.told.health, id)
		delete(s.checked, id)
		if !s.told.removed[id] {
			reports = append(reports, dbReport(s.pool, id, "remove", name))
		}
	}
	return reports
}

// takeInfo returns what an event says of a container's name, if it is news.
func (s *session) takeInfo(id string, m *events.Message) []client.Report {
	if occurred(m).Before(s.began) || !s.listed[id] && len(s.listed) >= maxContainers {
		return nil
	}
	s.listed[id] = true
	is := eventInfo(m)
	if known, ok := s.told.infos[id]; is.name == "" || ok && known.same(is) {
		return nil
	}
	s.told.infos[id] = is
	return []client.Report{infoReport(s.pool, id, is)}
}

// takeHealth returns the result of a health check, if it is news.
func (s *session) takeHealth(id, health, name string) []client.Report {
	health = plain(health, maxName)
	if health == "" || health == "none" || s.told.health[id] == health || len(s.told.health) >= maxContainers {
		return nil
	}
	s.told.health[id] = health
	return []client.Report{healthReport(s.pool, id, health, name)}
}

// askHealth asks for the results of health checks.
func (s *session) askHealth(ctx context.Context) error {
	for id := range s.checked {
		delete(s.checked, id)
		health, err := s.engine.health(ctx, id)
		if err != nil {
			if errors.Is(err, errTooMuch) || ctx.Err() != nil {
				return err
			}
			continue // it may be gone by now
		}
		if err := s.report(ctx, s.takeHealth(id, health, s.told.infos[id].name)); err != nil {
			return err
		}
	}
	return nil
}
