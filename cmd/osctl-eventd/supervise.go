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
// makes progress.
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
	ticker := time.NewTicker(interval / 2)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := check(ctx, interval/4, components); err != nil {
			log.Error("no progress: the watchdog is not told that all is well", errorAttr(err))
			continue
		}
		notify(log, daemon.SdNotifyWatchdog+"\n"+status(events))
	}
}

// check asks all components, one after the other, whether they make progress.
func check(ctx context.Context, timeout time.Duration, components []component) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
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
	return fmt.Sprintf("STATUS=Watching %d interfaces; %d events so far, %d containers", s.Interfaces, s.Last, s.Containers)
}

// notify sends a message to systemd; without one it does nothing.
func notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("systemd cannot be notified", errorAttr(err))
	}
}
