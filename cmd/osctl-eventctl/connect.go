package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/osctl/eventd/cmd/internal/terminal"
	"github.com/osctl/eventd/dbusapi/client"
)

// callTimeout limits a call that should be answered at once.
const callTimeout = 10 * time.Second

// pulse is how often the service must answer a waiting command. The command notices a hang within twice
// that time.
const pulse = 5 * time.Second

// address returns the address of the bus.
func (a *app) address() (string, error) { return client.ResolveAddress(a.bus) }

// busName returns the bus as given, or its address if DBUS_SYSTEM_BUS_ADDRESS replaces the system bus.
func (a *app) busName() string {
	if address := os.Getenv("DBUS_SYSTEM_BUS_ADDRESS"); address != "" && a.bus == client.BusSystem {
		return address
	}
	return a.bus
}

// connect connects to the bus. [client.Explain] formats its errors, and those of calls, for users.
func (a *app) connect(ctx context.Context) (*client.Client, error) {
	address, err := a.address()
	if err != nil {
		return nil, err
	}
	return client.Dial(ctx, address)
}

// call connects to the bus and runs do, for at most callTimeout.
func (a *app) call(ctx context.Context, do func(context.Context, *client.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	client, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	return do(ctx, client)
}

// warnOutage warns when the service goes away and comes back. It reports whether the update was one
// of these.
func (a *app) warnOutage(u client.Update) bool {
	switch {
	case u.Down != nil:
		a.warn("%s", a.describeOutage(u.Down))
	case u.Up:
		a.warn("osctl-eventd is back")
	default:
		return false
	}
	return true
}

// describeOutage formats an outage. It puts the reason last, because a live view cuts long lines.
func (a *app) describeOutage(err error) string {
	const waiting = "; waiting for it to come back"
	if reply, replied := errors.AsType[*client.Error](err); replied {
		if reply.Name == client.ErrLimitsExceeded {
			return fmt.Sprintf("osctl-eventd is busy: %s; asking it once a second", reply.Message)
		}
		return "osctl-eventd went away" + waiting
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("osctl-eventd, or the bus %s, does not answer", a.bus) + waiting
	}
	return fmt.Sprintf("the bus %s went away%s (%v)", a.bus, waiting, err)
}

// warn writes a message to standard error. It escapes all control characters but line breaks.
func (a *app) warn(format string, args ...any) {
	lines := strings.Split(strings.ReplaceAll(strings.TrimRight(fmt.Sprintf(format, args...), "\n"), "\t", "  "), "\n")
	for i := range lines {
		lines[i] = terminal.Printable(lines[i])
	}
	_, _ = fmt.Fprintln(a.err, "osctl-eventctl: "+strings.Join(lines, "\n"))
}
