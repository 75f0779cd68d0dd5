package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	pullBatch   = 4096             // messages of a request
	pullBytes   = 8 << 20          // of a request, unless the server's largest message is larger
	pullExpires = 30 * time.Second // after that the server ends a request
	statusGrace = 2 * time.Second  // for the status that says so
	// keptIdle is how long the server keeps a consumer without a request.
	keptIdle = 5 * time.Minute
)

// Stream is a stream of a [Link].
type Stream struct {
	jetstream.Stream

	link *Link
}

// Reader reads messages of a stream in order. Its error means that messages may be missing: read on with another
// one. The consumers of package jetstream do not serve, because they take a message for a status of the server if
// it has the header Status. Any host can store one, and no reader would get past it.
type Reader struct {
	stream   *Stream
	name     string             // of its consumer
	inbox    *nats.Subscription // of incoming; the inbox of a request is below it
	incoming chan *nats.Msg     // has room for all messages of a request

	pending    uint64 // messages for the reader at its creation
	read       uint64 // messages so far
	batch      int    // messages of a request
	expires    time.Duration
	requests   int
	deadline   time.Time // of the status that ends the last request
	replyTo    string    // inbox of the last request
	asked      int       // messages that the server may still send for the last request
	askedBytes int       // bytes of them
	unanswered bool      // a request got no answer, and nothing came since
}

// NewReader creates a reader of the messages that a configuration selects. MaxRequestBatch and MaxRequestExpires
// are those of its requests, unless they are 0. The caller closes it.
func (s *Stream) NewReader(ctx context.Context, config jetstream.ConsumerConfig) (*Reader, error) {
	config.AckPolicy, config.MemoryStorage, config.Replicas = jetstream.AckNonePolicy, true, 1
	config.InactiveThreshold = keptIdle
	consumer, err := s.CreateConsumer(ctx, config)
	if err != nil {
		return nil, err
	}
	info := consumer.CachedInfo()
	r := &Reader{
		stream: s, name: info.Name, pending: info.NumPending, incoming: make(chan *nats.Msg, 2*pullBatch),
		batch: cmp.Or(config.MaxRequestBatch, pullBatch), expires: cmp.Or(config.MaxRequestExpires, pullExpires),
	}
	r.inbox, err = s.link.conn.ChanSubscribe(s.link.conn.NewInbox()+".*", r.incoming)
	return r, err
}

// Pending returns the number of messages for the reader at its creation.
func (r *Reader) Pending() uint64 { return r.pending }

// Close ends the reader.
func (r *Reader) Close() {
	_ = r.inbox.Unsubscribe()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = r.stream.DeleteConsumer(ctx, r.name) // otherwise the server does it later
}

// Next waits for the next message.
func (r *Reader) Next(ctx context.Context) (*nats.Msg, error) {
	for {
		if r.asked == 0 {
			if err := r.pull(); err != nil {
				return nil, err
			}
		}
		var msg *nats.Msg
		select {
		case msg = <-r.incoming:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-r.stream.link.Done():
			return nil, r.stream.link.Err()
		case <-time.After(time.Until(r.deadline)):
			// nats-server 2.9.10 drops a request without a status if a message comes just as it expires. The
			// next request gets that message.
			switch {
			case len(r.incoming) > 0:
			case r.unanswered:
				return nil, errors.New("the server does not answer requests for messages")
			default:
				r.unanswered, r.asked = true, 0
			}
			continue
		}
		r.unanswered = false
		if msg.Reply != "" { // unlike in a status of the server
			return msg, r.countMessage(msg)
		}
		if err := r.handleStatus(msg); err != nil {
			return nil, err
		}
	}
}

// countMessage counts a message, and checks that it is the next one.
func (r *Reader) countMessage(msg *nats.Msg) error {
	meta, err := msg.Metadata()
	if err != nil {
		return fmt.Errorf("parse a message: %w", err)
	}
	if r.read++; meta.Sequence.Consumer != r.read {
		return fmt.Errorf("the server sent message %d of the reader, expected %d", meta.Sequence.Consumer, r.read)
	}
	r.asked--
	if r.askedBytes -= msg.Size(); r.askedBytes == 0 {
		r.asked = 0 // the server ends the request without a status
	}
	return nil
}

// pull requests messages.
func (r *Reader) pull() error {
	r.requests++
	r.asked, r.askedBytes = r.batch, max(pullBytes, 2*r.stream.link.MaxPayload())
	request, err := json.Marshal(map[string]any{"batch": r.asked, "max_bytes": r.askedBytes, "expires": r.expires})
	if err != nil {
		return err
	}
	r.replyTo = fmt.Sprint(strings.TrimSuffix(r.inbox.Subject, "*"), r.requests)
	r.deadline = time.Now().Add(r.expires + statusGrace)
	subject := "$JS.API.CONSUMER.MSG.NEXT." + r.stream.CachedInfo().Config.Name + "." + r.name
	return r.stream.link.conn.PublishRequest(subject, r.replyTo, request)
}

// handleStatus handles a status of the server. Most end the request.
func (r *Reader) handleStatus(msg *nats.Msg) error {
	status, text := msg.Header.Get("Status"), strings.ToLower(msg.Header.Get("Description"))
	switch {
	case msg.Subject != r.replyTo: // of an earlier request: the server may send it after the last message
	case status == "408", status == "409" && text == "message size exceeds maxbytes":
		r.asked = 0
	default:
		return fmt.Errorf("request messages: %s %s", status, text)
	}
	return nil
}
