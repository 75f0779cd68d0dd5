package client

import (
	"context"
	"time"
)

// limitMemory is how long after a LimitsExceeded a follower counts as limited: a call that
// finds events at once is answered although it would not be let wait.
const limitMemory = 5 * lastRetry

// backOff says once why the service cannot be followed now, and waits before the next try:
// longer each time, until noteAnswer says that the service is back.
func (f *follow) backOff(ctx context.Context, why error) error {
	f.pause = min(2*f.pause, lastRetry)
	if HasName(why, ErrLimitsExceeded) {
		f.refused = time.Now()
	}
	if !f.down {
		f.down, f.pause = true, firstRetry
		if err := f.handOn(Update{Down: why, Cursor: f.Cursor}); err != nil {
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

// limited reports whether the service lately refused to let the follower wait. Then it polls.
func (f *follow) limited() bool {
	return !f.refused.IsZero() && time.Since(f.refused) < limitMemory
}
