package main

import (
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/osctl/eventd/cmd/internal/terminal"
	"github.com/osctl/eventd/dbusapi/client"
)

// app is the state that all commands share.
type app struct {
	bus           string // as given
	out, err      *terminal.Output
	endless       atomic.Bool  // an interrupt is the normal end of the command
	lost          atomic.Bool  // events were lost
	commandFailed atomic.Bool  // run skipped an event
	grace         atomic.Int64 // how long an interrupted command may take to end, if more than exitGrace
}

// interruptStatus returns the exit status of an interrupted command.
func (a *app) interruptStatus() int {
	if a.endless.Load() {
		return a.resultStatus()
	}
	return exitInterrupted
}

// resultStatus returns the exit status of a stream that ended as asked: 0 if every event was handled.
func (a *app) resultStatus() int {
	switch {
	case a.lost.Load():
		return exitLost
	case a.commandFailed.Load():
		return exitCommandFailed
	}
	return 0
}

func (a *app) root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "osctl-eventctl",
		Short: "Follow and report events of containers on this host",
		Long: `osctl-eventctl shows what happens to the containers on this host and to their
network interfaces, and reports events. It talks to osctl-eventd over D-Bus.
Reading needs root or the group osctl-eventd, and reporting needs root, unless
the policy of the bus says otherwise.

POOL:ID names a container, like tank:101. POOL:ID/INTERFACE names an interface
by its name inside the container, like tank:101/eth0. The pool ends at the
first colon, and the interface begins after the last slash. If the id has a
slash, or the pool a colon, use the flags --pool and --id instead.

osctl-eventd-recipes(7) has complete recipes, such as to run a script on an
event, to back up a container, or to write metrics.`,
		Example: `  osctl-eventctl monitor tank:101
  osctl-eventctl events --since 1h tank:101
  osctl-eventctl list --watch
  osctl-eventctl wait tank:101 running --timeout 30s
  osctl-eventctl run --type state --action running tank:101 -- /usr/local/bin/backup`,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,

		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return refuseEmpty(cmd.Flags()) },
	}
	cmd.SetOut(a.out)
	cmd.SetErr(a.err)
	cmd.SetFlagErrorFunc(flagError)
	cmd.SetHelpCommand(help())
	cmd.PersistentFlags().StringVar(&a.bus, "bus", client.BusSystem,
		"`BUS` of osctl-eventd: system, session, or an address")
	cmd.SetUsageTemplate(strings.ReplaceAll(cmd.UsageTemplate(), ".FlagUsages", ".FlagUsagesWrapped 80"))
	a.completeFlags(cmd)
	cmd.AddCommand(a.monitor(), a.run(), a.list(), a.containers(), a.top(), a.show(), a.wait(), a.report(), a.status(), a.completion())
	return cmd
}

// help replaces cobra's command, and fails for an unknown command.
func help() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show the help of a command",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, c := range cmd.Root().Commands() {
				if c.IsAvailableCommand() && len(args) == 0 {
					names = append(names, c.Name())
				}
			}
			return filterPrefix(names, word), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			found, rest, err := cmd.Root().Find(args)
			if err == nil && len(rest) > 0 {
				err = fmt.Errorf("argument %q: expected only a command", rest[0])
			}
			if err != nil {
				return err
			}
			return found.Help()
		},
	}
}
