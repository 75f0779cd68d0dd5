// Command osctl-eventctl is the command-line client of osctl-eventd. It shows events, containers,
// interfaces and the status of the service, waits for states, runs commands on events, and reports
// events. osctl-eventctl(1) describes it.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/osctl/eventd/cmd/internal/buildversion"
	"github.com/osctl/eventd/cmd/internal/terminal"
	"github.com/osctl/eventd/dbusapi/client"
)

// version is set by the linker (see the Makefile), otherwise by main.
var version string

// Exit statuses other than 0. The manual page and --help list them.
const (
	exitFailure       = 1 // the command failed, or the service does not run
	exitDegraded      = 2 // status: the service runs, but is degraded
	exitTimeout       = 3 // wait: the timeout expired
	exitLost          = 4 // monitor, run: events were lost; report: lines were skipped
	exitCommandFailed = 5 // run: the command failed for an event

	// exitInterrupted is what shells use for SIGINT. An interrupted command must not claim that a
	// state was reached, an event reported, or the service healthy.
	exitInterrupted = 130
)

// exitError ends the program with a certain status.
type exitError struct {
	status int
	text   string // printed on stderr; "" for nothing
}

func (e *exitError) Error() string { return e.text }

// exitGrace is how long an interrupted command may take to end cleanly. A write to a pipe
// whose reader has stopped would block for ever.
const exitGrace = 50 * time.Millisecond

// viewExitGrace is exitGrace for a full-screen view, which has to restore the terminal.
const viewExitGrace = time.Second

func main() {
	version = buildversion.Of(version)
	// The context is never stopped, because AfterFunc would take that for a signal.
	ctx, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	app := &app{out: terminal.NewOutput(os.Stdout), err: terminal.NewOutput(os.Stderr)}
	context.AfterFunc(ctx, func() {
		wait := max(exitGrace, time.Duration(app.grace.Load()))
		time.AfterFunc(wait, func() { os.Exit(app.interruptStatus()) })
	})
	os.Exit(run(ctx, app, os.Args[1:]))
}

// run is main without the process: it returns the exit status. SIGPIPE ends the process if the
// reader of its output is gone.
func run(ctx context.Context, app *app, args []string) int {
	root := app.root() //nolint:contextcheck // cobra hands the context to the commands
	root.SetArgs(args)
	if len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd) {
		unquoteUsage(root)
	}
	err := root.ExecuteContext(ctx)
	exit, ok := errors.AsType[*exitError](err)
	switch {
	case err == nil:
		return 0
	case ok:
		if exit.text != "" {
			app.warn("%s", exit.text)
		}
		return exit.status
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return app.interruptStatus()
	}
	app.warn("%s", client.Explain(err, app.bus))
	return exitFailure
}
