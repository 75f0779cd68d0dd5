package client

import (
	"context"
	"time"
)

// limitMemory is how long a follower counts as limited after a LimitsExceeded. A reply does not prove that
// waiting is possible again, because the service answers at once if there are events.
const limitMemory = 5 * lastRetry

// backOff delivers the cause once, as Down, and waits before the next try. The wait doubles each time,
// until markUp.
func (f *follow) backOff(ctx context.Context, cause error) error {
	f.pause = min(2*f.pause, lastRetry)
	if HasName(cause, ErrLimitsExceeded) {
		f.limitedAt = time.Now()
	}
	if !f.down {
		f.down, f.pause = true, firstRetry
		if err := f.deliver(Update{Down: cause, Cursor: f.Cursor}); err != nil {
			return err
		}
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(f.pause):
		return nil
	}
}

// limited reports whether the service recently refused a wait. Then the follower polls.
func (f *follow) limited() bool {
	return !f.limitedAt.IsZero() && time.Since(f.limitedAt) < limitMemory
}
