package main

import (
	"flag"
	"testing"

	"github.com/osctl/eventd/packaging/man"
)

var update = flag.Bool("update", false, "rewrite the manual page")

// TestManualPage generates osctl-eventd(8) from the flags.
func TestManualPage(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", "")
	if err := man.Drift("../../packaging/man/osctl-eventd.8", manualPage(), *update); err != nil {
		t.Error(err)
	}
}

func manualPage() *man.Page {
	p := man.New("osctl-eventd", 8, "event service of a container host")
	p.Section("SYNOPSIS")
	p.Text("osctl-eventd [OPTION]...")
	p.Section("DESCRIPTION")
	p.Text(`osctl-eventd is the event service of a Linux container host. It announces on D-Bus, as
org.osctl.Eventd, when a network interface of a container goes up, goes down or is renamed, and
when a container starts, is frozen or stops. It also announces what other daemons report. All clients
get the events in the same order, and a client that misses events is told so.

systemd starts the service. The service is ready once it owns its name on the bus
and has compared all interfaces with the kernel. It feeds systemd's watchdog while it makes progress.
It survives a restart of the bus. On SIGTERM it announces the reports that it has accepted, and
stops within 5 s. A second signal kills it.`)
	p.Section("OPTIONS")
	var opts options
	var level string
	p.Flags(flagSet(&opts, &level))
	p.Item("--help", "print the options and exit")
	p.Section("PERMISSIONS")
	p.Text(`Root may read and report. Members of the group osctl-eventd may read and receive the
signals. Every other user may introspect the interface and read its properties, which name no container.
Files in /etc/dbus-1/system.d change these rules; see the examples in /usr/share/doc/osctl-eventd/examples.`)
	p.Section("EXIT STATUS")
	p.Item("0", "the service stopped after SIGTERM or SIGINT")
	p.Item("1", "the service failed; its log says why")
	p.Item("2", "an option is wrong")
	p.Section("ENVIRONMENT")
	p.Item("DBUS_SYSTEM_BUS_ADDRESS, DBUS_SESSION_BUS_ADDRESS", "address of the bus, if it is not the default one")
	p.Item("STATE_DIRECTORY", "set by systemd: the default of --state-dir")
	p.Item("OSCTL_EVENTD_BOOT_ID", "ID of this boot of the machine, if the service cannot read it in /proc/sys; set by its unit")
	p.Item("NOTIFY_SOCKET, WATCHDOG_USEC, JOURNAL_STREAM", "set by systemd, see sd_notify(3) and systemd.exec(5)")
	p.Section("FILES")
	p.Item(defaultStateDir, "the log of events, and the lists of containers and interfaces")
	p.Item("/usr/share/dbus-1/interfaces/org.osctl.Eventd.xml", "the interface")
	p.Section("EXAMPLES")
	p.Text("Try the service as root without touching the bus and the network of the machine. The service prints the address of its bus:")
	p.Example("unshare -n osctl-eventd --bus private --state-dir none")
	p.Text("To keep a longer history on a large host, run systemctl edit osctl-eventd and add:")
	p.Example("[Service]\nExecStart=\nExecStart=/usr/sbin/osctl-eventd --history 200000 --log-size 1G")
	p.Section("SEE ALSO")
	p.Text("osctl-eventctl(1), osctl-eventd-recipes(7), org.osctl.Eventd(5), systemctl(1), journalctl(1)")
	return p
}
