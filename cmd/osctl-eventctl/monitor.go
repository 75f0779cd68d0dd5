package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/osctl/eventd/cmd/internal/cursorfile"
	"github.com/osctl/eventd/cmd/internal/eventflags"
	"github.com/osctl/eventd/cmd/internal/terminal"
	"github.com/osctl/eventd/hub"
)

const monitorLong = `Show events as they come, one line each, until the command is interrupted.
Arguments select events of containers, or of interfaces by their names inside;
any argument may match. If a flag is given several times, any of its values may
match; all flags must match. osctl-eventctl events is short for monitor
--no-follow: it shows the kept events, and ends.

` + nameHelp + `

The service itself makes two types of events: ct_netif, with the action up,
down or rename, when an interface changes, and state, whose action is the new
state, when a container starts, is frozen or stops. Managers of containers,
such as osctld, report these and others; org.osctl.Eventd(5) lists the types.

If a manager reports the up and down of interfaces, each event comes twice,
because the service also sees it in the kernel. Use --source netlink to get
each event once.

With --format a Go template (https://pkg.go.dev/text/template) formats each
event. The fields are .Type, .Action, .Pool, .ID, .Name, .Veth, .Source, .Seq,
.Time and .Cursor. An option is .Opts.NAME, and the whole event is {{json .}}.
Control characters in fields are escaped.

The command skips no event that the service keeps. It survives restarts of the
service and of the bus. It reports on stderr when they go away and come back,
and within ten seconds when they hang. If the service accepts no more waiting
calls, the command says so, and asks once a second. If the service no longer
keeps some of the events, the command reports on stderr how many were lost
("lost 12 events: ..."), continues with the oldest kept event, and ends with
status 4.

With --cursor-file the command continues where the last run stopped. If the
file is missing or empty, the command begins at --since. It writes and syncs
the file after it has written the events to stdout, so a crash may repeat some
events, but skips none. If stdout is a pipe and the consumer fails, the events
in the pipe are lost; use the command run to move the cursor only after an
event was handled. With --no-follow -n COUNT the command shows the COUNT oldest
events after the cursor.

The command follows a link to the cursor file only if the link belongs to the
user or to root. It fails while another run uses the file.

Exit status: 0 if it ended as asked or was interrupted; 1 on an error; 4 if
events were lost. SIGPIPE ends it when the reader of its output is gone.`

const monitorExample = `  osctl-eventctl monitor
  osctl-eventctl monitor tank:101 tank:102/eth0
  osctl-eventctl monitor podman:web
  osctl-eventctl monitor --type ct_netif --action up --action down --source netlink
  osctl-eventctl monitor --type state,db --since 10m
  osctl-eventctl events -n 20
  osctl-eventctl events --since today --format '{{.Time}} {{.Type}} {{.Pool}}:{{.ID}} {{.Opts.ifindex}}'
  osctl-eventctl monitor --json --cursor-file /var/lib/backup/cursor --no-follow
  osctl-eventctl monitor --json | jq -ac 'select(.type == "state")'`

// monitorFlags are the flags of monitor, as given.
type monitorFlags struct {
	selection
	since, until, cursorFile, format string

	noFollow, json bool
	count          countFlag
}

func (a *app) monitor() *cobra.Command {
	var flags monitorFlags
	cmd := &cobra.Command{
		Use:               "monitor [POOL:ID | POOL:ID/INTERFACE]...",
		Short:             "Show events as they come",
		Aliases:           []string{"events"},
		Long:              monitorLong,
		Example:           monitorExample,
		ValidArgsFunction: a.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			flags.noFollow = flags.noFollow || cmd.CalledAs() == "events"
			s, err := a.newStream(&flags, args, time.Now())
			if err != nil {
				return err
			}
			defer terminal.WatchHangup(a.out.File)()
			return s.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	flags.Add(f)
	f.StringVar(&flags.since, "since", "", "begin at `MOMENT`: "+eventflags.MomentForms)
	f.StringVar(&flags.until, "until", "", "end at `MOMENT`, as for --since; +10m is 10 minutes from now")
	f.BoolVar(&flags.noFollow, "no-follow", false, "end with the newest event; without --since begin with the oldest")
	f.VarP(&flags.count, "lines", "n", "end after `COUNT` events; with --no-follow, show the newest COUNT events; with --cursor-file as well, the oldest COUNT after the cursor")
	f.StringVar(&flags.cursorFile, "cursor-file", "", "keep the position in `FILE`, and continue where the last run stopped")
	f.BoolVar(&flags.json, "json", false, "print one JSON object a line")
	f.StringVar(&flags.format, "format", "", "print each event with this `TEMPLATE`")
	markExclusive(cmd, "json", "format")
	a.completeFlags(cmd)
	return cmd
}

// newStream checks the flags, and returns a stream that prints events.
func (a *app) newStream(flags *monitorFlags, args []string, now time.Time) (*stream, error) {
	var err error
	if flags.targets, err = parseTargets(args); err != nil {
		return nil, err
	}
	if err := flags.Check(); err != nil {
		return nil, err
	}
	s := &stream{app: a, selection: flags.selection, finite: flags.noFollow, count: int(flags.count)}
	p := newPrinter(a.out, flags.json, now)
	s.sink = p
	if flags.format != "" {
		if p.format, err = parseFormat(flags.format); err != nil {
			return nil, err
		}
	}
	if s.filter, err = flags.filter(); err != nil {
		return nil, err
	}
	if err := s.setUntil(flags.until, now); err != nil {
		return nil, err
	}
	s.tail = s.finite && s.count > 0 && flags.cursorFile == ""
	return s, s.setStart(flags, now)
}

// setUntil parses --until.
func (s *stream) setUntil(text string, now time.Time) error {
	if text == "" {
		return nil
	}
	until, err := eventflags.ParseMoment(text, now)
	if err != nil {
		return fmt.Errorf("--until %w", err)
	}
	switch {
	case until.Cursor == hub.CursorOldest:
		return fmt.Errorf("--until %s: nothing comes before that", until.Cursor)
	case until.Cursor != "":
		s.untilCursor = until.Cursor
	default:
		s.until = until.Time
		s.finite = s.finite || !until.Time.After(now)
	}
	return nil
}

// setStart sets where the stream begins.
func (s *stream) setStart(flags *monitorFlags, now time.Time) error {
	if s.finite {
		s.cursor = hub.CursorOldest
	}
	err := s.setSince(flags.since, now)
	switch {
	case err != nil:
		return err
	case flags.cursorFile != "":
	case !s.until.IsZero() && s.since.After(s.until):
		return fmt.Errorf("--since %s is after --until %s: no event is between them", flags.since, flags.until)
	default:
		return nil
	}
	if s.app.out.Closed() {
		return errors.New("standard output is closed, so the cursor would skip events; to skip them on purpose, write to /dev/null")
	}
	return s.openCursorFile(flags.cursorFile)
}

// setSince parses --since.
func (s *stream) setSince(text string, now time.Time) error {
	if text == "" {
		return nil
	}
	since, err := eventflags.ParseMoment(text, now)
	if err != nil {
		return fmt.Errorf("--since %w", err)
	}
	if s.finite && since.Time.After(now) {
		return fmt.Errorf("--since %s is in the future: no event is that new", text)
	}
	s.cursor, s.since = since.Cursor, since.Time
	if s.cursor == "" {
		s.cursor = hub.CursorOldest // showEvent skips the events before that time
	}
	return nil
}

// openCursorFile opens the cursor file. A cursor in it takes precedence over --since.
func (s *stream) openCursorFile(path string) (err error) {
	if s.file, err = cursorfile.Open(path, checkCursor); err != nil {
		return err
	}
	if kept := s.file.Cursor(); kept != "" {
		s.cursor, s.since = kept, time.Time{}
	}
	return nil
}

func checkCursor(text string) error {
	_, _, err := hub.ParseCursor(text)
	return err
}
