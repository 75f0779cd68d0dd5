package main

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/osctl/eventd/packaging/man"
)

var update = flag.Bool("update", false, "rewrite the manual page")

// TestManualPage generates osctl-eventd-runtimes(8) from the command.
func TestManualPage(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", "")
	t.Setenv("RUNTIME_DIRECTORY", "")
	if err := man.Drift("../../packaging/man/osctl-eventd-runtimes.8", manualPage(), *update); err != nil {
		t.Error(err)
	}
}

func manualPage() *man.Page {
	root := rootCommand(os.Stderr)
	p := man.New(root.Name(), 8, strings.ToLower(root.Short[:1])+root.Short[1:])
	p.Section("SYNOPSIS")
	p.Text(root.Name() + " [OPTION]...")
	p.Section("DESCRIPTION")
	p.Text(root.Long)
	p.Text("The unit is off until you enable it: systemctl enable --now osctl-eventd-runtimes. systemctl status shows which runtimes it follows.")
	p.Section("OPTIONS")
	p.Flags(root.LocalNonPersistentFlags())
	p.Section("EXIT STATUS")
	p.Item("0", "the bridge stopped after SIGTERM or SIGINT")
	p.Item("1", "an option is wrong, or the state directory cannot be created; stderr says why")
	p.Section("ENVIRONMENT")
	p.Item("STATE_DIRECTORY, RUNTIME_DIRECTORY, NOTIFY_SOCKET", "set by systemd, see systemd.exec(5) and sd_notify(3)")
	p.Section("FILES")
	p.Item("/etc/default/osctl-eventd-runtimes", "OPTIONS of the unit, if the file exists")
	p.Item("/var/lib/osctl-eventd-runtimes", "files with the time up to which events of docker and of podman were handled")
	p.Item("/run/osctl-eventd-runtimes/metrics.prom", "metrics, while the unit runs: osctl-eventd-metrics.timer copies them for the node exporter")
	p.Item("/usr/share/doc/osctl-eventd/runtimes.md", "what the bridge reports, what it promises, and its metrics")
	p.Section("EXAMPLES")
	p.Example(root.Example)
	p.Section("SEE ALSO")
	p.Text("osctl-eventd(8), osctl-eventctl(1), org.osctl.Eventd(5), systemctl(1)")
	return p
}
