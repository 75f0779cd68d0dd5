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

var update = flag.Bool("update", false, "rewrite the manual page and the picture of the live view")

// TestManualPage generates osctl-eventctl(1) from the commands.
func TestManualPage(t *testing.T) {
	if err := man.Drift("../../packaging/man/osctl-eventctl.1", manualPage(t), *update); err != nil {
		t.Error(err)
	}
}

func manualPage(tb testing.TB) *man.Page {
	tb.Helper()
	root := (&app{out: terminal.NewOutput(os.Stdout), err: terminal.NewOutput(os.Stderr)}).root()
	p := man.New(root.Name(), 1, strings.ToLower(root.Short[:1])+root.Short[1:])
	p.Section("SYNOPSIS")
	p.Text(root.Name() + " [--bus BUS] COMMAND [ARGUMENT]...")
	p.Section("DESCRIPTION")
	p.Text(root.Long)
	p.Section("COMMANDS")
	for _, c := range root.Commands() {
		if c.Hidden || c.Name() == "help" {
			continue
		}
		p.Subsection(strings.Replace(c.Use, " [flags]", "", 1))
		p.Text(c.Long)
		p.Flags(c.LocalNonPersistentFlags())
		p.Text("Examples:")
		p.Example(c.Example)
	}
	jsonSection(tb, p)
	p.Section("OPTIONS")
	p.Flags(root.PersistentFlags())
	p.Item("-h, --help", "print help for a command, with examples")
	p.Item("--version", "print the version and exit")
	p.Section("ENVIRONMENT")
	p.Item("DBUS_SYSTEM_BUS_ADDRESS, DBUS_SESSION_BUS_ADDRESS", "address of the bus, if it is not the default one")
	p.Item("NO_COLOR", "if it is set to anything, output has no colours")
	p.Section("EXIT STATUS")
	for _, status := range [][2]string{
		{"0", "the command succeeded"},
		{"1", "the command failed, or the service does not run; stderr says why"},
		{"2", "status: the history of the service has a problem, or the service lacks something"},
		{"3", "wait: the timeout expired"},
		{"4", "monitor, run: events were lost; report --skip-invalid: lines were skipped"},
		{"5", "run: the command failed for an event"},
		{"130", "the command was interrupted; but monitor, run, top and --watch end with 0"},
	} {
		p.Item(status[0], status[1])
	}
	p.Section("EXAMPLES")
	p.Example(root.Example)
	p.Section("SEE ALSO")
	p.Text("osctl-eventd(8), osctl-eventd-runtimes(8), osctl-eventd-recipes(7), org.osctl.Eventd(5), busctl(1)")
	return p
}

// TestHelp checks that each command has a description and examples.
func TestHelp(t *testing.T) {
	root := (&app{out: terminal.NewOutput(os.Stdout), err: terminal.NewOutput(os.Stderr)}).root()
	for _, c := range append([]*cobra.Command{root}, root.Commands()...) {
		if c.Short == "" || c.Long == "" || !strings.HasPrefix(c.Example, "  osctl-eventctl ") && !strings.HasPrefix(c.Example, "  echo ") {
			t.Errorf("%s: short %q, long %q, example %q", c.Name(), c.Short, c.Long, c.Example)
		}
		for line := range strings.Lines(c.Long) {
			if len(line) > 80 {
				t.Errorf("%s: a line of %d characters: %s", c.Name(), len(line), line)
			}
		}
		if c == root {
			continue
		}
		if r := ctl(t, nil, c.Name(), "--help"); r.code != 0 || r.stderr != "" || !strings.Contains(r.stdout, "Examples:\n"+c.Example) {
			t.Errorf("%s --help: %+v", c.Name(), r)
		}
	}
}
