package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/pflag"

	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/hub/eventlog"
)

// busPrivate is the --bus value that makes the daemon start its own bus.
const busPrivate = "private"

// defaultStateDir holds the log unless systemd or a flag names another directory.
const defaultStateDir = "/var/lib/osctl-eventd"

// errHelp is returned after the usage was printed.
var errHelp = errors.New("help requested")

// options are the flags of the daemon.
type options struct {
	bus      string
	stateDir string
	history  int
	logSize  byteSize
	logLevel slog.Level
	journal  bool
	version  bool
}

// journalDir returns the directory of the journal position, "" to keep none.
func (o options) journalDir() string {
	if o.stateDir == stateNone {
		return ""
	}
	return o.stateDir
}

// flagSet returns flags that store into opts and level. The manual page is generated from them.
func flagSet(opts *options, level *string) *pflag.FlagSet {
	opts.logSize = eventlog.DefaultMaxBytes
	stateDir := defaultStateDir
	if dir := os.Getenv("STATE_DIRECTORY"); dir != "" {
		stateDir = dir
	}
	flags := pflag.NewFlagSet("osctl-eventd", pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.SortFlags = false
	flags.StringVar(&opts.bus, "bus", wire.BusSystem,
		"`BUS` to serve on: system, session, private (starts a dbus-daemon of its own\nand prints its address), or an address")
	flags.StringVar(&opts.stateDir, "state-dir", stateDir,
		"keep the log in `DIR`, so that events survive a restart;\nnone keeps them in memory only")
	flags.IntVar(&opts.history, "history", hub.DefaultHistory, "keep the newest `N` events; fewer if they exceed both 64 MiB\nand N times 4 KiB of memory")
	flags.Var(&opts.logSize, "log-size", "limit the log to `SIZE`, as in 512K, 32M or 1G, and to half of the\ndisk space that is left for it")
	flags.StringVar(level, "log-level", "info", "log messages of `LEVEL` and above: debug, info, warn, error")
	flags.BoolVar(&opts.journal, "journal", false, "also write each event to systemd's journal,\nwith the fields OSCTL_TYPE, OSCTL_POOL, OSCTL_ID and more")
	flags.BoolVar(&opts.version, "version", false, "print the version and exit")
	return flags
}

// parseOptions reads the flags. For --help it prints the usage to stdout.
func parseOptions(args []string, stdout io.Writer) (options, error) {
	var opts options
	var level string
	flags := flagSet(&opts, &level)
	switch err := flags.Parse(args); {
	case errors.Is(err, pflag.ErrHelp):
		_, _ = fmt.Fprintf(stdout, "Usage: osctl-eventd [OPTION]...\nThe event service of a container host, on D-Bus as %s.\n\n%s", wire.Name, flags.FlagUsages())
		return opts, errHelp
	case err != nil:
		return opts, err
	case flags.NArg() > 0:
		return opts, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case opts.history < 1 || opts.history > hub.MaxHistory:
		return opts, fmt.Errorf("--history %d: expected 1 to %d events", opts.history, hub.MaxHistory)
	case opts.stateDir == "":
		return opts, errors.New("--state-dir is empty: expected a directory, or none")
	}
	if err := opts.logLevel.UnmarshalText([]byte(level)); err != nil {
		return opts, fmt.Errorf("--log-level %q: expected debug, info, warn or error", level)
	}
	if opts.bus != busPrivate {
		if _, err := wire.ResolveAddress(opts.bus); err != nil {
			return opts, fmt.Errorf("--bus: %w", err)
		}
	}
	return opts, nil
}
