package bridge

import (
	"context"
	"time"
)

// Limits of the events that one runtime can make the bridge report. The bridge does not read from a runtime
// while its bucket is empty, so that the runtime cannot push the events of others out of the history.
const (
	burst     = 2048
	perSecond = 20
)

// bucket is a token bucket. A token is an event.
type bucket struct {
	tokens float64
	filled time.Time
}

func newBucket() *bucket { return &bucket{tokens: burst, filled: time.Now()} }

// take takes n tokens, at most burst, and waits until the bucket had them.
func (b *bucket) take(ctx context.Context, n int) error {
	now := time.Now()
	b.tokens = min(burst, b.tokens+now.Sub(b.filled).Seconds()*perSecond) - float64(n)
	b.filled = now
	if b.tokens >= 0 {
		return nil
	}
	timer := time.NewTimer(time.Duration(-b.tokens / perSecond * float64(time.Second)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
