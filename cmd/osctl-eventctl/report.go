package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/osctl/eventd/dbusapi"
	"github.com/osctl/eventd/hub"
)

func (a *app) report() *cobra.Command {
	return &cobra.Command{
		Use:   "report TYPE KEY=VALUE...",
		Short: "Report an event",
		Long:  "Report an event and print the number that it was given. Values are strings.\nIt needs the right to report: that of root, unless the policy of the bus says otherwise.",
		Example: `  osctl-eventctl report state pool=tank id=101 state=running
  osctl-eventctl report backup_done pool=tank id=101 snapshot=2026-11-22`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			options, err := parseAssignments(args[1:])
			if err != nil {
				return err
			}
			return a.call(cmd.Context(), func(ctx context.Context, client *dbusapi.Client) error {
				seq, err := client.Report(ctx, args[0], options)
				if err == nil {
					_, err = fmt.Fprintln(a.out, seq)
				}
				return err
			})
		},
	}
}

// parseAssignments reads KEY=VALUE arguments.
func parseAssignments(args []string) (hub.Options, error) {
	var options hub.Options
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("argument %q: expected KEY=VALUE, like pool=tank", arg)
		}
		options = append(options, hub.Option{Name: key, Value: hub.String(value)})
	}
	return options, nil
}
