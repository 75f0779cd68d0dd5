package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	dialTime = 5 * time.Second  // to connect to one server
	callTime = 10 * time.Second // to get an answer
	listTime = time.Minute      // to read the last messages of all hosts
)

var (
	// ErrSuperseded says that the last message of the host is another one than was thought:
	// another bridge wrote meanwhile, or the stream lost messages.
	ErrSuperseded = errors.New("another message is the last one of this host")
	// ErrTooLarge says that the server takes no message of this size. Nothing was stored.
	ErrTooLarge = errors.New("the server takes no message of this size")
)

// Link is the connection of one host's bridge to a NATS server, or that of a reader. It never
// reconnects: after an error it is not known what the stream has, so its user closes it, makes
// another one and reads [Link.Head]. It is for one goroutine.
type Link struct {
	conn   *nats.Conn
	ctx    context.Context //nolint:containedctx // done when the link is, with the reason as its cause
	cancel context.CancelCauseFunc
	stream string
	host   string
}

// Dial connects for a host. The caller closes the Link.
func Dial(access *Access, stream, host string) (*Link, error) {
	l := &Link{stream: stream, host: host}
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	conn, err := access.connect("osctl-eventd-nats "+host, Inbox(host),
		nats.NoReconnect(), nats.ReconnectBufSize(-1),
		nats.ClosedHandler(func(c *nats.Conn) {
			err := c.LastError()
			if err == nil {
				err = nats.ErrConnectionClosed
			}
			l.cancel(err)
		}),
		// A request that the server does not permit gets no answer, only this.
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { l.cancel(err) }),
	)
	if err != nil {
		l.cancel(err)
		return nil, err
	}
	l.conn = conn
	return l, nil
}

// Done is closed when the link has failed or was closed.
func (l *Link) Done() <-chan struct{} { return l.ctx.Done() }

// Err says why the link has failed.
func (l *Link) Err() error { return context.Cause(l.ctx) }

// MaxPayload is how many bytes a message may have on this server, its header included.
func (l *Link) MaxPayload() int { return int(l.conn.MaxPayload()) }

// Server is the URL and version of the server.
func (l *Link) Server() string {
	return l.conn.ConnectedUrlRedacted() + ", nats-server " + l.conn.ConnectedServerVersion()
}

// Close ends the connection.
func (l *Link) Close() {
	l.conn.Close()
	l.cancel(nats.ErrConnectionClosed)
}

// Bound returns a context that is done once ctx is, or once the link has failed: then its cause says why.
func (l *Link) Bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(l.ctx, func() { cancel(l.Err()) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// request makes a request, within callTime and the life of the link.
func (l *Link) request(ctx context.Context, msg *nats.Msg) (*nats.Msg, error) {
	ctx, end := l.Bound(ctx)
	defer end()
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	reply, err := l.conn.RequestMsgWithContext(ctx, msg)
	if err == nil {
		return reply, nil
	}
	if l.ctx.Err() != nil {
		err = l.Err()
	}
	if errors.Is(err, nats.ErrNoResponders) {
		const form = "nobody answers on %s: is there a stream %s with the subject and allow_direct? (%w)"
		return nil, fmt.Errorf(form, msg.Subject, l.stream, err)
	}
	return nil, fmt.Errorf("request %s: %w", msg.Subject, err)
}

// Stream returns the stream, for a reader, with how it is now as its cached info.
func (l *Link) Stream(ctx context.Context) (jetstream.Stream, error) {
	ctx, end := l.Bound(ctx)
	defer end()
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	js, err := jetstream.New(l.conn)
	if err != nil {
		return nil, err
	}
	stream, err := js.Stream(ctx, l.stream)
	if l.ctx.Err() != nil {
		err = l.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", l.stream, err)
	}
	return stream, nil
}

// Head reads the last message of the host. found is false where the stream has none. The error is
// [ErrForeign] for a message that no bridge wrote; only its Seq and Seen are known then.
func (l *Link) Head(ctx context.Context) (head Head, found bool, err error) {
	subject := Subject(l.host)
	reply, err := l.request(ctx, nats.NewMsg(HeadPrefix(l.stream)+subject))
	if err != nil {
		return Head{}, false, err
	}
	switch status := reply.Header.Get("Status"); status {
	case "":
		head, err = parseReply(reply.Header)
		return head, true, err
	case "404":
		return Head{}, false, nil
	default:
		why := status + " " + reply.Header.Get("Description")
		return Head{}, false, fmt.Errorf("read the last message on %s: %s", subject, why)
	}
}

// Publish stores lines as the next message of the host, after the one that expected numbers,
// and returns the number that it got. Only ErrTooLarge says that nothing was stored; after any
// other error the link is of no more use.
func (l *Link) Publish(ctx context.Context, head Head, expected uint64, lines []byte) (uint64, error) {
	msg := &nats.Msg{Subject: Subject(l.host), Header: head.header(), Data: lines}
	msg.Header.Set(nats.ExpectedLastSubjSeqHdr, strconv.FormatUint(expected, 10))
	msg.Header.Set(nats.ExpectedStreamHdr, l.stream)
	reply, err := l.request(ctx, msg)
	if errors.Is(err, nats.ErrMaxPayload) {
		return 0, ErrTooLarge
	}
	if err != nil {
		return 0, err
	}
	var ack struct {
		Seq   uint64              `json:"seq"`
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(reply.Data, &ack); err != nil {
		return 0, fmt.Errorf("the answer to a message on %s: %w", msg.Subject, err)
	}
	if ack.Error == nil {
		if ack.Seq == 0 {
			return 0, fmt.Errorf("the answer to a message on %s has no number", msg.Subject)
		}
		return ack.Seq, nil
	}
	code := ack.Error.ErrorCode
	if code == jetstream.JSErrCodeStreamWrongLastSequence || code == jetstream.JSErrCodeStreamWrongLastSequenceConstant {
		return 0, fmt.Errorf("%w: %s", ErrSuperseded, ack.Error.Description)
	}
	if code == jetstream.JSErrCodeStreamMessageExceedsMaximum {
		return 0, ErrTooLarge
	}
	return 0, fmt.Errorf("the stream %s refuses a message: %s (%d)", l.stream, ack.Error.Description, code)
}
