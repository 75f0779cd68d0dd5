package dbusapi

import (
	"context"
	"errors"
	"time"
)

// feelPulse asks the service every so often whether it is there, until stop is called. If
// it leaves that without an answer for as long, the context that is returned ends, and
// stop says why. Any answer will do, a refusal as well, and whether the connection or the
// service is lost is for the call to say that the context is for.
func (c *Client) feelPulse(ctx context.Context, every time.Duration) (felt context.Context, stop func() error) {
	felt, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- c.untilSilent(felt, every)
		cancel()
	}()
	return felt, func() error {
		cancel()
		return <-ended
	}
}

// untilSilent returns when the service does not answer, or, without an error, when ctx is
// done.
func (c *Client) untilSilent(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		bounded, cancel := context.WithTimeout(ctx, every)
		_, err := c.asItIs().call(bounded, "org.freedesktop.DBus.Peer", "Ping", "", "", nil)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			return err
		}
	}
}
