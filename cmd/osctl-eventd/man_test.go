package main

import (
	"flag"
	"testing"

	"github.com/osctl/eventd/packaging/man"
)

var update = flag.Bool("update", false, "write the manual page anew")

// TestManualPage makes osctl-eventd(8) of the flags.
func TestManualPage(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", "")
	if err := man.Drift("osctl-eventd.8", manualPage(), *update); err != nil {
		t.Error(err)
	}
}

func manualPage() *man.Page {
	p := man.New("osctl-eventd", 8, "event service of a container host")
	p.Section("SYNOPSIS")
	p.Text("osctl-eventd [OPTION]...")
	p.Section("DESCRIPTION")
	p.Text(`osctl-eventd watches the veths of a Linux container host, says which container's
network interface went up, down or was renamed, takes the reports of other daemons, and
hands all events on over D-Bus as org.osctl.Eventd, in order and without silent loss.

It is meant to be started by systemd. It says when it is ready, once it owns its name on
the bus and knows the links there are, and keeps the watchdog content while it makes
progress. It survives a restart of the bus. On SIGTERM it stops in order, within 5 s: what
it answered is announced before. A second signal kills it.`)
	p.Section("OPTIONS")
	var opts options
	var level string
	p.Flags(flagSet(&opts, &level))
	p.Item("--help", "tell about the options")
	p.Section("WHO MAY DO WHAT")
	p.Text(`Root may do everything. Members of the group osctl-eventd may read and receive the
signals. Everybody else may only ask what the interface is. Files in /etc/dbus-1/system.d
change that; see the examples in /usr/share/doc/osctl-eventd/examples.`)
	p.Section("EXIT STATUS")
	p.Item("0", "it was told to stop, and did so in order")
	p.Item("1", "it could not go on; the log says why")
	p.Item("2", "an option was wrong")
	p.Section("ENVIRONMENT")
	p.Item("DBUS_SYSTEM_BUS_ADDRESS, DBUS_SESSION_BUS_ADDRESS", "address of the bus, where it is not the usual one")
	p.Item("STATE_DIRECTORY", "set by systemd: what --state-dir is if it is not given")
	p.Item("NOTIFY_SOCKET, WATCHDOG_USEC, JOURNAL_STREAM", "set by systemd, see sd_notify(3) and systemd.exec(5)")
	p.Section("FILES")
	p.Item(defaultStateDir, "the log of events, and what is known of containers and interfaces")
	p.Item("/usr/share/dbus-1/interfaces/org.osctl.Eventd.xml", "the interface")
	p.Section("EXAMPLES")
	p.Text("Try it out without touching the machine's bus, as root; it prints the address of a bus of its own:")
	p.Example("unshare -n osctl-eventd --bus private --state-dir none")
	p.Text("Keep a longer history on a large host, in a file that systemctl edit osctl-eventd makes:")
	p.Example("[Service]\nExecStart=\nExecStart=/usr/sbin/osctl-eventd --history 200000 --log-size 1G")
	p.Section("SEE ALSO")
	p.Text("osctl-eventctl(1), osctl-eventd-recipes(7), org.osctl.Eventd(5), systemctl(1), journalctl(1)")
	return p
}
