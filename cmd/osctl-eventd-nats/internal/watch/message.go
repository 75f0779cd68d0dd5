package watch

import (
	"context"
	"fmt"

	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleet"
)

// readLines returns the lines of a message of a watched host. It reports a host that is back, and a
// message that it skips.
func (s *session) readLines(ctx context.Context, m *fleet.Message) ([]fleet.Line, error) {
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
		if err := s.deliver(Update{Host: m.Name, Notice: "back after silence"}); err != nil {
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
		const form = "skipped message %d of the stream: %v"
		return nil, s.deliver(Update{Host: m.Name, Notice: fmt.Sprintf(form, m.Head.Seq, err)})
	}
	return lines, nil
}

// checkFirst checks once whether the stream may have dropped messages of a host between the start of
// the reader and the first message. A stream drops the oldest messages of a host first, so nothing is
// missing if it still has one from before the start.
func (s *session) checkFirst(ctx context.Context, h *host) error {
	needed := s.Since.IsZero() && s.skipped && !h.checked && h.track.Cursor == ""
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
	return s.deliver(Update{Host: h.Name, Lost: true, Notice: notice})
}

// Explain explains a record of type [fleet.TypeGap] to people. Its result may contain text from the
// stream.
func Explain(r *fleet.Record) string {
	count := fmt.Sprintf("%d events", r.Lost)
	switch r.Lost {
	case 0:
		count = "an unknown number of events"
	case 1:
		count = "1 event"
	}
	why := r.Reason
	switch r.Reason {
	case fleet.GapLapped:
		why = "the history of osctl-eventd was too short"
	case fleet.GapEpoch:
		why = "osctl-eventd began a new history before they were forwarded"
	case fleet.GapTooLarge:
		why = "the event is larger than the server accepts"
	case fleet.GapTakeOver:
		why = "an administrator let this machine replace another one"
	case fleet.GapDropped:
		why = "the stream dropped them before they were read"
	}
	return fmt.Sprintf("lost %s: %s", count, why)
}
