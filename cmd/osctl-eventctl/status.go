package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/osctl/eventd/dbusapi"
	"github.com/osctl/eventd/hub"
)

func (a *app) status() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Tell how the service is",
		Long:  "Tell how the service is. The exit status is 0 if it answers, else 1.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.call(cmd.Context(), func(ctx context.Context, client *dbusapi.Client) error {
				properties, err := client.Properties(ctx)
				if err != nil {
					return err
				}
				return a.printStatus(properties)
			})
		},
	}
}

func (a *app) printStatus(p hub.Options) error {
	number := func(name string) uint64 {
		v, _ := p.Get(name)
		return v.Uint()
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { _, _ = fmt.Fprintf(w, name+":\t"+format+"\n", args...) }
	row("Service", "running, version %s, on bus %s", p.Text("Version"), a.bus)
	if oldest, last := number("OldestSequence"), number("LastSequence"); last < oldest {
		row("Events", "%d so far, none kept", last)
	} else {
		row("Events", "%d so far, %d to %d kept", last, oldest, last)
	}
	kept := "no: they are in memory only, and lost when the service ends"
	if durable, _ := p.Get("Durable"); durable.Bool() {
		kept = "yes"
	}
	row("Durable", "%s", kept)
	row("Epoch", "%s", p.Text("Epoch"))
	row("Interfaces", "%d", number("InterfaceCount"))
	row("Containers", "%d", number("ContainerCount"))
	missing, _ := p.Get("Missing")
	for _, line := range missing.Items() {
		row("Missing", "%s", printable(line.Text()))
	}
	counters, _ := p.Get("Counters")
	for items := counters.Items(); len(items) >= 2; items = items[2:] {
		row("  "+strings.ReplaceAll(items[0].Text(), "_", " "), "%d", items[1].Uint())
	}
	return w.Flush()
}
