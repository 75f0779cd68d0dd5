package bridge

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

// Pools of the runtimes, as osctl-eventd names them.
const (
	poolDocker = "docker"
	poolPodman = "podman"
	poolPods   = "k8s"
)

const (
	// absentTime is how long after a socket or a directory was not found it is looked for again.
	absentTime = 5 * time.Second
	// retryTime is how long after a failure the next session begins.
	retryTime = time.Second
	// maxReason is how many bytes of an error are logged: the runtime may have written it.
	maxReason = 512
	// pulse is how often the service is asked whether it is still there.
	pulse = time.Minute
)

var errRestarted = errors.New("osctl-eventd was restarted")

// Config says what to follow.
type Config struct {
	Bus            string // address of the bus
	Docker, Podman string // sockets, "" for none
	Pods           string // directory of the kubelet, "" for none
	StateDir       string // for the positions
	MetricsFile    string // is replaced at each change, "" for none
	Log            *slog.Logger
	Status         func(string) // is told what is followed, for people; by one goroutine at a time
}

// Run follows all runtimes that are there, now or later, until ctx is done. What fails is logged and
// tried again.
func Run(ctx context.Context, config Config) error {
	group, ctx := errgroup.WithContext(ctx)
	if config.MetricsFile != "" {
		defer func() { _ = os.Remove(config.MetricsFile) }() // nothing is followed any more
	}
	statuses := &statuses{config: &config}
	for _, r := range []struct {
		pool, path string
		follow     func(*loop, context.Context) error
	}{
		{poolDocker, config.Docker, (*loop).followEngine},
		{poolPodman, config.Podman, (*loop).followEngine},
		{poolPods, config.Pods, (*loop).followPods},
	} {
		if r.path == "" {
			continue
		}
		l := &loop{
			name: r.pool, socket: r.path, bus: config.Bus, stateDir: config.StateDir, log: config.Log, bucket: newBucket(), began: time.Now(),
			status: statuses.add(r.pool),
		}
		group.Go(func() error { return l.run(ctx, r.follow) })
	}
	return group.Wait()
}

// loop follows one runtime, session after session.
type loop struct {
	name, socket  string // its pool; its socket or directory
	bus, stateDir string
	log           *slog.Logger
	began         time.Time
	bucket        *bucket // over all sessions: a runtime cannot get around it by failing
	status        *status
}

func (l *loop) run(ctx context.Context, follow func(*loop, context.Context) error) error {
	for said := ""; ; {
		pause := absentTime
		_, err := os.Stat(l.socket)
		absent := errors.Is(err, fs.ErrNotExist) // an error of follow may be about the socket of the bus
		if err == nil {
			pause = retryTime
			err = follow(l, ctx)
		}
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // it was told to stop
		case absent:
			l.status.absent()
		default:
			l.status.fail()
			if text := plain(err.Error(), maxReason); text != said { // not the same once a second
				l.log.Warn("not followed for the moment", slog.String("runtime", l.name), slog.String("reason", text))
				said = text
			}
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// connect connects to the service, and cancels when it was restarted: it may have lost what it was
// told.
func (l *loop) connect(ctx context.Context, cancel context.CancelCauseFunc) (service *client.Client, stop func(), err error) {
	filter, err := hub.Filter{}.With("pool", l.name)
	if err == nil {
		filter, err = filter.With("type", hub.TypeInfo)
	}
	if err != nil {
		return nil, nil, err
	}
	if service, err = client.Dial(ctx, l.bus); err != nil {
		return nil, nil, fmt.Errorf("connect to the bus: %w", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		cancel(client.Follow(ctx, client.Follower{Address: l.bus, Filter: filter, Pulse: pulse}, func(u client.Update) error {
			if u.Up || u.Gone != nil {
				return errRestarted
			}
			return nil
		}))
	}()
	return service, func() {
		cancel(nil)
		service.Close()
		<-done
	}, nil
}
