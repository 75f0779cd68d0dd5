package man

import "slices"

// Recipe is a task, and the shell commands for it.
type Recipe struct {
	Title, Text string
	Code        string // lines of sh(1)
	After       string // what to add after the commands
}

// Recipes returns the recipes of osctl-eventd-recipes(7). A test runs each on a booted system.
func Recipes() []Recipe { return slices.Concat(reactions(), queries(), exports()) }

// reactions returns the recipes that do something on an event.
func reactions() []Recipe {
	return []Recipe{
		{
			"Run a script when an interface goes down",
			`The script gets the event as JSON on standard input and in EVENT_* variables. Quote the variables, because
containers choose the names of their interfaces. With the cursor file the next run continues where the
last one stopped, so no event is skipped.`,
			`cat >/usr/local/sbin/on-down <<'END'
#!/bin/sh
logger -t on-down -- "$EVENT_POOL:$EVENT_ID: $EVENT_NAME is down"
END
chmod 755 /usr/local/sbin/on-down
osctl-eventctl run --cursor-file /var/lib/on-down.cursor --type ct_netif --action down -- /usr/local/sbin/on-down`,
			"",
		},
		{
			"Keep such a command running",
			"The unit osctl-eventctl-run@NAME.service runs the command in /etc/osctl-eventctl/NAME.conf:",
			`mkdir -p /etc/osctl-eventctl
cat >/etc/osctl-eventctl/on-down.conf <<'END'
OPTIONS=--type ct_netif --action down
COMMAND=/usr/local/sbin/on-down
END
systemctl enable --now osctl-eventctl-run@on-down`,
			"The unit keeps the cursor below /var/lib/osctl-eventctl. Read its log with journalctl -u osctl-eventctl-run@on-down.",
		},
		{
			"Start a unit on an event",
			`The unit starts whenever the container starts. --no-block returns before the unit is up, so a slow unit
does not delay the next event:`,
			`osctl-eventctl run --type state --action running tank:101 -- systemctl start --no-block backup.service`,
			"",
		},
		{
			"Wait for a container, then back it up",
			"If the container runs already, the command returns at once, so there is no race:",
			`osctl-eventctl wait tank:101 running --timeout 5m && backup tank:101`,
			"Exit status 3 means that the timeout expired. To wait for several containers, name them all:\n\n" +
				"  osctl-eventctl wait tank:101 tank:102 running",
		},
		{
			"Notify a desktop",
			`Run this in the desktop's session, as a member of the group osctl-eventd. The script reads the event
from its environment, so nothing of an event becomes part of the script:`,
			`osctl-eventctl run --type state --action error -- sh -c 'notify-send "$EVENT_POOL:$EVENT_ID" "is in state error"'`,
			"",
		},
	}
}

// queries returns the recipes that look something up.
func queries() []Recipe {
	return []Recipe{
		{
			"Show the last hour of one container",
			"",
			`osctl-eventctl events --since 1h tank:101`,
			"For programs, print one JSON object a line:\n\n  osctl-eventctl events --since 1h --json tank:101",
		},
		{
			"Find the container of a veth",
			"",
			`osctl-eventctl list --veth veth101`,
			"With --json the pool and the id are separate keys.",
		},
		{
			"Show what is known of one container",
			"This prints its state, its interfaces and its last events:",
			`osctl-eventctl show tank:101`,
			"",
		},
	}
}

// exports returns the recipes that hand events or figures on.
func exports() []Recipe {
	return []Recipe{
		{
			"Write metrics for Prometheus",
			"Twice a minute the timer writes a file for the textfile collector of the node exporter:",
			`systemctl enable --now osctl-eventd-metrics.timer`,
			"osctl-eventctl status --metrics prints the same.",
		},
		{
			"Write events to the journal",
			"The service writes each event as an entry with structured fields:",
			`cd /usr/share/doc/osctl-eventd/examples
install -D -m 644 journal.conf /etc/systemd/system/osctl-eventd.service.d/journal.conf
systemctl daemon-reload
systemctl restart osctl-eventd`,
			"Then ask for the events of one container:\n\n  journalctl OSCTL_TYPE=ct_netif OSCTL_POOL=tank OSCTL_ID=101",
		},
		{
			"Write events to syslog",
			`logger(1) gets up to 100 events at a time, a line each. With --socket-errors=on it fails if no syslog
daemon listens, so run ends and the cursor stays before these events. Without that, logger may succeed and lose them:`,
			`osctl-eventctl run --cursor-file /var/lib/to-syslog.cursor --batch 100 -- logger --socket-errors=on -t containers`,
			"",
		},
	}
}

// RecipesPage makes osctl-eventd-recipes(7).
func RecipesPage() *Page {
	p := New("osctl-eventd-recipes", 7, "tasks with the events of containers")
	p.Section("DESCRIPTION")
	p.Text(`Each recipe is complete. Run it as root; members of the group osctl-eventd may run the commands that only
read. Replace tank:101 with your container, as osctl-eventctl list and osctl-eventctl containers show it, and
veth101 with the interface on the host.

osctl-eventctl run continues until it is interrupted. With --no-follow it handles the events that are kept, and
ends.`)
	p.Section("RECIPES")
	for _, r := range Recipes() {
		p.Subsection(r.Title)
		if r.Text != "" {
			p.Text(r.Text)
		}
		p.Example(r.Code)
		if r.After != "" {
			p.Text(r.After)
		}
	}
	p.Section("SEE ALSO")
	p.Text("osctl-eventctl(1), osctl-eventd(8), org.osctl.Eventd(5), journalctl(1), logger(1)")
	return p
}
