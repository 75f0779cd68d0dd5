package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Host is how a host is, by its last message.
type Host struct {
	Name    string
	Head    Head
	Seen    time.Time // when the server got the message
	Foreign error     // the message was not written by a bridge; Head is empty then
}

// Silent reports whether, by a time, the host has failed twice to say that it lives. Half an interval
// is for a slow server, and for clocks that are not the same.
func (h *Host) Silent(now time.Time) bool {
	if h.Head.Status == nil {
		return false
	}
	return now.Sub(h.Seen).Seconds() > 2.5*h.Head.Status.Interval
}

// Reader reads a fleet's stream. It reconnects by itself.
type Reader struct {
	conn   *nats.Conn
	stream jetstream.Stream
	name   string
}

// OpenReader connects. The caller closes the Reader.
func OpenReader(ctx context.Context, access *Access, stream string) (*Reader, error) {
	user := access.User
	if user == "" {
		user = "watch"
	}
	conn, err := access.connect("osctl-eventd-nats", Inbox(user), nats.MaxReconnects(-1))
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(conn)
	if err != nil {
		conn.Close()
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	s, err := js.Stream(ctx, stream)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("stream %s: %w", stream, err)
	}
	return &Reader{conn, s, stream}, nil
}

// Close ends the connection.
func (r *Reader) Close() { r.conn.Close() }

// Hosts returns all hosts of which the stream has a message, sorted by name.
func (r *Reader) Hosts(ctx context.Context) ([]Host, error) {
	bounded, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	info, err := r.stream.Info(bounded, jetstream.WithSubjectFilter(Subjects))
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", r.name, err)
	}
	hosts := make([]Host, 0, len(info.State.Subjects))
	for subject := range info.State.Subjects {
		host, found, err := r.host(ctx, subject)
		if err != nil {
			return nil, err
		}
		if found { // else it aged out meanwhile
			hosts = append(hosts, host)
		}
	}
	slices.SortFunc(hosts, func(a, b Host) int { return cmp.Compare(a.Name, b.Name) })
	return hosts, nil
}

// host reads the last message on a subject.
func (r *Reader) host(ctx context.Context, subject string) (Host, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	reply, err := r.conn.RequestWithContext(ctx, HeadPrefix(r.name)+subject, nil)
	switch {
	case err != nil:
		return Host{}, false, fmt.Errorf("read the last message on %s: %w", subject, err)
	case reply.Header.Get("Status") == "404":
		return Host{}, false, nil
	case reply.Header.Get("Status") != "":
		return Host{}, false, fmt.Errorf("read the last message on %s: %s", subject, reply.Header.Get("Description"))
	}
	h := Host{Name: hostOf(subject)}
	h.Head, err = parseReply(reply.Header)
	if errors.Is(err, ErrForeign) {
		h.Foreign, err = err, nil
	}
	stamps := reply.Header.Values(nats.JSTimeStamp)
	if err == nil && len(stamps) > 0 {
		h.Seen, err = time.Parse(time.RFC3339Nano, stamps[len(stamps)-1])
	}
	return h, true, err
}

// hostOf returns the host of a subject: the reverse of [Subject]. The name of a host
// that Subject cut stays cut.
func hostOf(subject string) string {
	token := strings.TrimPrefix(subject, subjectPrefix)
	var b strings.Builder
	for rest := token; rest != ""; {
		plain, escaped, found := strings.Cut(rest, "=")
		b.WriteString(plain)
		if !found {
			return b.String()
		}
		if len(escaped) < 2 {
			return token
		}
		c, err := strconv.ParseUint(escaped[:2], 16, 8)
		if err != nil {
			return token
		}
		b.WriteByte(byte(c))
		rest = escaped[2:]
	}
	return b.String()
}
