package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/gdamore/tcell/v2"
	"github.com/spf13/cobra"

	"github.com/osctl/eventd/cmd/internal/terminal"
	"github.com/osctl/eventd/cmd/osctl-eventctl/internal/top"
)

const topLong = `Show on one screen the state of the service, the rate of events of each type,
the interfaces and containers, those in trouble first, and the newest events.

In trouble are interfaces that are down or have no carrier, containers that
failed or are changing, and interfaces whose container is not known. Stopped
containers are left out. SINCE says how long the interface, or a container
without one, has been in its state. A line among the events says how many are
missing there.

Keys: arrows, page up and down move; Enter shows the history of the selected
container, Esc returns to all events; / filters, t shows only trouble, and Esc
ends both; p pauses and resumes; y or c shows the monitor command for the
history, and copies it where the terminal can; q quits.

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
	a.endless.Store(true)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// The terminal is taken over once the service has answered.
	answered, ended := make(chan struct{}), make(chan error, 1)
	state := top.NewState(time.Now())
	feed := &top.Feed{
		State: state, Address: address, Pulse: pulse, Answered: func() { close(answered) },
		Describe: func(err error) string { return terminal.Printable(a.describeOutage(err)) },
	}
	go func() {
		ended <- feed.Run(ctx)
		cancel()
	}()
	select {
	case <-answered:
	case err := <-ended:
		return err
	}
	screen, err := tcell.NewScreen()
	if err != nil {
		return fmt.Errorf("terminal %q: %w", os.Getenv("TERM"), err)
	}
	a.grace.Store(int64(orderly))
	err = top.New(state, feed.History, a.out.Colourful()).Run(ctx, screen)
	cancel()
	if fed := <-ended; err == nil && !errors.Is(fed, context.Canceled) {
		err = fed
	}
	return err
}
