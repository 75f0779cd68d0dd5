package main

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/osctl/eventd/cmd/internal/terminal"
	"github.com/osctl/eventd/packaging/man"
)

var update = flag.Bool("update", false, "rewrite the manual page")

// TestManualPage generates osctl-eventd-nats(8) from the commands.
func TestManualPage(t *testing.T) {
	for _, name := range []string{"STATE_DIRECTORY", "NATS_URL", "NATS_USER"} {
		t.Setenv(name, "")
	}
	if err := man.Drift("../../packaging/nats/osctl-eventd-nats.8", manualPage(), *update); err != nil {
		t.Error(err)
	}
}

func manualPage() *man.Page {
	root := rootCommand(terminal.NewOutput(os.Stdout), terminal.NewOutput(os.Stderr))
	p := man.New(root.Name(), 8, strings.ToLower(root.Short[:1])+root.Short[1:])
	p.Section("SYNOPSIS")
	p.Text(root.Name() + " COMMAND [ARGUMENT]...")
	p.Section("DESCRIPTION")
	p.Text(root.Long)
	p.Section("COMMANDS")
	for _, c := range commands(root) {
		p.Subsection(c.Use)
		p.Text(c.Long)
		p.Flags(c.LocalNonPersistentFlags())
		p.Text("Examples:")
		p.Example(c.Example)
	}
	p.Section("EXIT STATUS")
	p.Item("0", "the command succeeded, or stopped after SIGTERM or SIGINT")
	p.Item("1", "the command failed; stderr says why")
	p.Item("2", "hosts: a host is not ok")
	p.Item("3", "forward: the host's last message is not this machine's own; stderr says what to do")
	p.Item("4", "watch: events are missing; stderr says which")
	p.Section("ENVIRONMENT")
	p.Item("NATS_URL, NATS_USER", "defaults of --server and --user")
	p.Item("STATE_DIRECTORY, CREDENTIALS_DIRECTORY, NOTIFY_SOCKET, WATCHDOG_USEC", "set by systemd, see systemd.exec(5) and sd_notify(3)")
	p.Section("FILES")
	p.Item("/etc/osctl-eventd-nats", "configuration (env) and secrets of the service: creds, password, ca.pem, cert.pem, key.pem")
	p.Item("/var/lib/osctl-eventd-nats", "the state file: the position in the history, in case the stream loses this host's messages")
	p.Item("/usr/share/doc/osctl-eventd-nats/fleet.md", "how to set up a fleet, and what the stream guarantees")
	p.Section("SEE ALSO")
	p.Text("osctl-eventd(8), osctl-eventctl(1), systemctl(1)")
	return p
}

// commands returns the commands for users.
func commands(root *cobra.Command) (all []*cobra.Command) {
	for _, c := range root.Commands() {
		if !c.Hidden && c.Name() != "help" {
			all = append(all, c)
		}
	}
	return all
}

// TestHelp checks that each command has a description and examples.
func TestHelp(t *testing.T) {
	for _, c := range commands(rootCommand(terminal.NewOutput(os.Stdout), terminal.NewOutput(os.Stderr))) {
		if c.Short == "" || c.Long == "" || !strings.HasPrefix(c.Example, "  osctl-eventd-nats "+c.Name()) {
			t.Errorf("%s: short %q, long %q, example %q", c.Name(), c.Short, c.Long, c.Example)
		}
		for line := range strings.Lines(c.Long) {
			if len(line) > 91 {
				t.Errorf("%s: a line of %d characters: %s", c.Name(), len(line), line)
			}
		}
	}
}
