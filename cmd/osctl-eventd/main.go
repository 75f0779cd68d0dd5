// Command osctl-eventd is the event service of a container host. It watches the host's veths
// and containers, accepts reports from other daemons, and publishes all events on D-Bus as
// org.osctl.Eventd. README.md at the top of the tree explains how to use it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/cmd/internal/buildversion"
)

// version is set by the linker (see the Makefile), otherwise by main.
var version string

// Exit statuses other than 0.
const (
	exitFailure = 1
	exitUsage   = 2
)

// Linux prefers the first thread of a process for its signals (complete_signal in kernel/signal.c). If that
// thread hung in a write to a disk, SIGTERM would wait for the disk. So the main goroutine, which never
// writes to one, keeps the thread for itself.
func init() { runtime.LockOSThread() }

func main() {
	version = buildversion.Of(version)
	// A secret is redacted from an event, but stays in memory until its message is freed. So the
	// process dumps no core, and only CAP_SYS_PTRACE may read its memory. The call cannot fail
	// with these arguments, see prctl(2).
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	signal.Ignore(syscall.SIGPIPE) // or a reader of the log that ends would end the service
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, isJournal(os.Stderr)))
}

// run is main without the process: it returns the exit status. If journal is set, log lines
// carry their priority for the journal.
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
	// After the first signal the default action is restored, so a second one kills.
	context.AfterFunc(ctx, stop)

	lines := newLogQueue(stderr, newLogger(stderr, opts.logLevel, journal))
	defer lines.close()
	log := newLogger(lines, opts.logLevel, journal)
	if err := serve(ctx, opts, log, stdout); err != nil && !errors.Is(err, context.Canceled) {
		log.Error("osctl-eventd failed", errorAttr(err))
		return exitFailure
	}
	return 0
}
