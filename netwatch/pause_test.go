package netwatch

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestPauses wants messages to gather while there are more and more namespaces, and
// only then.
func TestPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pauses
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		after := func(namespaces ...int) time.Duration {
			start := time.Now()
			for _, n := range namespaces {
				p.take(ctx, time.Now(), n)
			}
			return time.Since(start)
		}
		if d := after(500, 501, 500, 501, 507); d != 0 {
			t.Errorf("paused for %v with few containers that start", d)
		}
		if d := after(508, 508, 600); d != 3*gatherFor {
			t.Errorf("paused for %v in 3 turns of a burst", d)
		}
		time.Sleep(burstIn)
		if d := after(600, 600, 607); d != 0 {
			t.Errorf("paused for %v after a burst", d)
		}
		if d := after(100, 107); d != 0 {
			t.Errorf("paused for %v when containers ended", d)
		}
		if d := after(108); d != gatherFor {
			t.Errorf("paused for %v when others start", d)
		}
		cancel()
		if d := after(200, 300); d != 0 {
			t.Errorf("paused for %v at the end", d)
		}
	})
}
