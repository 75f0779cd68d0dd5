package client

import (
	"context"
	"errors"
	"time"
)

// startPings pings the service at an interval until stop is called. If the service does not answer a
// ping within the interval, the context alive ends, and stop returns the error. Any answer counts,
// including an error, because a lost connection or service ends the call with that context anyway. Call
// stop exactly once.
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

// pingUntilSilent returns an error when the service does not answer a ping, and nil when ctx is done.
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
