package bridge

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/moby/moby/api/types/events"

	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

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
	s.status.follow(len(s.listed), "container") // it may have been created or removed
	if at := occurred(m); at.After(s.handled) && at.Before(time.Now().Add(overlap)) {
		s.handled = at
	}
	s.savePosition()
	return nil
}

// translate returns what an event is to be reported as. It notes names and health checks.
func (s *session) translate(id string, m *events.Message) (reports []client.Report) {
	name := eventInfo(m).name
	switch action, result, _ := strings.Cut(string(m.Action), ": "); action {
	case "create":
		if !s.told.added[id] && !s.told.removed[id] {
			reports = append(reports, dbReport(s.pool, id, "add", name))
		}
		// Before it starts, so that the first events of the container have its name.
		return append(reports, s.takeInfo(id, m)...)
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
	s.told.note(id, is)
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
