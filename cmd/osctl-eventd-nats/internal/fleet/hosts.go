package fleet

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Host is a host as of its last message.
type Host struct {
	Name    string
	Head    Head
	Foreign error // not nil if no bridge wrote the message; Head has only Seq and Seen then
}

// Silent reports whether two heartbeats of the host are overdue. It allows half an interval for a slow
// server and for clocks that differ.
func (h *Host) Silent(now time.Time) bool {
	if h.Head.Status == nil {
		return false
	}
	return now.Sub(h.Head.Seen).Seconds() > 2.5*h.Head.Status.Interval
}

// State returns the state of the host, nil if it is unknown or its osctl-eventd is away.
func (h *Host) State() *State {
	if h.Head.Status == nil {
		return nil
	}
	return h.Head.Status.State
}

// MaxHosts limits the hosts of a stream that a reader handles.
const MaxHosts = 100_000

// Hosts returns all hosts with a message in the stream, sorted by name.
func Hosts(ctx context.Context, stream *Stream) ([]Host, error) {
	var hosts []Host
	listed := map[string]bool{}
	last := jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, FilterSubject: Subjects}
	err := readHeads(ctx, stream, last, func(h Host) bool {
		if !listed[h.Name] { // otherwise it wrote while the others were read
			listed[h.Name] = true
			hosts = append(hosts, h)
		}
		return len(hosts) <= MaxHosts
	})
	if len(hosts) > MaxHosts {
		return nil, fmt.Errorf("the stream has more than %d hosts", MaxHosts)
	}
	slices.SortFunc(hosts, func(a, b Host) int { return cmp.Compare(a.Name, b.Name) })
	return hosts, err
}

// Oldest returns the number of the oldest message of a host in the stream, 0 if there is none.
func Oldest(ctx context.Context, stream *Stream, host string) (seq uint64, err error) {
	first := jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy, FilterSubject: Subject(host), MaxRequestBatch: 1}
	err = readHeads(ctx, stream, first, func(h Host) bool {
		seq = h.Head.Seq
		return false
	})
	return seq, err
}

// readHeads reads the headers of messages without their data. It calls take for each, until take
// returns false or no message is left.
func readHeads(ctx context.Context, stream *Stream, config jetstream.ConsumerConfig, take func(Host) bool) error {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	config.HeadersOnly = true
	r, err := stream.NewReader(ctx, config)
	if err != nil {
		return err
	}
	defer r.Close() //nolint:contextcheck // also after ctx is done
	for pending := r.Pending(); pending > 0; {
		msg, err := r.Next(ctx)
		if err != nil {
			return err
		}
		m, err := ReadMessage(msg)
		if err != nil {
			return err
		}
		if !take(m.Host) {
			return nil
		}
		pending = m.Pending
	}
	return nil
}

// Message is a message of a stream.
type Message struct {
	Host
	Data    []byte
	Pending uint64 // number of later messages that the reader has not received yet
}

// ReadMessage converts a message of a [Reader].
func ReadMessage(msg *nats.Msg) (Message, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return Message{}, fmt.Errorf("parse a message: %w", err)
	}
	head, err := ParseHead(msg.Header, 0)
	head.Seq, head.Seen = meta.Sequence.Stream, meta.Timestamp
	return Message{Host{hostOf(msg.Subject), head, err}, msg.Data, meta.NumPending}, nil
}
