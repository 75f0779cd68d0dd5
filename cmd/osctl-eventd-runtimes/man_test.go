package main

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/osctl/eventd/packaging/man"
)

var update = flag.Bool("update", false, "write the manual page anew")

// TestManualPage makes osctl-eventd-runtimes(8) of the command.
func TestManualPage(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", "")
	if err := man.Drift("osctl-eventd-runtimes.8", manualPage(), *update); err != nil {
		t.Error(err)
	}
	out, err := exec.Command("mandoc", "-T", "lint", "-W", "warning", "../../packaging/man/osctl-eventd-runtimes.8").CombinedOutput()
	if err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("mandoc: %v\n%s", err, out)
	}
}

func manualPage() *man.Page {
	root := rootCommand(os.Stderr)
	p := man.New(root.Name(), 8, strings.ToLower(root.Short[:1])+root.Short[1:])
	p.Section("SYNOPSIS")
	p.Text(root.Name() + " [OPTION]...")
	p.Section("DESCRIPTION")
	p.Text(root.Long)
	p.Text("The service is off until it is enabled: systemctl enable --now osctl-eventd-runtimes. systemctl status says which runtimes it follows.")
	p.Section("OPTIONS")
	p.Flags(root.LocalNonPersistentFlags())
	p.Section("EXIT STATUS")
	p.Item("0", "it was told to stop")
	p.Item("1", "an option is wrong, or the state directory cannot be made; stderr says why")
	p.Section("ENVIRONMENT")
	p.Item("STATE_DIRECTORY, NOTIFY_SOCKET", "set by systemd, see systemd.exec(5) and sd_notify(3)")
	p.Section("FILES")
	p.Item("/etc/default/osctl-eventd-runtimes", "OPTIONS of the service, if there is such a file")
	p.Item("/var/lib/osctl-eventd-runtimes", "a file for each engine, which says up to when its events were handled")
	p.Item("/usr/share/doc/osctl-eventd/runtimes.md", "what is reported, and what is promised")
	p.Section("EXAMPLES")
	p.Example(root.Example)
	p.Section("SEE ALSO")
	p.Text("osctl-eventd(8), osctl-eventctl(1), org.osctl.Eventd(5), systemctl(1)")
	return p
}
