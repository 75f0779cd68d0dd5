package main

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestWatch wants the watchdog to be told well within its interval, also after a check
// that failed, and not at all while one hangs.
func TestWatch(t *testing.T) {
	const interval = 30 * time.Second
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var fail, hang atomic.Bool
		var last atomic.Int64 // when it was told, since the start
		start := time.Now()
		told := func() time.Duration { return time.Duration(last.Load()) }
		check := func(ctx context.Context) error {
			switch {
			case hang.Load():
				<-ctx.Done()
				return ctx.Err()
			case fail.Swap(false):
				return errors.New("a moment of trouble")
			}
			now := time.Since(start)
			if gap := now - time.Duration(last.Swap(int64(now))); gap > interval/2 {
				t.Errorf("the watchdog was not told for %v", gap)
			}
			return nil
		}
		done := make(chan error)
		go func() { done <- watch(ctx, slog.New(slog.DiscardHandler), interval, check) }()
		for range 10 {
			time.Sleep(interval)
			synctest.Wait()
			if gap := time.Since(start) - told(); gap > interval/2 {
				t.Errorf("the watchdog was not told for %v", gap)
			}
			fail.Store(true)
		}
		hang.Store(true)
		before := told()
		time.Sleep(10 * interval)
		synctest.Wait()
		if told() != before {
			t.Error("the watchdog was told that all is well while a check hung")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// stuckComponent hangs until ctx is done.
type stuckComponent struct{ ready chan struct{} }

func (s stuckComponent) Ready() <-chan struct{} { return s.ready }

func (s stuckComponent) Check(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestCheckOfAll wants one component that hangs to be enough.
func TestCheckOfAll(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := check(ctx, []component{stuckComponent{}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if err := check(t.Context(), nil); err != nil {
		t.Error(err)
	}
}
