// Command osctl-eventctl is the command line client of osctl-eventd: it shows
// events, containers, interfaces and the status of the service, waits for a state, and
// reports events. osctl-eventctl(1) describes it.
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

// version is set by the linker, see the Makefile, or else by main.
var version string

// Exit statuses beside 0. The manual page and --help list them.
const (
	exitFailure  = 1 // it could not be done, or the service is not there
	exitDegraded = 2 // status: the service runs, but not as it should
	exitTimeout  = 3 // wait: not reached in time
	exitLost     = 4 // monitor, run: events were lost on the way
	exitUndone   = 5 // run: the command failed for an event

	// exitInterrupted is that of shells for SIGINT: an interrupted command must not claim
	// that a state was reached, an event reported, or the service healthy.
	exitInterrupted = 130
)

// exitError ends the program with a status of its own.
type exitError struct {
	status int
	text   string // said on stderr; "" for nothing
}

func (e *exitError) Error() string { return e.text }

// promptly is how long an interrupted program may take to end in order. A write to a pipe
// whose reader has stopped would block for ever.
const promptly = 50 * time.Millisecond

// orderly is the same for a live view, which has to give the terminal back.
const orderly = time.Second

func main() {
	version = buildversion.Of(version)
	// NotifyContext is never stopped: to AfterFunc that would look like a signal.
	ctx, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	app := &app{out: terminal.NewOutput(os.Stdout), err: terminal.NewOutput(os.Stderr)}
	context.AfterFunc(ctx, func() {
		wait := max(promptly, time.Duration(app.grace.Load()))
		time.AfterFunc(wait, func() { os.Exit(app.interrupted()) })
	})
	os.Exit(run(ctx, app, os.Args[1:]))
}

// run is main without the process: it returns the exit status. SIGPIPE ends the process when
// the reader of its output has gone, as it does other tools.
func run(ctx context.Context, app *app, args []string) int {
	root := app.root() //nolint:contextcheck // cobra hands the context to the commands
	root.SetArgs(args)
	if len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd) {
		plainUsage(root)
	}
	err := root.ExecuteContext(ctx)
	exit, ok := errors.AsType[*exitError](err)
	switch {
	case err == nil:
		return 0
	case ok:
		if exit.text != "" {
			app.say("%s", exit.text)
		}
		return exit.status
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return app.interrupted()
	}
	app.say("%s", client.Explain(err, app.bus))
	return exitFailure
}
