package main

import (
	"errors"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"github.com/osctl/eventd/cmd/internal/eventflags"
	"github.com/osctl/eventd/hub"
)

const runLong = `Run a command for each event, one after the other, until it is interrupted.
Arguments before -- and flags select events as for monitor; without --since or
a cursor file it begins with the next event.

The command gets the event on standard input, as the line that monitor --json
prints, and in its environment: EVENT_TYPE, EVENT_ACTION (or the new state),
EVENT_POOL, EVENT_ID, EVENT_NAME (of the interface inside), EVENT_VETH,
EVENT_SOURCE, EVENT_SEQ (number), EVENT_TIME and EVENT_CURSOR; each is there,
and empty where the event has none. Nothing of an event is ever part of the
command line, and no shell is started: names come from containers, and a script
has to quote them ("$EVENT_NAME"). With --batch N the command gets up to N
events that are there already, a line each, and of the environment only
EVENT_COUNT and the EVENT_CURSOR of the last one. Its output goes where that of
run goes.

With --cursor-file no event is left out, whatever is killed or restarted: the
cursor moves past an event after the command ended with status 0, and is on the
disk before the next event. An event whose command was running when run was
killed is handled again by the next run, so the command must be safe to repeat.
When run is interrupted, or the command exceeds --timeout, the command and its
process group get SIGTERM, and SIGKILL 10 seconds later; if run is killed, the
command gets SIGKILL.

A command that fails is run again up to --retry times, after 1 second, then 2,
up to a minute. If that does not help, run ends, and the cursor stays before
the event (--on-failure stop), or run reports it and goes on (--on-failure
skip).

A down event that only says that the interface passed to another container
(handover) is passed over unless --handover is given, because the interface
worked all the time. The up event of its new owner is not: for that container
there may be no other one.

The unit osctl-eventctl-run@NAME.service runs a command in this way, as root,
with the options and the command that /etc/osctl-eventctl/NAME.conf gives. Copy
the example from /usr/share/doc/osctl-eventd/examples/run-backup.conf.

Exit status: 0 if it ended as asked, also when interrupted; 1 on an error; 4 if
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
			a.grace.Store(int64(termTime + orderly))
			return s.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	flags.Add(f)
	f.StringVar(&flags.since, "since", "", "begin at `MOMENT`, if the cursor file holds no cursor: "+eventflags.MomentForms)
	f.StringVar(&flags.cursorFile, "cursor-file", "", "go on where `FILE` says that the last run stopped, and keep it up to date")
	f.BoolVar(&flags.noFollow, "no-follow", false, "end with the newest event there is; without --since begin with the oldest")
	f.Var(&flags.batch, "batch", "give the command up to `COUNT` events at a time")
	f.Uint16Var(&flags.retry, "retry", 0, "run a command that failed up to `COUNT` times more")
	f.StringVar(&flags.onFailure, "on-failure", onFailureStop, "when the command failed for good, `stop|skip`: end, or go on with the next event")
	f.Var(&flags.timeout, "timeout", "end a command that takes longer than `DURATION`, like 30s or 5m; it counts as failed")
	f.BoolVar(&flags.handover, "handover", false, "also for down events of interfaces that passed to another container")
	a.completeFlags(cmd)
	return cmd
}

// Values of --on-failure.
const (
	onFailureStop = "stop"
	onFailureSkip = "skip"
)

// newRun checks the flags and makes a stream of them that runs the command.
func (a *app) newRun(flags *runFlags, args, command []string, now time.Time) (s *stream, err error) {
	if flags.targets, err = parseTargets(args); err != nil {
		return nil, err
	}
	if err := errors.Join(flags.Check(), oneOf("on-failure", []string{flags.onFailure}, onFailureStop, onFailureSkip)); err != nil {
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
	if err := s.beginAt(flags.since, now); err != nil || flags.cursorFile == "" {
		return s, err
	}
	return s, s.beginAtFile(flags.cursorFile)
}
