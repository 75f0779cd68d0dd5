package bridge

import (
	"context"
	"errors"
	"strings"

	"github.com/moby/moby/api/types/events"

	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

// handleEvent handles an event of the engine. The engine may send an event again.
func (s *session) handleEvent(ctx context.Context, m *events.Message) error {
	id := m.Actor.ID
	if m.Type != events.ContainerEventType || !validID(id) {
		return nil
	}
	reports := s.translate(id, m)
	if err := s.report(ctx, reports); err != nil {
		return err
	}
	s.status.setFollowed(len(s.listed), "container") // the event may have created or removed one
	s.movePosition(occurred(m))
	return nil
}

// translate returns the reports of an event. It updates the containers, names and health checks of the session.
func (s *session) translate(id string, m *events.Message) (reports []client.Report) {
	name := eventInfo(m).name
	switch action, _, _ := strings.Cut(string(m.Action), ": "); action {
	case "create":
		if !s.reported.added[id] && !s.reported.removed[id] {
			reports = append(reports, dbReport(s.pool, id, "add", name))
		}
		// The name is reported before the start, so that the first events of the container have it.
		return append(reports, s.updateInfo(id, m)...)
	case "start", "rename":
		return s.updateInfo(id, m)
	case "die":
		if key := (exitKey{id, hub.Micros(occurred(m))}); !s.reported.exits[key] {
			reports = append(reports, exitReport(s.pool, m))
		}
	case "health_status":
		if len(s.healthPending) < maxContainers {
			s.healthPending[id] = true
		}
	case "destroy", "remove":
		delete(s.listed, id)
		delete(s.reported.infos, id)
		delete(s.reported.health, id)
		delete(s.healthPending, id)
		if !s.reported.removed[id] {
			reports = append(reports, dbReport(s.pool, id, "remove", name))
		}
	}
	return reports
}

// updateInfo updates the info of a container from an event, and returns a report if it changed.
func (s *session) updateInfo(id string, m *events.Message) []client.Report {
	if occurred(m).Before(s.sessionStart) && !clockSetBack(s.sessionStart) || !s.listed[id] && len(s.listed) >= maxContainers {
		return nil
	}
	s.listed[id] = true
	current := eventInfo(m)
	if known, ok := s.reported.infos[id]; current.name == "" || ok && known.same(current) {
		return nil
	}
	s.reported.setInfo(id, current)
	return []client.Report{infoReport(s.pool, id, current)}
}

// queryHealth queries the pending results of health checks, and reports those that changed.
func (s *session) queryHealth(ctx context.Context) error {
	for id := range s.healthPending {
		delete(s.healthPending, id)
		health, err := s.engine.health(ctx, id)
		if err != nil {
			if errors.Is(err, errTooLarge) || ctx.Err() != nil {
				return err
			}
			continue // the container may have been removed
		}
		health = plain(health, maxName)
		if health == "" || health == "none" || s.reported.health[id] == health || len(s.reported.health) >= maxContainers {
			continue
		}
		s.reported.health[id] = health
		changed := healthReport(s.pool, id, health, s.reported.infos[id].name)
		if err := s.report(ctx, []client.Report{changed}); err != nil {
			return err
		}
	}
	return nil
}
