package bridge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/moby/moby/api/types/events"
	moby "github.com/moby/moby/client"
)

// Limits of the answers of an engine.
const (
	maxList      = 16 << 20 // of the list of containers
	maxObject    = 1 << 20  // of one container, or of one event
	maxHeader    = 64 << 10 // of an answer
	dialTimeout  = 5 * time.Second
	queryTimeout = 30 * time.Second
)

// errTooLarge ends a connection whose quota is used up.
var errTooLarge = errors.New("the runtime's answer is too large")

// quota is the number of bytes that may still be read from a connection.
type quota struct{ left atomic.Int64 }

func (q *quota) set(bytes int64) { q.left.Store(bytes) }

// boundedConn is a connection that fails when its quota is used up, because docker's client reads an answer
// into memory, however long it is.
type boundedConn struct {
	net.Conn
	quota *quota
}

func (c *boundedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == nil && c.quota.left.Add(int64(-n)) < 0 {
		return 0, errTooLarge
	}
	return n, err
}

// engine is a server of docker's API. It has one client for the stream of events, one for the list of
// containers, and one for other queries.
type engine struct {
	queries, stream           *moby.Client
	lists                     *http.Client
	queriesQuota, streamQuota quota
}

func newEngine(socket string) (*engine, error) {
	e := &engine{}
	e.lists = httpClient(socket, &e.queriesQuota)
	var err error
	if e.queries, err = mobyClient(socket, &e.queriesQuota); err != nil {
		return nil, err
	}
	e.stream, err = mobyClient(socket, &e.streamQuota)
	return e, err
}

func mobyClient(socket string, q *quota) (*moby.Client, error) {
	client := httpClient(socket, q)
	return moby.New(moby.WithHTTPClient(client), moby.WithHost("unix://"+socket), moby.WithScheme("http"), moby.WithDialContext(dialer(socket, q)))
}

func httpClient(socket string, q *quota) *http.Client {
	// A compressed answer within the quota could be of any size.
	transport := &http.Transport{DisableCompression: true, MaxResponseHeaderBytes: maxHeader, DialContext: dialer(socket, q)}
	return &http.Client{Transport: transport, CheckRedirect: moby.CheckRedirect}
}

// dialer returns a dial function that ignores the address and connects to a socket.
func dialer(socket string, q *quota) func(ctx context.Context, _, _ string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		d := net.Dialer{Timeout: dialTimeout}
		conn, err := d.DialContext(ctx, "unix", socket)
		if err != nil {
			return nil, err
		}
		return &boundedConn{conn, q}, nil
	}
}

func (e *engine) close() {
	_ = e.queries.Close()
	_ = e.stream.Close()
	e.lists.CloseIdleConnections()
}

// health returns the result of a container's health check, or "" if it has none.
func (e *engine) health(ctx context.Context, id string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	e.queriesQuota.set(maxObject)
	found, err := e.queries.ContainerInspect(ctx, id, moby.ContainerInspectOptions{})
	if err != nil || found.Container.State == nil || found.Container.State.Health == nil {
		return "", err
	}
	return string(found.Container.State.Health.Status), nil
}

// follow sends the events of containers since a time to out, the oldest first, until an error. Podman does
// not answer before it has an event.
func (e *engine) follow(ctx context.Context, since time.Time, out chan<- events.Message) error {
	e.streamQuota.set(maxObject)
	stream := e.stream.Events(ctx, moby.EventsListOptions{
		Since:   fmt.Sprintf("%d.%09d", since.Unix(), since.Nanosecond()),
		Filters: moby.Filters{}.Add("type", "container"),
	})
	for {
		select {
		case m := <-stream.Messages:
			e.streamQuota.set(maxObject)
			select {
			case out <- m:
			case <-ctx.Done():
				return ctx.Err()
			}
		case err := <-stream.Err:
			return fmt.Errorf("follow events: %w", err)
		}
	}
}
