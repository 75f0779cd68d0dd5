package watch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleet"
)

// session reads over one connection.
type session struct {
	*watcher
	stream   *fleet.Stream
	caughtUp bool // no message is pending, so the last heartbeats are known
}

// resume sets the position, and reports what the stream dropped meanwhile.
func (s *session) resume(ctx context.Context) error {
	info := s.stream.CachedInfo()
	first, last := info.State.FirstSeq, info.State.LastSeq
	if !s.running {
		return s.startFirst(ctx, last)
	}
	if s.trouble != "" {
		s.trouble, s.since = "", time.Now()
		if err := s.deliver(Update{Notice: "reading the stream again"}); err != nil {
			return err
		}
	}
	return s.compareStream(info.Created, first, last)
}

// startFirst is resume for the first session.
func (s *session) startFirst(ctx context.Context, last uint64) error {
	created := s.stream.CachedInfo().Created
	switch {
	case s.After != fleet.Position{}:
		s.Since = time.Time{}
		if err := s.compareStream(created, s.stream.CachedInfo().State.FirstSeq, last); err != nil {
			return err
		}
		s.base = min(s.After.Seq, s.at.Seq)
	case s.Since.IsZero():
		s.at = fleet.LastPosition(s.stream)
		s.base = last
	default:
		s.at = fleet.FirstPosition(s.stream)
	}
	heads, err := fleet.Hosts(ctx, s.stream)
	if err != nil {
		return fmt.Errorf("list the hosts of stream %s: %w", s.Stream, err)
	}
	for i := range heads {
		h := &heads[i]
		if s.isWatched(h.Name) {
			known := &host{Host: *h}
			if h.Head.Seq <= s.at.Seq {
				known.track.Cursor = h.Head.Cursor
			}
			s.hosts[h.Name] = known
		}
	}
	s.running, s.end = true, last
	if s.Since.IsZero() { // save the position, in case the run is killed before the first message
		if err := s.deliver(Update{After: s.at}); err != nil {
			return err
		}
	}
	for _, name := range s.Hosts {
		if s.hosts[name] == nil {
			if err := s.deliver(Update{Host: name, Notice: "the stream has no message of this host yet"}); err != nil {
				return err
			}
		}
	}
	return nil
}

// compareStream compares the stream with the reader's position, and reports messages that are gone.
func (s *session) compareStream(created time.Time, first, last uint64) error {
	switch at := s.at.Seq; {
	case !created.Equal(s.at.Created):
		s.at, s.base = fleet.FirstPosition(s.stream), 0
		const notice = "the stream was recreated, and its earlier messages are gone; continuing with the oldest message"
		return s.deliver(Update{Lost: true, Notice: notice})
	case last < at:
		return s.rewind()
	case first > at+1 && (at > 0 || s.Since.IsZero()):
		s.skipped, s.at.Seq = true, first-1
		const form = "the stream dropped its messages %d to %d before they were read; continuing with the oldest message"
		return s.deliver(Update{Lost: true, Notice: fmt.Sprintf(form, at+1, first-1)})
	}
	return nil
}

// rewind continues in an older copy of the stream. All messages in the copy were read before. Bridges
// write the missing ones again, with newer times.
func (s *session) rewind() error {
	s.Since, s.at = s.at.Seen.Add(1), fleet.FirstPosition(s.stream)
	return s.deliver(Update{Notice: "the stream went back to an older copy of itself; continuing with newer messages"})
}

// isWatched reports whether a host is watched.
func (s *session) isWatched(name string) bool {
	return len(s.Hosts) == 0 || slices.Contains(s.Hosts, name)
}

// newReader creates a reader of the messages after the position.
func (s *session) newReader(ctx context.Context) (*fleet.Reader, error) {
	c := jetstream.ConsumerConfig{
		FilterSubject: fleet.Subjects, DeliverPolicy: jetstream.DeliverByStartSequencePolicy,
		OptStartSeq: max(s.at.Seq, 1), // read the last message again, see handleMessage
	}
	if len(s.Hosts) == 1 { // older servers cannot filter several subjects
		c.FilterSubject, s.skipped = fleet.Subject(s.Hosts[0]), true
	}
	if s.at.Seq == 0 && s.Since.After(Oldest) {
		c.DeliverPolicy, c.OptStartSeq, c.OptStartTime = jetstream.DeliverByStartTimePolicy, 0, &s.Since
	}
	return s.stream.NewReader(ctx, c)
}

// read reads messages until an error.
func (s *session) read(ctx context.Context) error {
	reader, err := s.newReader(ctx)
	if err != nil {
		return fmt.Errorf("read the stream %s: %w", s.Stream, err)
	}
	defer reader.Close() //nolint:contextcheck // also after ctx is done
	if err := s.checkStream(ctx); err != nil {
		return err
	}
	s.caughtUp = reader.Pending() == 0
	if s.Finite && s.caughtUp {
		return errEnd
	}
	for nextCheck := time.Now().Add(checkEvery); ; {
		bounded, cancel := context.WithDeadline(ctx, nextCheck)
		msg, err := reader.Next(bounded)
		cancel()
		switch {
		case err == nil:
			err = s.handleMessage(ctx, msg)
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			nextCheck, err = time.Now().Add(checkEvery), nil
			if s.caughtUp && !s.Finite {
				err = s.checkSilence(time.Now())
			}
		}
		if err != nil {
			return err
		}
	}
}

// checkStream ends the session if the stream was recreated before the reader was created.
func (s *session) checkStream(ctx context.Context) error {
	info, err := s.stream.Info(ctx)
	if err == nil && !info.Created.Equal(s.at.Created) {
		err = errOtherStream
	}
	return err
}

// handleMessage checks a message, and delivers it.
func (s *session) handleMessage(ctx context.Context, msg *nats.Msg) error {
	m, err := fleet.ReadMessage(msg)
	if err != nil {
		return err
	}
	seq := m.Head.Seq
	s.caughtUp, s.pause = m.Pending == 0, firstPause
	switch {
	case seq == s.at.Seq && m.Head.Seen.Equal(s.at.Seen):
		return s.checkEnd()
	case seq == s.at.Seq:
		return errors.Join(s.rewind(), errOtherStream)
	case seq < s.at.Seq: // the stream was recreated before the reader began
		return errOtherStream
	}
	s.skipped = s.skipped || seq != s.at.Seq+1
	s.at.Seq, s.at.Seen = seq, m.Head.Seen
	u := Update{Host: m.Name, After: s.at, More: m.Pending > 0}
	if s.isWatched(m.Name) {
		if u.Lines, err = s.readLines(ctx, &m); err != nil {
			return err
		}
	}
	if err := s.deliver(u); err != nil {
		return err
	}
	return s.checkEnd()
}

// errOtherStream ends a session if the stream is an older copy, or was recreated.
var errOtherStream = errors.New("the stream is another one than before")

// checkEnd ends a finite run that is complete.
func (s *session) checkEnd() error {
	if s.Finite && (s.caughtUp || s.at.Seq >= s.end) {
		return errEnd
	}
	return nil
}
