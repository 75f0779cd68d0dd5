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
	dialTimeout = 5 * time.Second  // to connect to one server
	callTimeout = 10 * time.Second // of a request
	listTimeout = time.Minute      // to read the last messages of all hosts
)

var (
	// ErrSuperseded means that the host's last message is not the expected one: another bridge wrote
	// meanwhile, or the stream lost messages.
	ErrSuperseded = errors.New("another message is the last one of this host")
	// ErrTooLarge means that the server accepts no message of this size. Nothing was stored.
	ErrTooLarge = errors.New("the server accepts no message of this size")
)

// Link is the connection of a host's bridge, or of a reader, to a NATS server. It never reconnects:
// after an error the content of the stream is unknown, so the caller closes the link, dials a new one
// and reads [Link.Head]. A Link is for one goroutine, but a [Reader] of it may be used by another one.
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
		// A denied request gets no reply, only this error. nats.go also reports a message with a malformed
		// header here; the reader skips that message itself.
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if !errors.Is(err, nats.ErrBadHeaderMsg) {
				l.cancel(err)
			}
		}),
	)
	if err != nil {
		l.cancel(err)
		return nil, err
	}
	l.conn = conn
	return l, nil
}

// Done is closed when the link fails or is closed.
func (l *Link) Done() <-chan struct{} { return l.ctx.Done() }

// Err returns why the link has failed.
func (l *Link) Err() error { return context.Cause(l.ctx) }

// MaxPayload returns the server's limit for a message in bytes, header included.
func (l *Link) MaxPayload() int { return int(l.conn.MaxPayload()) }

// Server returns the URL and version of the server.
func (l *Link) Server() string {
	return l.conn.ConnectedUrlRedacted() + ", nats-server " + l.conn.ConnectedServerVersion()
}

// Close ends the connection.
func (l *Link) Close() {
	l.conn.Close()
	l.cancel(nats.ErrConnectionClosed)
}

// Bound returns a context that is also done once the link fails; its cause is the error of the link.
func (l *Link) Bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(l.ctx, func() { cancel(l.Err()) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// request sends a request, and waits for the reply up to callTimeout.
func (l *Link) request(ctx context.Context, msg *nats.Msg) (*nats.Msg, error) {
	ctx, end := l.Bound(ctx)
	defer end()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
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

// Stream returns the stream for a reader, with current cached info.
func (l *Link) Stream(ctx context.Context) (*Stream, error) {
	ctx, end := l.Bound(ctx)
	defer end()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
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
	return &Stream{stream, l}, nil
}

// Head reads the last message of the host. found is false if the stream has none. The error is
// [ErrForeign] for a message that no bridge wrote; only Seq and Seen are set then.
func (l *Link) Head(ctx context.Context) (head Head, found bool, err error) {
	subject := Subject(l.host)
	reply, err := l.request(ctx, nats.NewMsg(HeadPrefix(l.stream)+subject))
	if err != nil {
		return Head{}, false, err
	}
	status := reply.Header.Get("Status")
	switch {
	case status == "", reply.Header.Get(nats.JSSequence) != "": // a message that no bridge wrote may have a status
		head, err = parseReply(reply.Header)
		return head, true, err
	case status == "404":
		return Head{}, false, nil
	}
	why := status + " " + reply.Header.Get("Description")
	return Head{}, false, fmt.Errorf("read the last message on %s: %s", subject, why)
}

// Publish stores lines as the next message of the host, if expected is the number of its last message.
// It returns the number of the new message. After ErrTooLarge nothing was stored; after any other
// error the caller must close the link.
func (l *Link) Publish(ctx context.Context, head Head, expected uint64, lines []byte) (uint64, error) {
	msg := &nats.Msg{Subject: Subject(l.host), Header: head.header(), Data: lines}
	msg.Header.Set(nats.ExpectedLastSubjSeqHdr, strconv.FormatUint(expected, 10))
	msg.Header.Set(nats.ExpectedStreamHdr, l.stream)
	reply, err := l.request(ctx, msg)
	if errors.Is(err, nats.ErrMaxPayload) { // before anything is sent
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
		return 0, fmt.Errorf("parse the reply to a message on %s: %w", msg.Subject, err)
	}
	if ack.Error == nil {
		if ack.Seq == 0 {
			return 0, fmt.Errorf("the reply to a message on %s has no number", msg.Subject)
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
