package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Host is how a host is, by its last message.
type Host struct {
	Name    string
	Head    Head
	Foreign error // the message was not written by a bridge; Head has only Seq and Seen then
}

// Silent reports whether, by a time, the host has failed twice to say that it lives. Half an interval
// is for a slow server, and for clocks that are not the same.
func (h *Host) Silent(now time.Time) bool {
	if h.Head.Status == nil {
		return false
	}
	return now.Sub(h.Head.Seen).Seconds() > 2.5*h.Head.Status.Interval
}

// Hosts returns all hosts of which the stream has a message, sorted by name.
func Hosts(ctx context.Context, access *Access, stream string) ([]Host, error) {
	link, err := Dial(access, stream, cmp.Or(access.User, "watch"))
	if err != nil {
		return nil, err
	}
	defer link.Close()
	subjects, err := link.subjects(ctx)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", stream, err)
	}
	hosts := make([]Host, 0, len(subjects))
	for subject := range subjects {
		head, found, err := link.lastOn(ctx, subject)
		h := Host{Name: hostOf(subject), Head: head}
		if errors.Is(err, ErrForeign) {
			h.Foreign, err = err, nil
		}
		if err != nil {
			return nil, err
		}
		if found { // else it aged out meanwhile
			hosts = append(hosts, h)
		}
	}
	slices.SortFunc(hosts, func(a, b Host) int { return cmp.Compare(a.Name, b.Name) })
	return hosts, nil
}

// subjects returns the subjects on which the stream has messages, and how many each has.
func (l *Link) subjects(ctx context.Context) (map[string]uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	js, err := jetstream.New(l.conn)
	if err != nil {
		return nil, err
	}
	stream, err := js.Stream(ctx, l.stream)
	if err != nil {
		return nil, err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(Subjects))
	if err != nil {
		return nil, err
	}
	return info.State.Subjects, nil
}

// hostOf returns the host of a subject: the reverse of [Subject]. What Subject cannot have made, and
// the name of a host that it cut, stays as it is in the subject.
func hostOf(subject string) string {
	token := strings.TrimPrefix(subject, subjectPrefix)
	host, err := url.PathUnescape(strings.ReplaceAll(token, "=", "%"))
	if err != nil || Token(host) != token {
		return token
	}
	return host
}
