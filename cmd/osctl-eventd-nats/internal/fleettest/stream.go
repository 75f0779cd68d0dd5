package fleettest

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleet"
	"github.com/osctl/eventd/dbusapi/apitest"
)

// Got is the content of a stream for one host.
type Got struct {
	Events  int
	Records []fleet.Record
	Cursor  string // after the last message
	Chunks  int    // messages with events
}

// Gaps returns the records of type _gap.
func (g *Got) Gaps() (gaps []fleet.Record) {
	for _, r := range g.Records {
		if r.Type == fleet.TypeGap {
			gaps = append(gaps, r)
		}
	}
	return gaps
}

// Lost returns the number of missing events according to the gaps.
func (g *Got) Lost() (n uint64) {
	for _, r := range g.Gaps() {
		n += r.Lost
	}
	return n
}

// Read reads all messages of a host. It fails the test if an event is missing, comes twice or is out
// of order without a record that says so.
func Read(tb testing.TB, stream jetstream.Stream, host string) Got {
	tb.Helper()
	var got Got
	var track fleet.Track
	for _, msg := range Messages(tb, stream, host) {
		head, err := fleet.ParseHead(msg.Header, 0)
		if err != nil {
			tb.Fatal(err)
		}
		lines, err := track.Take(&head, msg.Data)
		if err != nil {
			tb.Fatalf("after %d events: %v, in %s", got.Events, err, msg.Data)
		}
		chunk := false
		for _, line := range lines {
			if line.Again || line.Unknown != nil || line.Record != nil && line.Record.Reason == fleet.GapDropped {
				tb.Fatalf("after %d events: %+v, record %+v", got.Events, line, line.Record)
			}
			if line.Record != nil {
				got.Records = append(got.Records, *line.Record)
				continue
			}
			chunk = true
			got.Events++
		}
		if chunk {
			got.Chunks++
		}
	}
	got.Cursor = track.Cursor
	return got
}

// Messages returns all messages of a host.
func Messages(tb testing.TB, stream jetstream.Stream, host string) (all []*nats.Msg) {
	tb.Helper()
	ctx := apitest.Bounded(tb)
	subject := fleet.Subject(host)
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(subject))
	if err != nil {
		tb.Fatal(err)
	}
	want := int(info.State.Subjects[subject]) //nolint:gosec // few
	if want == 0 {
		return nil
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject}})
	if err != nil {
		tb.Fatal(err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		tb.Fatal(err)
	}
	defer messages.Stop()
	for range want {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			tb.Fatalf("after %d of %d messages: %v", len(all), want, err)
		}
		all = append(all, &nats.Msg{Subject: msg.Subject(), Header: msg.Headers(), Data: msg.Data()})
	}
	return all
}

// AwaitCursor waits until the last message of a host has this cursor.
func AwaitCursor(tb testing.TB, stream jetstream.Stream, host, cursor string) {
	tb.Helper()
	last := ""
	defer func() {
		if tb.Failed() {
			tb.Logf("the stream is at %s, want %s", last, cursor)
		}
	}()
	apitest.Eventually(tb, "the stream has "+cursor, func() bool {
		last = Cursor(tb.Context(), stream, host)
		return last == cursor
	})
}

// Cursor returns the cursor of the last message of a host, "" if there is none or the server is away.
func Cursor(ctx context.Context, stream jetstream.Stream, host string) string {
	msg, err := stream.GetLastMsgForSubject(ctx, fleet.Subject(host))
	if err != nil {
		return ""
	}
	return msg.Header.Get(fleet.HeaderCursor)
}

// Forge writes a message to a host's subject that no bridge would write.
func Forge(tb testing.TB, conn *nats.Conn, host string, header nats.Header, data any) {
	tb.Helper()
	text, err := json.Marshal(data)
	if err != nil {
		tb.Fatal(err)
	}
	reply, err := conn.RequestMsgWithContext(apitest.Bounded(tb), &nats.Msg{Subject: fleet.Subject(host), Header: header, Data: text})
	if err == nil && json.Valid(reply.Data) && string(reply.Data) != "" {
		return
	}
	tb.Fatal(errors.Join(err, errors.New("forge a message: no valid reply")))
}
