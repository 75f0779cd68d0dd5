package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/osctl/eventd/hub"
)

// component is a part of the daemon that tells when it is ready and whether it
// makes progress. What Check finds wrong is worth a restart: a component that can help
// itself does.
type component interface {
	Ready() <-chan struct{}
	Check(ctx context.Context) error
}

// supervise tells systemd, if it runs us: READY once all components are, STATUS, and
// WATCHDOG while the hub and all components really make progress. It returns when ctx
// is done. Without a watchdog it wakes up for nothing.
func supervise(ctx context.Context, log *slog.Logger, events *hub.Hub, components ...component) error {
	for _, c := range components {
		select {
		case <-c.Ready():
		case <-ctx.Done():
			return nil
		}
	}
	notify(log, daemon.SdNotifyReady+"\nSTATUS=Watching the veths of this host and serving on D-Bus")
	log.Info("ready", slog.String("version", version))
	defer notify(log, daemon.SdNotifyStopping+"\nSTATUS=Stopping")

	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("the watchdog's interval cannot be read, it is off", errorAttr(err))
	}
	if interval <= 0 {
		<-ctx.Done()
		return nil
	}
	return watch(ctx, log, interval, func(ctx context.Context) error {
		if err := check(ctx, components); err != nil {
			return err
		}
		notify(log, daemon.SdNotifyWatchdog+"\n"+status(events))
		return nil
	})
}

// watch makes a check that tells the watchdog that all is well, three times in its
// interval, until ctx is done. A check has a quarter of the interval; one that fails is
// repeated soon, so that a moment of trouble does not use up the interval.
func watch(ctx context.Context, log *slog.Logger, interval time.Duration, check func(context.Context) error) error {
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
			log.Error("no progress: the watchdog is not told that all is well", errorAttr(err))
			pause = interval / 20
		}
		cancel()
		timer.Reset(pause)
	}
}

// check asks all components, one after the other, whether they make progress.
func check(ctx context.Context, components []component) error {
	for _, c := range components {
		if err := c.Check(ctx); err != nil {
			return err
		}
	}
	return nil
}

// status returns the STATUS line. It takes the hub's lock, so a hub that hangs keeps
// the watchdog from being told that all is well.
func status(events *hub.Hub) string {
	s := events.Status()
	line := fmt.Sprintf("STATUS=Watching %d interfaces; %d events so far, %d containers", s.Interfaces, s.Last, s.Active)
	if s.LogProblem != "" {
		line += "; log: " + s.LogProblem
	}
	return line
}

// notify sends a message to systemd; without one it does nothing.
func notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("systemd cannot be notified", errorAttr(err))
	}
}
