package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/osctl/eventd/cmd/internal/terminal"
	fullscreen "github.com/osctl/eventd/cmd/osctl-eventctl/internal/screen" // the tests have a type screen
	"github.com/osctl/eventd/cmd/osctl-eventctl/internal/top"
)

const topLong = `Show on one screen the state of the service, the rate of events of each type,
the interfaces and containers, those in trouble first, and the newest events.

In trouble are interfaces that are down, have no carrier or have no known
container, and containers that failed or are changing their state. Stopped
containers are hidden. SINCE shows how long an interface, or a container
without interfaces, has been in its state. If events are missing, a line in
their place says how many.

Keys: arrows, page up and page down move; Enter shows the history of the
selected container, Esc returns to all events; / filters, t shows only trouble,
and Esc ends both; p pauses and resumes; y or c shows the monitor command for
the history, and copies it if the terminal supports that; q quits.

Exit status: 0 on success; 1 on an error.`

func (a *app) top() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show trouble and events on one screen",
		Long:  topLong,
		Example: `  osctl-eventctl top
  NO_COLOR=1 osctl-eventctl top`,
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return a.runTop(cmd.Context()) },
	}
	a.completeFlags(cmd)
	return cmd
}

func (a *app) runTop(ctx context.Context) error {
	if !a.out.Terminal {
		return errors.New("top needs a terminal; in a pipe, use monitor --json, or status --json")
	}
	address, err := a.address()
	if err != nil {
		return err
	}
	answered := make(chan struct{})
	state := top.NewState(time.Now())
	feed := &top.Feed{
		State: state, Address: address, Pulse: pulse, Answered: func() { close(answered) },
		Describe: func(err error) string { return terminal.Printable(a.describeOutage(err)) },
	}
	return a.runView(ctx, answered, func(ctx context.Context) error {
		screen, err := fullscreen.Open()
		if err != nil {
			return err
		}
		return top.New(state, feed.History, a.out.Colourful()).Run(ctx, screen)
	}, feed.Run)
}
