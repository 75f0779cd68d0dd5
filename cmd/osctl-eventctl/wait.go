package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/osctl/eventd/dbusapi"
)

const waitLong = `Wait until a container is in one of the states given, or until an interface of it, named
as inside it, is up or down, and print the state that was reached.

The present state counts, so that there is no race: if it is reached already, wait ends
at once. The container need not exist yet, nor the interface. An interface is up when it
can be used: it is set up, and so is its other end; otherwise it is down, also if it does
not exist. A state that lasts only for a moment counts, too. It goes on over restarts of
the service and of the bus.

States are those that the container's manager reports; those of osctld are staged,
starting, running, stopping, stopped, aborting, freezing, frozen, thawed and error.

Exit status: 0 if it was reached; 3 if not within --timeout; 1 on an error; 130 when
interrupted.`

func (a *app) wait() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "wait POOL:ID STATE... | POOL:ID/INTERFACE up|down",
		Short: "Wait for a state of a container or an interface",
		Long:  waitLong,
		Example: `  osctl-eventctl wait tank:101 running --timeout 30s
  osctl-eventctl wait tank:101 stopped error
  osctl-eventctl wait tank:101/eth0 up && ssh root@ct101`,
		ValidArgsFunction: a.completeWait,
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := waitArgs(args)
			if err != nil {
				return err
			}
			if timeout < 0 {
				return fmt.Errorf("--timeout %v: expected a duration like 30s or 5m", timeout)
			}
			return a.await(cmd.Context(), t, args[1:], timeout)
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "give up after `DURATION`, like 30s or 5m; 0 waits for ever")
	return cmd
}

// waitArgs checks the arguments of wait.
func waitArgs(args []string) (target, error) {
	if len(args) == 0 {
		return target{}, errors.New("wait for what? Expected POOL:ID and a state, like tank:101 running, or POOL:ID/INTERFACE and up or down")
	}
	t, err := parseTarget(args[0])
	switch {
	case err != nil:
		return t, err
	case t.name == "" && len(args) == 1:
		return t, fmt.Errorf("which state of %s? Expected one or more, like running", t)
	case t.name != "" && (len(args) != 2 || args[1] != "up" && args[1] != "down"):
		return t, fmt.Errorf("which state of %s? Expected up or down", t)
	}
	return t, nil
}

func (a *app) await(ctx context.Context, t target, states []string, timeout time.Duration) error {
	address, err := a.address()
	if err != nil {
		return err
	}
	bounded := ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		bounded, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	reached := states[0]
	if t.name == "" {
		reached, err = dbusapi.AwaitState(bounded, address, t.pool, t.id, states...)
	} else {
		err = dbusapi.AwaitLink(bounded, address, t.pool, t.id, t.name, reached == "up")
	}
	switch {
	case err == nil:
		_, err = fmt.Fprintln(a.out, printable(reached))
		return err
	case ctx.Err() != nil:
		return &exitError{status: exitInterrupted}
	case bounded.Err() != nil:
		return &exitError{exitTimeout, fmt.Sprintf("%s was not %s within %v", t, strings.Join(states, " or "), timeout)}
	}
	return err
}
