package main

import (
	"bufio"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/osctl/eventd/dbusapi"
	"github.com/osctl/eventd/hub"
)

func (a *app) monitor() *cobra.Command {
	var (
		asJSON         bool
		types, ids     []string
		monitorExample = `  osctl-eventctl monitor
  osctl-eventctl monitor --type ct_netif --id 101 --id 102
  osctl-eventctl monitor --json | jq -c 'select(.type == "state")'`
	)
	cmd := &cobra.Command{
		Use:     "monitor",
		Short:   "Show events as they come",
		Long:    "Show events as they come, one line each, until it is interrupted.\nIt pulls them, so none is missed: if any are lost all the same, as after a restart of\nthe service, it says so on stderr.",
		Example: monitorExample,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := filterOf(map[string][]string{"type": types, "id": ids})
			if err != nil {
				return err
			}
			return a.follow(cmd.Context(), filter, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	cmd.Flags().StringArrayVar(&types, "type", nil, "only events of this `TYPE`; may be given several times")
	cmd.Flags().StringArrayVar(&ids, "id", nil, "only events of the container with this `ID`; may be given several times")
	return cmd
}

// filterOf makes a filter of the keys that have values.
func filterOf(keys map[string][]string) (hub.Filter, error) {
	var filter hub.Filter
	for key, values := range keys {
		if len(values) == 0 {
			continue
		}
		var err error
		if filter, err = filter.With(key, values...); err != nil {
			return filter, err
		}
	}
	return filter, nil
}

// follow prints events until ctx is done.
func (a *app) follow(ctx context.Context, filter hub.Filter, asJSON bool) error {
	address, err := a.address()
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(a.out, 64<<10)
	return dbusapi.Follow(ctx, dbusapi.Follower{Address: address, Filter: filter}, func(u dbusapi.Update) error {
		switch {
		case u.Down != nil:
			a.say("%s; waiting for it to come back", dbusapi.Explain(u.Down, a.bus))
		case u.Up:
			a.say("osctl-eventd is back")
		case u.Gone != nil:
			a.say("events were lost: %s", dbusapi.Explain(u.Gone, a.bus))
		}
		return printEvents(out, u, asJSON)
	})
}

// say tells the person at the terminal something that is no event.
func (a *app) say(format string, args ...any) {
	_, _ = fmt.Fprintf(a.err, "osctl-eventctl: "+format+"\n", args...)
}

func printEvents(out *bufio.Writer, u dbusapi.Update, asJSON bool) error {
	if len(u.Events) == 0 {
		return nil
	}
	epoch, _, err := hub.ParseCursor(u.Cursor)
	if err != nil {
		return err
	}
	var line []byte
	for _, event := range u.Events {
		line = line[:0]
		if asJSON {
			line = event.AppendJSON(line, epoch)
		} else {
			line = appendLine(line, event)
		}
		if _, err := out.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return out.Flush()
}
