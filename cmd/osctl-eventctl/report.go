package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/osctl/eventd/dbusapi/client"
)

const reportLong = `Report an event and print its number. KEY=TEXT is a string; KEY:=JSON is a
number (1 is an integer, 1.0 a double), a boolean, a list or an object. Lists
and objects may be nested 4 deep. The command leaves out options, and keys of
objects, that are null.

With --batch, report the events in a file, or on standard input (-), and print
their numbers, one a line. A line is a JSON object {"type": TYPE, "opts":
{...}}, as monitor --json prints it; other keys are ignored. Duplicate keys and
half a surrogate pair are errors.

The command sends events in batches of at most 1,024. Events from a pipe do not
wait for a full batch. The service accepts a whole batch or nothing of it. If a
batch fails, the error names the line, and the last line of the batches before,
which stay reported. With --skip-invalid the command skips invalid events,
reports each on stderr, and ends with status 4.

Reporting needs root, unless the policy of the bus says otherwise.`

func (a *app) report() *cobra.Command {
	var (
		batch       string
		skipInvalid bool
	)
	cmd := &cobra.Command{
		Use:   "report TYPE KEY=TEXT|KEY:=JSON... | --batch FILE|-",
		Short: "Report one or more events",
		Long:  reportLong,
		Example: `  osctl-eventctl report state pool=tank id=101 state=running
  osctl-eventctl report ct_init_pid pool=tank id=101 init_pid:=4711
  osctl-eventctl report management id:=7 cmd=ct_start opts:='{"id": "101"}' state=run
  osctl-eventctl report backup_done pool=tank id=101 snapshot=2026-11-22
  echo '{"type":"state","opts":{"pool":"tank","id":"101","state":"stopped"}}' | osctl-eventctl report --batch -`,
		ValidArgsFunction: a.completeReport,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case batch != "" && len(args) > 0:
				return fmt.Errorf("argument %q: --batch reads all events from the file", args[0])
			case batch != "":
				return a.reportBatch(cmd.Context(), batch, skipInvalid)
			case skipInvalid:
				return errors.New("--skip-invalid needs --batch")
			case len(args) == 0:
				return errors.New("which event? Expected a TYPE, like state, and KEY=TEXT for its options; see osctl-eventctl report --help")
			}
			options, err := parseAssignments(args[1:])
			if err != nil {
				return err
			}
			return a.call(cmd.Context(), func(ctx context.Context, client *client.Client) error {
				seq, err := client.Report(ctx, args[0], options)
				if err != nil {
					return err
				}
				if _, err = fmt.Fprintln(a.out, seq); err != nil {
					return fmt.Errorf("the event was reported as number %d: %w", seq, err)
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&batch, "batch", "", "report the events in `FILE`, or on standard input if it is -, one JSON object a line")
	cmd.Flags().BoolVar(&skipInvalid, "skip-invalid", false, "with --batch: skip invalid events, report them on stderr, and end with status 4")
	return cmd
}
