package main

import (
	"errors"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"github.com/osctl/eventd/cmd/internal/eventflags"
	"github.com/osctl/eventd/hub"
)

const runLong = `Run a command for each event, one after the other, until run is interrupted.
Arguments before -- and flags select events as for monitor. Without --since and
without a cursor file run begins with the next event.

The command gets the event on standard input, as the line that monitor --json
prints, and in environment variables: EVENT_TYPE, EVENT_ACTION (or the new
state), EVENT_POOL, EVENT_ID, EVENT_NAME (of the interface inside), EVENT_VETH,
EVENT_SOURCE, EVENT_SEQ (number), EVENT_TIME and EVENT_CURSOR. A variable is
empty if the event has no such value. run starts no shell and puts nothing of
an event into the command line. Names come from containers, so a script must
quote them ("$EVENT_NAME"). The command writes to the stdout and stderr of run.

With --batch the command gets up to COUNT pending events, one a line. Its
environment has only EVENT_COUNT and the EVENT_CURSOR of the last event.

With --cursor-file no event is skipped, whatever is killed or restarted: when
the command ends with status 0, run moves the cursor past the event, and syncs
it to the disk before the next event. If run is killed while the command runs,
the next run handles the event again, so the command must be safe to repeat. If
the service has lost a part of its history, as it may when the machine loses
power, run cannot tell which of the kept events it has handled, and handles all
of them.

When run is interrupted, or the command exceeds --timeout, the process group of
the command gets SIGTERM, and SIGKILL 10 seconds later. If run is killed, the
command gets SIGKILL.

If the command fails, run repeats it up to --retry times, after 1 second, then
2, up to a minute. If it still fails, run ends and the cursor stays before the
event (--on-failure stop), or run reports the failure and continues
(--on-failure skip).

An interface that passes to another container (handover) keeps working. So run
skips the down event of the old owner unless --handover is given. It does not
skip the up event of the new owner, which may be the only one.

The unit osctl-eventctl-run@NAME.service runs a command in this way, as root.
It reads the options and the command from /etc/osctl-eventctl/NAME.conf;
/usr/share/doc/osctl-eventd/examples/run-backup.conf is an example.

Exit status: 0 if it ended as asked or was interrupted; 1 on an error; 4 if
events were lost, because the service no longer keeps them; 5 if the command
failed for an event.`

// runFlags are the flags of run, as given.
type runFlags struct {
	selection
	since, cursorFile string
	noFollow          bool
	batch             countFlag
	retry             uint16
	onFailure         string
	handover          bool
	timeout           durationFlag
}

func (a *app) run() *cobra.Command {
	var flags runFlags
	cmd := &cobra.Command{
		Use:   "run [flags] [POOL:ID | POOL:ID/INTERFACE]... -- COMMAND [ARGUMENT]...",
		Short: "Run a command for each event",
		Long:  runLong,
		Example: `  osctl-eventctl run --type state --action running tank:101 -- /usr/local/bin/backup
  osctl-eventctl run --type ct_netif --action down -- sh -c 'logger "$EVENT_POOL:$EVENT_ID lost $EVENT_NAME"'
  osctl-eventctl run --cursor-file /var/lib/audit/cursor --retry 5 --batch 100 -- /usr/local/bin/upload
  osctl-eventctl run --cursor-file /var/lib/audit/cursor --no-follow --timeout 1m -- /usr/local/bin/audit`,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if cmd.ArgsLenAtDash() >= 0 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return a.completeTargets(cmd, args, word)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			at := cmd.ArgsLenAtDash()
			if at < 0 || at == len(args) {
				return errors.New("run which command? Expected it after --, as in: run --type state -- logger; see osctl-eventctl run --help")
			}
			s, err := a.newRun(&flags, args[:at], args[at:], time.Now())
			if err != nil {
				return err
			}
			a.grace.Store(int64(termTime + viewExitGrace))
			return s.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	flags.Add(f)
	f.StringVar(&flags.since, "since", "", "begin at `MOMENT`, if the cursor file has no cursor: "+eventflags.MomentForms)
	f.StringVar(&flags.cursorFile, "cursor-file", "", "keep the position in `FILE`, and continue where the last run stopped")
	f.BoolVar(&flags.noFollow, "no-follow", false, "end with the newest event; without --since begin with the oldest")
	f.Var(&flags.batch, "batch", "give the command up to `COUNT` events at a time")
	f.Uint16Var(&flags.retry, "retry", 0, "run a failed command again up to `COUNT` times")
	f.StringVar(&flags.onFailure, "on-failure", onFailureStop, "when a command has failed and no retry is left, end, or continue with the next event: `stop|skip`")
	f.Var(&flags.timeout, "timeout", "stop a command that takes longer than `DURATION`, like 30s or 5m; it counts as failed")
	f.BoolVar(&flags.handover, "handover", false, "also handle down events of interfaces that pass to another container")
	a.completeFlags(cmd)
	return cmd
}

// Values of --on-failure.
const (
	onFailureStop = "stop"
	onFailureSkip = "skip"
)

// newRun checks the flags, and returns a stream that runs the command.
func (a *app) newRun(flags *runFlags, args, command []string, now time.Time) (s *stream, err error) {
	if flags.targets, err = parseTargets(args); err != nil {
		return nil, err
	}
	if err := errors.Join(flags.Check(), checkChoice("on-failure", []string{flags.onFailure}, onFailureStop, onFailureSkip)); err != nil {
		return nil, err
	}
	program, err := exec.LookPath(command[0])
	if err != nil {
		return nil, err
	}
	s = &stream{app: a, selection: flags.selection, finite: flags.noFollow}
	if s.filter, err = flags.filter(); err != nil {
		return nil, err
	}
	s.sink = &runner{
		app: a, program: program, args: command, batch: int(flags.batch), retries: int(flags.retry),
		skip: flags.onFailure == onFailureSkip, handover: flags.handover, timeout: time.Duration(flags.timeout),
	}
	if s.finite {
		s.cursor = hub.CursorOldest
	}
	if err := s.setSince(flags.since, now); err != nil || flags.cursorFile == "" {
		return s, err
	}
	return s, s.openCursorFile(flags.cursorFile)
}
