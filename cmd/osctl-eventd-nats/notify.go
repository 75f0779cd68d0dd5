package main

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// idleTick is the time between two status lines without a watchdog.
const idleTick = 20 * time.Second

// notifier notifies systemd. It does nothing if systemd did not start the process.
type notifier struct {
	log  *slog.Logger
	tick time.Duration // between two status lines
}

func newNotifier(log *slog.Logger) (*notifier, error) {
	watchdog, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return nil, fmt.Errorf("parse the watchdog's interval: %w", err)
	}
	n := &notifier{log: log, tick: idleTick}
	if watchdog > 0 {
		n.tick = min(n.tick, watchdog/4)
	}
	return n, nil
}

// ready reports that the bridge has started. It does not wait for NATS, which may be away for hours.
func (n *notifier) ready() { n.send(daemon.SdNotifyReady + "\nSTATUS=Connecting") }

func (n *notifier) stopping() { n.send(daemon.SdNotifyStopping) }

// progress feeds the watchdog, and sets the status line.
func (n *notifier) progress(status string) {
	// A line break in an error would begin another assignment of the message.
	n.send(daemon.SdNotifyWatchdog + "\nSTATUS=" + strings.ReplaceAll(status, "\n", " "))
}

func (n *notifier) send(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		n.log.Warn("notify systemd", slog.Any("error", err))
	}
}
