package netwatch

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestPauses wants messages to gather while there are more and more namespaces, the
// longer the more there are, and only then.
func TestPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pauses
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		want := func(want time.Duration, when string, namespaces ...int) {
			t.Helper()
			start := time.Now()
			for _, n := range namespaces {
				p.take(ctx, time.Now(), n)
			}
			if got := time.Since(start); got != want {
				t.Errorf("paused for %v %s, want %v", got, when, want)
			}
		}
		want(0, "with few containers that start", 500, 501, 500, 501, 507)
		want(2*gatherLeast, "in 2 turns of a small burst", 508, 508)
		want(100*gatherFor, "with 100 more", 600)
		want(2*gatherMost, "with many more", 1000, 10_000)
		time.Sleep(burstIn - time.Since(p.since))
		want(gatherMost, "in the second after that", 10_000)
		time.Sleep(burstIn)
		want(0, "after a burst", 10_000, 10_007)
		time.Sleep(10 * burstIn)
		want(0, "long after it", 20_000, 20_007)
		want(0, "when containers ended", 100, 107)
		want(gatherLeast, "when others start", 108)
		cancel()
		want(0, "at the end", 200, 300)
	})
}
