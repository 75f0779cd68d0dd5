package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/osctl/eventd/dbusapi/wire"
)

// Explain returns a text for people about an error of this package and its remedy. For other errors it
// returns their text. The address is that of the bus, as the person gave it.
func Explain(err error, address string) string {
	text := explain(err, address)
	if isCall(err, "Report", "ReportBatch") && (errors.Is(err, context.DeadlineExceeded) || HasName(err, wire.ErrNoReply)) {
		// A second try could report the events twice.
		text = strings.TrimSuffix(text, again)
		if isCall(err, "Report") {
			text += ". Whether the event was taken is not known"
		}
	}
	return text
}

const again = "; try again"

// isCall reports whether an error comes from a call of one of these methods.
func isCall(err error, members ...string) bool {
	call, ok := errors.AsType[*callError](err)
	return ok && slices.Contains(members, call.member)
}

func explain(err error, address string) string {
	if e, ok := errors.AsType[*InvalidEventError](err); ok {
		return fmt.Sprintf("event %d: %s", e.Index, explain(e.Err, address))
	}
	if e, ok := errors.AsType[*Error](err); ok {
		if e.Name == wire.ErrAccessDenied {
			return explainDenied(err, e)
		}
		return explainReply(e, address)
	}
	_, connecting := errors.AsType[*net.OpError](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("osctl-eventd, or the bus %s, does not answer: check whether they run (systemctl status osctl-eventd dbus)", address)
	case connecting && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)):
		return err.Error() + ": is the bus running (systemctl status dbus)? Name another one with --bus"
	case connecting && errors.Is(err, fs.ErrPermission):
		return err.Error() + ": you may not use this bus. Run as root, or as the user whose bus it is"
	case errors.Is(err, wire.ErrTurnedAway):
		return err.Error() + ": the bus may be open to other users only. Run as root, or as the user whose bus it is"
	}
	return err.Error()
}

// explainReply explains an error reply of the bus or the service.
func explainReply(e *Error, address string) string {
	switch {
	case e.Name == wire.ErrServiceUnknown, e.Name == wire.ErrNameHasNoOwner:
		return fmt.Sprintf("osctl-eventd is not running on the bus %s: start it (systemctl start osctl-eventd), or name its bus with --bus", address)
	case strings.HasPrefix(e.Name, "org.freedesktop.DBus.Error.Spawn."), strings.HasPrefix(e.Name, "org.freedesktop.systemd1."):
		return fmt.Sprintf("osctl-eventd could not be started: %s. See why with journalctl -u osctl-eventd", e)
	case e.Name == wire.ErrNoReply:
		return "osctl-eventd went away before it answered" + again
	case e.Name == wire.ErrShuttingDown:
		return "osctl-eventd is shutting down; try again when it is back"
	case e.Name == wire.ErrGone:
		return "osctl-eventd no longer keeps them, because its history was dropped, or there were too many"
	}
	return e.Error()
}

// explainDenied explains a call that the bus denied: the users that are allowed, the way to become one,
// and then the long message of the bus.
func explainDenied(err error, e *Error) string {
	who := "only root and the group osctl-eventd may read. Join it (usermod -aG osctl-eventd NAME) and log in again"
	if isCall(err, "Report", "ReportBatch") {
		who = "only root may report; the group osctl-eventd only reads. " +
			"To let another user report, see /usr/share/doc/osctl-eventd/examples/reporter.conf"
	}
	return fmt.Sprintf("not allowed: %s. The bus says: %s", who, e)
}
