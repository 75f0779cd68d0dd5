package client

import (
	"context"
	"errors"
	"time"
)

// startPings pings the service at an interval until stop is called. When the service leaves a
// ping unanswered for as long, the context that startPings returns ends, and stop returns why.
// Any answer counts, also an error: a lost connection or service ends the call that runs under
// that context anyway. stop is called once.
func (c *Client) startPings(ctx context.Context, every time.Duration) (alive context.Context, stop func() error) {
	alive, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- c.pingUntilSilent(alive, every)
		cancel()
	}()
	return alive, func() error {
		cancel()
		return <-ended
	}
}

// pingUntilSilent returns an error once the service leaves a ping unanswered, and nil once ctx
// is done.
func (c *Client) pingUntilSilent(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		bounded, cancel := context.WithTimeout(ctx, every)
		_, err := c.withoutStart().call(bounded, "org.freedesktop.DBus.Peer", "Ping", "", "", nil)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			return err
		}
	}
}
