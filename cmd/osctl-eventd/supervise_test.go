package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/osctl/eventd/hub"
)

// TestFeedWatchdog checks that the watchdog is fed well within its interval, even after a failed
// check, and not at all while a check hangs.
func TestFeedWatchdog(t *testing.T) {
	const interval = 30 * time.Second
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var fail, hang atomic.Bool
		var last atomic.Int64 // time of the last feeding since start
		start := time.Now()
		lastFed := func() time.Duration { return time.Duration(last.Load()) }
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
				t.Errorf("the watchdog was not fed for %v", gap)
			}
			return nil
		}
		done := make(chan error)
		go func() { done <- feedWatchdog(ctx, slog.New(slog.DiscardHandler), interval, check) }()
		for range 10 {
			time.Sleep(interval)
			synctest.Wait()
			if gap := time.Since(start) - lastFed(); gap > interval/2 {
				t.Errorf("the watchdog was not fed for %v", gap)
			}
			fail.Store(true)
		}
		hang.Store(true)
		before := lastFed()
		time.Sleep(10 * interval)
		synctest.Wait()
		if lastFed() != before {
			t.Error("the watchdog was fed while a check hung")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// stuckComponent is a component whose checks hang until ctx is done.
type stuckComponent struct {
	ready  chan struct{}
	checks chan struct{} // gets a token for each check
}

func (s stuckComponent) Ready() <-chan struct{} { return s.ready }

func (s stuckComponent) Check(ctx context.Context) error {
	select {
	case s.checks <- struct{}{}:
	case <-ctx.Done():
	}
	<-ctx.Done()
	return ctx.Err()
}

// TestSuperviseStuck checks that the watchdog is not fed while one component hangs.
func TestSuperviseStuck(t *testing.T) {
	path, messages := notifySocket(t)
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "60000")
	events, err := hub.New(t.Context(), hub.Config{Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	defer events.Close()
	stuck := stuckComponent{make(chan struct{}), make(chan struct{})}
	close(stuck.ready)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- supervise(ctx, slog.New(slog.DiscardHandler), events, stuck) }()
	next(t, messages, "READY=1")
	for range 3 {
		<-stuck.checks
	}
	cancel()
	must(t, <-done)
	if m := next(t, messages, ""); !strings.Contains(m, "STOPPING=1") {
		t.Errorf("systemd was told %q while a component hung", m)
	}
}

// hungLog is a log whose disk hangs until letGo is closed.
type hungLog struct {
	hub.Log
	hub.Writer
	hangs chan struct{} // closed when an append hangs
	letGo chan struct{}
}

func (l *hungLog) Load(context.Context, func(hub.Record) error, func() bool) hub.Stored {
	return hub.Stored{Epoch: hub.NewEpoch(), Next: 1, Writer: l}
}
func (l *hungLog) Close(bool) error { return nil }
func (l *hungLog) Full() bool       { return false }
func (l *hungLog) Append(hub.Record) error {
	close(l.hangs)
	<-l.letGo
	return nil
}

// logOf makes a hungLog a [hub.Log]; the Close of hungLog is that of a [hub.Writer].
type logOf struct{ *hungLog }

func (logOf) Close() error { return nil }

// TestSuperviseSlowDisk checks that the watchdog is fed while the disk hangs, because a hung disk
// is no reason for a restart.
func TestSuperviseSlowDisk(t *testing.T) {
	path, messages := notifySocket(t)
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "60000")
	hung := &hungLog{hangs: make(chan struct{}), letGo: make(chan struct{})}
	events, err := hub.New(t.Context(), hub.Config{Log: logOf{hung}, Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- supervise(ctx, slog.New(slog.DiscardHandler), events) }()
	next(t, messages, "READY=1")

	committed := make(chan error, 1)
	e, err := hub.NewEvent("probe", nil, "uid:0")
	must(t, err)
	must(t, events.Submit(hub.Batch{Events: []*hub.Event{e}}, func(_ uint64, err error) { committed <- err }))
	<-hung.hangs
	for range 3 {
		next(t, messages, "WATCHDOG=1")
	}
	if len(committed) != 0 {
		t.Error("the commit did not wait for the disk")
	}
	close(hung.letGo)
	must(t, <-committed)
	cancel()
	must(t, <-done)
	events.Close()
}
