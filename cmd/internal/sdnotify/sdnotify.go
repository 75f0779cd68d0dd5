// Package sdnotify notifies systemd of the state of a service, see sd_notify(3).
package sdnotify

import (
	"log/slog"
	"strings"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Send sends assignments, like [daemon.SdNotifyReady] or a [Status]. It does nothing if systemd did not
// start the process, and logs an error.
func Send(log *slog.Logger, assignments ...string) {
	if _, err := daemon.SdNotify(false, strings.Join(assignments, "\n")); err != nil {
		log.Warn("notify systemd", slog.Any("error", err))
	}
}

// Status returns the assignment of a status line. A line break in the text would begin another
// assignment, so it becomes a blank.
func Status(text string) string { return "STATUS=" + strings.ReplaceAll(text, "\n", " ") }
