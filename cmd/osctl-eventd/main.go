// Command osctl-eventd is the event service of a container host: it watches the
// host's veths, takes the reports of other daemons, and hands all events on over
// D-Bus as org.osctl.Eventd. README.md at the top of the tree tells how to use it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/cmd/internal/buildversion"
)

// version is set by the linker, see the Makefile, or else by main.
var version string

// Exit statuses beside 0. They follow sysexits(3) where systemd does, too.
const (
	exitFailure = 1
	exitUsage   = 2
)

func main() {
	version = buildversion.Of(version)
	// What was redacted from events stays in memory for as long as the text that it
	// came with: so no core of it, and nobody without CAP_SYS_PTRACE reads its memory. It
	// cannot fail with these arguments, see prctl(2).
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, toJournal(os.Stderr)))
}

// run is main without the process: it returns the exit status. Where stderr goes to the
// journal, lines say their priority.
func run(args []string, stdout, stderr io.Writer, journal bool) int {
	opts, err := parseOptions(args, stdout)
	switch {
	case errors.Is(err, errHelp):
		return 0
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "osctl-eventd: %v\nTry 'osctl-eventd --help'.\n", err)
		return exitUsage
	case opts.version:
		_, _ = fmt.Fprintln(stdout, "osctl-eventd "+version)
		return 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	// The second signal finds the default action again, and kills.
	context.AfterFunc(ctx, stop)

	log := newLogger(stderr, opts.logLevel, journal)
	if err := serve(ctx, opts, log, stdout); err != nil && !errors.Is(err, context.Canceled) {
		log.Error("osctl-eventd failed", errorAttr(err))
		return exitFailure
	}
	return 0
}
