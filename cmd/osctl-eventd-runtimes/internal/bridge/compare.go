package bridge

import (
	"context"

	"github.com/osctl/eventd/dbusapi/client"
)

// compareContainers reports the names that osctl-eventd lacks. If a container has ended, osctl-eventd needs its
// name only if it lists the container.
func (s *session) compareContainers(ctx context.Context, containers []summary) error {
	var reports []client.Report
	for _, c := range containers {
		s.listed[c.id] = true
		known, isKnown := s.reported.infos[c.id]
		if c.info.name == "" || known.same(c.info) || !isKnown && c.ended() {
			continue
		}
		s.reported.setInfo(c.id, c.info)
		reports = append(reports, infoReport(s.pool, c.id, c.info))
	}
	s.status.setFollowed(len(s.listed), "container")
	return s.report(ctx, reports)
}

// reportRemovals reports the containers as removed that osctl-eventd lists, but the engine does not.
func (s *session) reportRemovals(ctx context.Context) error {
	if s.incomplete || len(s.listed) >= maxContainers {
		return nil
	}
	var reports []client.Report
	for id, known := range s.reported.infos {
		if known.same(info{}) || s.listed[id] || s.reported.removed[id] {
			continue
		}
		s.reported.removed[id] = true
		delete(s.reported.infos, id)
		reports = append(reports, dbReport(s.pool, id, "remove", known.name))
	}
	return s.report(ctx, reports)
}
