package bridge

import (
	"context"
	"time"
)

// A runtime may make the bridge report so many events at once, and so many a second from then on.
// While it makes more, the bridge reads no more of it. So it cannot push out the history of others.
const (
	burst     = 2048
	perSecond = 20
)

// bucket is a token bucket.
type bucket struct {
	tokens float64
	filled time.Time
}

func newBucket() *bucket { return &bucket{tokens: burst, filled: time.Now()} }

// take waits until it has n tokens, at most burst.
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
