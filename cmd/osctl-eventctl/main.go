// Command osctl-eventctl is the command line client of osctl-eventd: it shows
// events as they come, reports events, and tells how the service is.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/osctl/eventd/dbusapi"
)

// version is set by the linker, see the Makefile.
var version = "0.0.0-dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// run is main without the process: it returns the exit status, 0 if all went well
// or the user ended it, else 1. When nobody reads its output any more, SIGPIPE ends
// the process, as it does other tools.
func run(ctx context.Context, args []string) int {
	app := &app{out: os.Stdout, err: os.Stderr}
	root := app.root() //nolint:contextcheck // cobra hands the context to the commands
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil, errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return 0
	}
	_, _ = fmt.Fprintln(os.Stderr, "osctl-eventctl: "+dbusapi.Explain(err, app.bus))
	return 1
}
