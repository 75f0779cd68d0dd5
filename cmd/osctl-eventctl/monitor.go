package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

const monitorLong = `Show events as they come, one line each, until it is interrupted. Arguments name
containers, or interfaces of them as named inside; with several, events of any of them
are shown. Flags that are given several times mean any of their values; different flags
must all match.

It pulls the events, so none is missed: it survives restarts of the service and of the
bus, and says so on stderr; also, within ten seconds, that they do not answer. Where the
service lets no more programs wait, it says that it is busy, and asks it once a second. If
events are lost all the same, because the service no longer keeps them, it says on stderr
how many ("lost 12 events: ..."), goes on with the oldest that is kept, and ends with
status 4.

With --cursor-file it goes on where the last run stopped, or with --since where there is
no such file yet, or an empty one. The file is written after the events were written to
stdout, whole and to the disk: after a crash some events may come twice, none is left
out. Each time another file takes its place, with the same owner and mode; a user who may
not give a file that owner is refused. A link is followed if it is the user's own, or
root's. While one run uses the file, another one is refused, too.

Exit status: 0 if it ended as asked, also when interrupted; 1 on an error; 4 if events
were lost. When nobody reads its output any more, it ends by SIGPIPE.`

const monitorExample = `  osctl-eventctl monitor
  osctl-eventctl monitor tank:101 tank:102/eth0
  osctl-eventctl monitor --type ct_netif --action up --action down
  osctl-eventctl monitor --since 10m
  osctl-eventctl monitor --no-follow -n 20
  osctl-eventctl monitor --json --cursor-file /var/lib/backup/cursor --no-follow
  osctl-eventctl monitor --json | jq -ac 'select(.type == "state")'`

// monitorFlags are the flags of monitor, as given.
type monitorFlags struct {
	selection
	since, until, cursorFile string
	noFollow, json           bool
	count                    countFlag
}

func (a *app) monitor() *cobra.Command {
	var flags monitorFlags
	cmd := &cobra.Command{
		Use:               "monitor [POOL:ID | POOL:ID/INTERFACE]...",
		Short:             "Show events as they come",
		Long:              monitorLong,
		Example:           monitorExample,
		ValidArgsFunction: a.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.newStream(&flags, args, time.Now())
			if err != nil {
				return err
			}
			return s.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&flags.types, "type", nil, "only events of this `TYPE`; may be given several times, as the next ones")
	f.StringArrayVar(&flags.actions, "action", nil, "only events with this `ACTION`, or state")
	f.StringArrayVar(&flags.pools, "pool", nil, "only events of containers of this `POOL`")
	f.StringArrayVar(&flags.ids, "id", nil, "only events of the containers with this `ID`")
	f.StringVar(&flags.since, "since", "", "begin `THERE`: at a cursor, the oldest event kept (oldest), so long ago\n(90s, 10m, 2h, 1d), or at a time (15:04, 2006-01-02 15:04:05)")
	f.StringVar(&flags.until, "until", "", "end `THERE`: as for --since; +10m is so long from now")
	f.BoolVar(&flags.noFollow, "no-follow", false, "end with the newest event there is; without --since begin with the\noldest")
	f.VarP(&flags.count, "lines", "n", "end after `COUNT` events; with --no-follow show the newest COUNT")
	f.StringVar(&flags.cursorFile, "cursor-file", "", "go on where `FILE` says that the last run stopped, and keep it up to date")
	f.BoolVar(&flags.json, "json", false, "print one JSON object a line")
	a.completeFlags(cmd)
	return cmd
}

// typePattern is what the types of events match, see package hub: with another one
// nothing would ever be shown.
const typePattern = "[a-z][a-z0-9_]{0,63}"

var typeForm = regexp.MustCompile("^" + typePattern + "$") //nolint:gochecknoglobals // it does not change

// newStream checks the flags and makes a stream of them.
func (a *app) newStream(flags *monitorFlags, args []string, now time.Time) (*stream, error) {
	var err error
	if flags.targets, err = parseTargets(args); err != nil {
		return nil, err
	}
	s := &stream{app: a, selection: flags.selection, finite: flags.noFollow, count: int(flags.count)}
	s.printer = newPrinter(a.out, flags.json, now)
	if s.filter, err = flags.filter(); err != nil {
		return nil, err
	}
	for _, typ := range flags.types {
		if !typeForm.MatchString(typ) {
			return nil, fmt.Errorf("--type %q: expected a type that matches %s, like %s", typ, typePattern, hub.TypeNetif)
		}
	}
	if err := s.endAt(flags.until, now); err != nil {
		return nil, err
	}
	s.tail = s.finite && s.count > 0
	return s, s.begin(flags, now)
}

// endAt takes --until.
func (s *stream) endAt(text string, now time.Time) error {
	if text == "" {
		return nil
	}
	until, err := parseMoment(text, now)
	if err != nil {
		return fmt.Errorf("--until %w", err)
	}
	switch {
	case until.cursor == hub.CursorOldest:
		return fmt.Errorf("--until %s: nothing comes before that", until.cursor)
	case until.cursor != "":
		s.untilCursor = until.cursor
	default:
		s.until = until.time
		s.finite = s.finite || !until.time.After(now)
	}
	return nil
}

// begin finds out where to begin.
func (s *stream) begin(flags *monitorFlags, now time.Time) error {
	if s.finite {
		s.cursor = hub.CursorOldest
	}
	if flags.since != "" {
		since, err := parseMoment(flags.since, now)
		if err != nil {
			return fmt.Errorf("--since %w", err)
		}
		s.cursor, s.since = since.cursor, since.time
		if s.cursor == "" {
			s.cursor = hub.CursorOldest // and those before that time are passed over
		}
	}
	if flags.cursorFile == "" {
		return nil
	}
	if outputClosed(s.app.out.file) {
		return errors.New("standard output is closed: the cursor would move past events that nobody got; write to /dev/null to skip them")
	}
	var err error
	if s.file, err = openCursorFile(flags.cursorFile); err != nil {
		return err
	}
	if s.file.kept != "" {
		s.cursor, s.since = s.file.kept, time.Time{}
	}
	return nil
}

// newest asks for the cursor after the newest event there is.
func (a *app) newest(ctx context.Context) (cursor string, err error) {
	err = a.call(ctx, func(ctx context.Context, client *client.Client) error {
		properties, err := client.Properties(ctx)
		cursor = properties.Text("Cursor")
		return err
	})
	return cursor, err
}
