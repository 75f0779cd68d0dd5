// Command osctl-eventd-nats is the bridge from osctl-eventd to NATS JetStream. It forwards the
// events of this host to a stream with the events of a whole fleet, and shows that stream.
// osctl-eventd-nats(8) describes it. The bridge is an ordinary D-Bus client of osctl-eventd.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/osctl/eventd/cmd/internal/buildversion"
	"github.com/osctl/eventd/cmd/internal/terminal"
	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/forward"
)

// version is set by the linker (see the Makefile), otherwise by main.
var version string

// Exit statuses other than 0.
const (
	exitFailure = 1
	exitFenced  = 3 // forward: another machine writes under this host's name
)

// stopTimeout limits a clean stop. Nothing depends on a clean stop, because the bridge may be killed
// at any time.
const stopTimeout = 5 * time.Second

func main() {
	version = buildversion.Of(version)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(ctx, func() {
		stop() // the second signal kills
		time.AfterFunc(stopTimeout, func() { os.Exit(0) })
	})
	os.Exit(run(ctx, os.Args[1:], terminal.NewOutput(os.Stdout), terminal.NewOutput(os.Stderr)))
}

// run is main without the process: it returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr *terminal.Output) int {
	root := rootCommand(stdout, stderr) //nolint:contextcheck // cobra hands the context to the commands
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if status, ok := errors.AsType[statusError](err); ok {
		return int(status)
	}
	_, _ = fmt.Fprintf(stderr, "osctl-eventd-nats: %v\n", err)
	if _, ok := errors.AsType[*forward.FenceError](err); ok {
		return exitFenced
	}
	return exitFailure
}

func rootCommand(stdout, stderr *terminal.Output) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "osctl-eventd-nats",
		Short: "Collect the events of many hosts in one NATS JetStream stream",
		Long: `osctl-eventd-nats forwards the events of this host's osctl-eventd to a JetStream stream
with the events of a whole fleet, and shows that stream. Each event is in the stream once
and in order; otherwise a record in its place says which events are missing.`,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.AddCommand(forwardCommand(stderr), setupCommand(stdout), hostsCommand(stdout), watchCommand(stdout, stderr))
	return cmd
}
