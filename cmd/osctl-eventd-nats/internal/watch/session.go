package watch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleet"
)

// fetchBytes bounds what the server sends at once, unless its largest message has more.
const fetchBytes = 8 << 20

// session is a watcher with a connection.
type session struct {
	*watcher
	stream jetstream.Stream

	fetchBytes int
	caught     bool   // up with the stream: what hosts last said is known
	consumed   string // the consumer; the library makes another one where the server lost it
}

// begin finds out where to go on, and tells what the stream dropped meanwhile.
func (s *session) begin(ctx context.Context) error {
	info := s.stream.CachedInfo()
	first, last := info.State.FirstSeq, info.State.LastSeq
	if !s.running {
		return s.start(ctx, last)
	}
	if s.trouble != "" {
		s.trouble, s.since = "", time.Now()
		if err := s.give(Update{Notice: "reading the stream again"}); err != nil {
			return err
		}
	}
	return s.compare(info.Created, first, last)
}

// start is begin for the first session.
func (s *session) start(ctx context.Context, last uint64) error {
	created := s.stream.CachedInfo().Created
	switch {
	case s.After != fleet.Position{}:
		s.anchored, s.Since = true, time.Time{}
		if err := s.compare(created, s.stream.CachedInfo().State.FirstSeq, last); err != nil {
			return err
		}
		s.base = min(s.After.Seq, s.at.Seq)
	case s.Since.IsZero():
		s.at = fleet.LastPosition(s.stream)
		s.base, s.anchored = last, true
	default:
		s.at = fleet.FirstPosition(s.stream)
	}
	heads, err := fleet.Hosts(ctx, s.stream)
	if err != nil {
		return fmt.Errorf("the hosts of stream %s: %w", s.Stream, err)
	}
	for i := range heads {
		h := &heads[i]
		if s.wants(h.Name) {
			known := &host{Host: *h}
			if h.Head.Seq <= s.at.Seq {
				known.track.Cursor = h.Head.Cursor
			}
			s.hosts[h.Name] = known
		}
	}
	s.running, s.end = true, last
	if s.anchored { // so that a run that is killed before the first message leaves out none
		if err := s.give(Update{After: s.at}); err != nil {
			return err
		}
	}
	for _, name := range s.Hosts {
		if s.hosts[name] == nil {
			if err := s.give(Update{Host: name, Notice: "the stream has nothing of this host yet"}); err != nil {
				return err
			}
		}
	}
	return nil
}

// compare compares the stream with where the reader is, and says what is not there any more.
func (s *session) compare(created time.Time, first, last uint64) error {
	switch at := s.at.Seq; {
	case !created.Equal(s.at.Created):
		s.at, s.base = fleet.FirstPosition(s.stream), 0
		const notice = "the stream was made anew, and what it had before is gone; going on with the oldest message"
		return s.give(Update{Lost: true, Notice: notice})
	case last < at:
		return s.goBack()
	case first > at+1 && (at > 0 || s.anchored):
		s.jumped, s.at.Seq = true, first-1
		const form = "the stream dropped its messages %d to %d before they were read; going on with the oldest"
		return s.give(Update{Lost: true, Notice: fmt.Sprintf(form, at+1, first-1)})
	}
	return nil
}

// goBack has the reader go on in an older copy of the stream. What the copy has was read; bridges
// fill in what it lacks, and that has newer times.
func (s *session) goBack() error {
	s.Since, s.at, s.anchored = s.at.Seen.Add(1), fleet.FirstPosition(s.stream), false
	return s.give(Update{Notice: "the stream went back to an older copy of itself; going on with what is newer"})
}

// wants reports whether a host is watched.
func (s *session) wants(name string) bool {
	return len(s.Hosts) == 0 || slices.Contains(s.Hosts, name)
}

// consumer asks the server for the messages after the position.
func (s *session) consumer(ctx context.Context) (jetstream.Consumer, error) {
	c := jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{fleet.Subjects}, DeliverPolicy: jetstream.DeliverByStartSequencePolicy,
		OptStartSeq: max(s.at.Seq, 1), // the last one that was read comes again, see receive
	}
	if len(s.Hosts) == 1 { // for several, older servers have no filter
		c.FilterSubjects[0], s.jumped = fleet.Subject(s.Hosts[0]), true
	}
	if s.at.Seq == 0 && s.Since.After(Oldest) {
		c.DeliverPolicy, c.OptStartSeq, c.OptStartTime = jetstream.DeliverByStartTimePolicy, 0, &s.Since
	}
	return s.stream.OrderedConsumer(ctx, c)
}

// read reads messages until something fails.
func (s *session) read(ctx context.Context) error {
	consumer, err := s.consumer(ctx)
	if err != nil {
		return fmt.Errorf("read the stream %s: %w", s.Stream, err)
	}
	s.caught = consumer.CachedInfo().NumPending == 0
	if s.Finite && s.caught {
		return errEnd
	}
	messages, err := consumer.Messages(jetstream.PullMaxBytes(s.fetchBytes))
	if err != nil {
		return err
	}
	s.consumed = consumer.CachedInfo().Name
	incoming, failed := make(chan jetstream.Msg), make(chan error, 1)
	ctx, cancel := context.WithCancelCause(ctx)
	go func() { failed <- fetch(ctx, messages, incoming) }()
	defer func() {
		cancel(nil)
		messages.Stop()
		<-failed //nolint:errcheck // we ended it
	}()
	tick, compare := time.NewTicker(checkEvery), time.NewTicker(compareEvery)
	defer tick.Stop()
	defer compare.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-failed:
			failed <- err // for the one who waits
			return err
		case msg := <-incoming:
			err = s.receive(ctx, msg)
		case now := <-tick.C:
			if s.caught && !s.Finite {
				err = s.checkSilence(now)
			}
		case <-compare.C:
			err = s.checkStream(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// compareEvery is how often the stream is compared with the one that is read: a consumer of a stream
// that was made anew may get nothing until that has as many messages as the one before.
const compareEvery = 10 * time.Second

// checkStream ends the session if the stream was made anew.
func (s *session) checkStream(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, compareEvery)
	defer cancel()
	info, err := s.stream.Info(ctx)
	if err == nil && !info.Created.Equal(s.at.Created) {
		err = errOther
	}
	return err
}

// fetch hands messages on until it fails, or messages is stopped.
func fetch(ctx context.Context, messages jetstream.MessagesContext, incoming chan<- jetstream.Msg) error {
	defer context.AfterFunc(ctx, messages.Stop)()
	for {
		msg, err := messages.Next()
		if err != nil {
			return err
		}
		select {
		case incoming <- msg:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// receive hands a message on.
func (s *session) receive(ctx context.Context, msg jetstream.Msg) error {
	m, err := fleet.ReadMessage(msg)
	if err != nil {
		return err
	}
	if meta, err := msg.Metadata(); err != nil || meta.Consumer != s.consumed {
		return errors.Join(err, errOther) // the stream may be another one, too
	}
	seq := m.Head.Seq
	s.caught, s.pause = m.Pending == 0, firstPause
	switch {
	case seq == s.at.Seq && m.Head.Seen.Equal(s.at.Seen):
		return s.checkEnd()
	case seq == s.at.Seq:
		return errors.Join(s.goBack(), errOther)
	case seq < s.at.Seq: // the consumer was made again, on a stream that was made anew
		return errOther
	}
	s.jumped = s.jumped || seq != s.at.Seq+1
	s.at.Seq, s.at.Seen = seq, m.Head.Seen
	u := Update{Host: m.Name, After: s.at, More: m.Pending > 0}
	if s.wants(m.Name) {
		if u.Lines, err = s.message(ctx, &m); err != nil {
			return err
		}
	}
	if err := s.give(u); err != nil {
		return err
	}
	return s.checkEnd()
}

// errOther ends a session that reads an older copy of the stream, or one that was made anew.
var errOther = errors.New("the stream is not the one that was read before")

// checkEnd ends a finite run.
func (s *session) checkEnd() error {
	if s.Finite && (s.caught || s.at.Seq >= s.end) {
		return errEnd
	}
	return nil
}
