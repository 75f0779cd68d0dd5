package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/osctl/eventd/cmd/internal/sdnotify"
	"github.com/osctl/eventd/hub"
)

// component is a part of the daemon that reports when it is ready and whether it makes
// progress. Check fails only for trouble that needs a restart; a component handles all other
// trouble itself.
type component interface {
	Ready() <-chan struct{}
	Check(ctx context.Context) error
}

// supervise notifies systemd: READY once all components are ready, STATUS, and WATCHDOG while
// the hub and all components make progress. It returns when ctx is done. Without a watchdog it
// never wakes up.
func supervise(ctx context.Context, log *slog.Logger, events *hub.Hub, components ...component) error {
	for _, c := range components {
		select {
		case <-c.Ready():
		case <-ctx.Done():
			return nil
		}
	}
	sdnotify.Send(log, daemon.SdNotifyReady, sdnotify.Status("Watching the veths of this host and serving on D-Bus"))
	log.Info("ready", slog.String("version", version))
	defer sdnotify.Send(log, daemon.SdNotifyStopping, sdnotify.Status("Stopping"))

	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("the watchdog is off: its interval cannot be parsed", errorAttr(err))
	}
	if interval <= 0 {
		<-ctx.Done()
		return nil
	}
	return feedWatchdog(ctx, log, interval, func(ctx context.Context) error {
		for _, c := range components {
			if err := c.Check(ctx); err != nil {
				return err
			}
		}
		sdnotify.Send(log, daemon.SdNotifyWatchdog, sdnotify.Status(formatStatus(events)))
		return nil
	})
}

// feedWatchdog calls check three times an interval until ctx is done. check itself notifies the
// watchdog if all is well; it may take a quarter of the interval. A failed check is repeated
// soon, so that one failure does not use up the interval.
func feedWatchdog(ctx context.Context, log *slog.Logger, interval time.Duration, check func(context.Context) error) error {
	timer := time.NewTimer(interval / 3)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		pause := interval / 3
		bounded, cancel := context.WithTimeout(ctx, interval/4)
		if err := check(bounded); err != nil && ctx.Err() == nil {
			log.Error("the watchdog is not notified: no progress", errorAttr(err))
			pause = interval / 20
		}
		cancel()
		timer.Reset(pause)
	}
}

// formatStatus returns the status line. It takes the hub's lock, so a hub that hangs is never
// reported as healthy to the watchdog.
func formatStatus(events *hub.Hub) string {
	s := events.Status()
	line := fmt.Sprintf("Watching %d interfaces; %d events so far, %d containers", s.Interfaces, s.Last, s.Active)
	if s.LogProblem != "" {
		line += "; log: " + s.LogProblem
	}
	return line
}
