package bridge

import (
	"context"

	"github.com/osctl/eventd/dbusapi/client"
)

// compare reports the names of containers where they differ from those that the service has. Of one
// that has ended, the service needs the name only if it lists the container.
func (s *session) compare(ctx context.Context, containers []summary) error {
	var reports []client.Report
	for _, c := range containers {
		s.listed[c.id] = true
		known, isKnown := s.told.infos[c.id]
		if c.info.name == "" || known.same(c.info) || !isKnown && c.ended() {
			continue
		}
		s.told.note(c.id, c.info)
		reports = append(reports, infoReport(s.pool, c.id, c.info))
	}
	s.status.follow(len(s.listed), "container")
	return s.report(ctx, reports)
}

// removeOthers reports that containers are gone which were told of and are no longer listed.
func (s *session) removeOthers(ctx context.Context) error {
	if s.partial || len(s.listed) >= maxContainers {
		return nil
	}
	var reports []client.Report
	for id, known := range s.told.infos {
		if known.same(info{}) || s.listed[id] || s.told.removed[id] {
			continue
		}
		s.told.removed[id] = true
		delete(s.told.infos, id)
		reports = append(reports, dbReport(s.pool, id, "remove", known.name))
	}
	return s.report(ctx, reports)
}
