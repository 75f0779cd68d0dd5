package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/osctl/eventd/dbusapi"
)

func (a *app) report() *cobra.Command {
	return &cobra.Command{
		Use:   "report TYPE KEY=TEXT|KEY:=JSON...",
		Short: "Report an event",
		Long:  "Report an event and print the number that it was given. KEY=TEXT is\na string; KEY:=JSON is a number, a boolean, a list or an object.\nIt needs the right to report: that of root, unless the policy of the bus says otherwise.",
		Example: `  osctl-eventctl report state pool=tank id=101 state=running
  osctl-eventctl report ct_init_pid pool=tank id=101 init_pid:=4711
  osctl-eventctl report management id:=7 cmd=ct_start opts:='{"id": "101"}' state=run
  osctl-eventctl report backup_done pool=tank id=101 snapshot=2026-11-22`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("which event? Expected a TYPE, like state, and KEY=TEXT for its options; see osctl-eventctl report --help")
			}
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
