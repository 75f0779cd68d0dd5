package watch

import (
	"context"
	"fmt"

	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleet"
)

// message takes a message of a host that is watched.
func (s *session) message(ctx context.Context, m *fleet.Message) ([]fleet.Line, error) {
	h, known := s.hosts[m.Name]
	if !known {
		if len(s.hosts) == fleet.MaxHosts {
			return nil, handlerError{fmt.Errorf("the stream has more than %d hosts", fleet.MaxHosts)}
		}
		h = &host{}
		s.hosts[m.Name] = h
	}
	h.Host = m.Host
	if h.silent {
		h.silent = false
		if err := s.give(Update{Host: m.Name, Notice: "back, it was silent"}); err != nil {
			return nil, err
		}
	}
	if err := s.checkFirst(ctx, h); err != nil {
		return nil, err
	}
	var lines []fleet.Line
	err := m.Foreign
	if err == nil {
		lines, err = h.track.Take(&m.Head, m.Data)
	}
	if err != nil {
		const form = "message %d of the stream is passed over: %v"
		return nil, s.give(Update{Host: m.Name, Notice: fmt.Sprintf(form, m.Head.Seq, err)})
	}
	return lines, nil
}

// checkFirst finds out whether the stream dropped messages of a host between where the reader began
// and the first one that it got. A stream drops the oldest messages of a host first, so nothing
// is missing if there is one of before.
func (s *session) checkFirst(ctx context.Context, h *host) error {
	needed := s.anchored && s.jumped && !h.checked && h.track.Cursor == ""
	h.checked = true
	if !needed {
		return nil
	}
	oldest, err := fleet.Oldest(ctx, s.stream, h.Name)
	if err != nil || oldest <= s.base {
		return err
	}
	const notice = "events may be missing: the stream dropped all messages of this host up to where the reader" +
		" began, and perhaps later ones"
	return s.give(Update{Host: h.Name, Lost: true, Notice: notice})
}

// Explain says in words what a record of type [fleet.TypeGap] is about. The texts in it come from anywhere.
func Explain(r *fleet.Record) string {
	count := fmt.Sprintf("%d events", r.Lost)
	switch r.Lost {
	case 0:
		count = "events, how many is not known"
	case 1:
		count = "1 event"
	}
	why := r.Reason
	switch r.Reason {
	case fleet.GapLapped:
		why = "osctl-eventd did not keep them until they could be forwarded"
	case fleet.GapEpoch:
		why = "osctl-eventd began a new history before they could be forwarded"
	case fleet.GapTooLarge:
		why = "it is larger than the server takes"
	case fleet.GapTakeOver:
		why = "an administrator let this machine take the place of another one"
	case fleet.GapDropped:
		why = "dropped by the stream before it was read"
	}
	return fmt.Sprintf("lost %s: %s", count, why)
}
