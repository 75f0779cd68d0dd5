package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/osctl/eventd/dbusapi/client"
)

const reportLong = `Report an event and print its number. KEY=TEXT is a string; KEY:=JSON is a
number (1 is an integer, 1.0 a double), a boolean, a list or an object. A null
means that the option, or the key of an object, is missing.

With --batch, report the events in a file, or on standard input (-), and print
their numbers, one a line. A line is a JSON object {"type": TYPE, "opts":
{...}}, as monitor --json prints it; other keys are ignored. An object must not
have a key twice, and a text must not have half of a surrogate pair.

Events are sent in batches of at most 1,024, from a pipe as soon as they come.
A batch is taken whole or not at all. If it fails, earlier batches stay
reported; the error names the line, and says up to which line events were
reported. With --skip-invalid, lines that are no valid event are skipped
instead, each with a message on stderr, and the exit status is 4.

Reporting needs root, unless the policy of the bus says otherwise.`

func (a *app) report() *cobra.Command {
	var (
		batch       string
		skipInvalid bool
	)
	cmd := &cobra.Command{
		Use:   "report TYPE KEY=TEXT|KEY:=JSON... | --batch FILE|-",
		Short: "Report an event, or many",
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
				return fmt.Errorf("argument %q: --batch takes its events from the file alone", args[0])
			case batch != "":
				return a.reportBatch(cmd.Context(), batch, skipInvalid)
			case skipInvalid:
				return errors.New("--skip-invalid goes with --batch")
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
					return fmt.Errorf("the event was reported, with number %d: %w", seq, err)
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&batch, "batch", "", "report the events in `FILE`, or on standard input if it is -, one JSON object a line")
	cmd.Flags().BoolVar(&skipInvalid, "skip-invalid", false, "with --batch: skip lines that are no valid event, report them on stderr, and end with status 4")
	return cmd
}
