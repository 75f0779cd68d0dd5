package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/osctl/eventd/dbusapi/client"
)

const waitLong = `Wait until a container is in one of the states given, or until an interface of it, named
as inside it, is up or down, and print the state that was reached.

The present state counts, so that there is no race: if it is reached already, wait ends
at once. The container need not exist yet, nor the interface. An interface is up when it
can be used: it is set up, and so is its other end; otherwise it is down, also if it does
not exist. A state that lasts only for a moment counts, too. It goes on over restarts of
the service and of the bus, and says so on stderr.

With --pool and --id in place of the first argument, and --name for an interface, any
container can be named, also one with a slash in its id.

States are those that the container's manager reports; those of osctld are staged,
starting, running, stopping, stopped, aborting, freezing, frozen, thawed and error.

Exit status: 0 if it was reached; 3 if not within --timeout; 1 on an error; 130 when
interrupted.`

// waitFlags are the flags of wait, as given.
type waitFlags struct {
	target
	byFlags bool // the target is given by flags
	timeout durationFlag
}

func (a *app) wait() *cobra.Command {
	var flags waitFlags
	cmd := &cobra.Command{
		Use:   "wait POOL:ID STATE... | POOL:ID/INTERFACE up|down",
		Short: "Wait for a state of a container or an interface",
		Long:  waitLong,
		Example: `  osctl-eventctl wait tank:101 running --timeout 30s
  osctl-eventctl wait tank:101 stopped error
  osctl-eventctl wait tank:101/eth0 up && ssh root@ct101
  osctl-eventctl wait --pool tank --id a/b --name eth0 up`,
		ValidArgsFunction: a.completeWait,
		RunE: func(cmd *cobra.Command, args []string) error {
			f := cmd.Flags()
			flags.byFlags = f.Changed("pool") || f.Changed("id") || f.Changed("name")
			if flags.byFlags && (flags.pool == "" || flags.id == "" || f.Changed("name") && flags.name == "") {
				return errors.New("--pool and --id name a container together, and none of them may be empty; --name is an interface of it")
			}
			t, states, err := flags.parse(args)
			if err != nil {
				return err
			}
			return a.await(cmd.Context(), t, states, time.Duration(flags.timeout))
		},
	}
	f := cmd.Flags()
	f.Var(&flags.timeout, "timeout", "give up after `DURATION`, like 30s, 5m or 1d; 0 waits for ever")
	f.StringVar(&flags.pool, "pool", "", "wait for a container of this `POOL`; needs --id, and takes the place of\nthe argument POOL:ID")
	f.StringVar(&flags.id, "id", "", "wait for the container with this `ID`; needs --pool")
	f.StringVar(&flags.name, "name", "", "wait for the interface with this `NAME` inside; needs --pool and --id")
	a.completeFlags(cmd)
	return cmd
}

// parse returns what to wait for: a target, and its states.
func (f *waitFlags) parse(args []string) (t target, states []string, err error) {
	t, states = f.target, args
	if !f.byFlags {
		if len(args) == 0 {
			return t, nil, errors.New("wait for what? Expected POOL:ID and a state, like tank:101 running, or POOL:ID/INTERFACE and up or down")
		}
		if t, err = parseTarget(args[0]); err != nil {
			return t, nil, err
		}
		states = args[1:]
	}
	switch {
	case t.name == "" && len(states) == 0:
		return t, nil, fmt.Errorf("which state of %s? Expected one or more, like running", t)
	case t.name != "" && (len(states) != 1 || states[0] != "up" && states[0] != "down"):
		err = fmt.Errorf("which state of the interface %s? Expected up or down", t)
		if !f.byFlags {
			err = fmt.Errorf("%w; %s", err, slashHint)
		}
		return t, nil, err
	}
	return t, states, nil
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
	await := client.Await{Address: address, Pool: t.pool, ID: t.id, Pulse: pulse, Notice: func(u client.Update) { a.sayDown(u) }}
	reached := states[0]
	if t.name == "" {
		reached, err = await.State(bounded, states...)
	} else {
		err = await.Link(bounded, t.name, reached == "up")
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
