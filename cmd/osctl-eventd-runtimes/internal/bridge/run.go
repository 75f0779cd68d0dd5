package bridge

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/time/rate"

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
	// absentPause is the pause between two looks for a socket or a directory that is missing.
	absentPause = 5 * time.Second
	// retryPause is the pause between a failure and the next session.
	retryPause = time.Second
	// maxReason limits the bytes of an error in the log, because the runtime may have written it.
	maxReason = 512
	// burst and perSecond limit the events that one runtime can make the bridge report. The bridge does not
	// read from a runtime that has used them up, so that the runtime cannot push the events of others out of
	// the history.
	burst     = 2048
	perSecond = 20
)

var errRestarted = errors.New("osctl-eventd was restarted")

// Config says which runtimes to follow.
type Config struct {
	Bus            string // address of the bus
	Docker, Podman string // sockets, "" for none
	Pods           string // directory of the kubelet, "" for none
	StateDir       string // directory of the positions
	MetricsFile    string // replaced at each change, "" for none
	Log            *slog.Logger
	Status         func(string) // called with the new status, by one goroutine at a time
}

// Run follows all runtimes until ctx is done. A runtime may start and stop at any time. Run logs errors
// and tries again.
func Run(ctx context.Context, config Config) {
	var running sync.WaitGroup
	if config.MetricsFile != "" {
		defer func() { _ = os.Remove(config.MetricsFile) }() // it would be outdated
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
			pool: r.pool, socket: r.path, bus: config.Bus, stateDir: config.StateDir, log: config.Log,
			limiter: rate.NewLimiter(perSecond, burst), bridgeStart: time.Now().Round(0), status: statuses.add(r.pool),
		}
		running.Go(func() { l.run(ctx, r.follow) })
	}
	running.Wait()
}

// loop follows one runtime, session after session.
type loop struct {
	pool, socket  string // socket is a directory for pods
	bus, stateDir string
	log           *slog.Logger
	bridgeStart   time.Time     // the position if none is saved; without a monotonic part, because the clock may be set
	limiter       *rate.Limiter // shared by all sessions, so that a failing runtime does not get a full one
	status        *status
}

func (l *loop) run(ctx context.Context, follow func(*loop, context.Context) error) {
	for logged := ""; ; {
		pause := absentPause
		_, err := os.Stat(l.socket)
		absent := errors.Is(err, fs.ErrNotExist) // an error of follow may be about the socket of the bus
		if err == nil {
			pause = retryPause
			err = follow(l, ctx)
		}
		switch {
		case ctx.Err() != nil:
			return
		case absent:
			l.status.setAbsent()
			logged = ""
		default:
			l.status.setFailed()
			if text := plain(err.Error(), maxReason); text != logged { // do not repeat it every second
				l.log.Warn("not followed for the moment", slog.String("runtime", l.pool), slog.String("reason", text))
				logged = text
			}
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// connect connects to osctl-eventd. It cancels the session when osctl-eventd was restarted, because that may
// have lost reports.
func (l *loop) connect(ctx context.Context, cancel context.CancelCauseFunc) (service *client.Client, stop func(), err error) {
	filter, err := hub.Filter{}.With("pool", l.pool)
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
		cancel(client.Follow(ctx, client.Follower{Address: l.bus, Filter: filter}, func(u client.Update) error {
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
