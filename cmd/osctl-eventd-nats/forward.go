package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"github.com/osctl/eventd/cmd/internal/sdnotify"
	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleet"
	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/forward"
	"github.com/osctl/eventd/dbusapi/client"
)

const forwardLong = `Forward the events of this host's osctl-eventd until the command is stopped. systemd
starts the command. It continues after the last event in the stream, so it may be killed
at any time. While NATS is unreachable, events wait in the history of osctl-eventd (its
option --history). If the history is too short for them, a _gap in the stream says which
events are lost.

The command ends with status 3 if another machine forwards under the same name, if this
machine is a copy of another machine or an older copy of itself, or if no bridge wrote
the host's last message. With --take-over it continues once in these cases, and writes a
_gap to the stream.`

const forwardExample = `  osctl-eventd-nats forward --server tls://nats.example.org --user node1 --credentials /etc/osctl-eventd-nats`

// forwardFlags are the flags of forward, as given.
type forwardFlags struct {
	serverFlags
	bus, host, stateDir, machineID, logLevel string
	alive                                    time.Duration
	takeOver                                 bool
}

func forwardCommand(stderr io.Writer) *cobra.Command {
	var flags forwardFlags
	cmd := &cobra.Command{
		Use: "forward", Short: "Forward the events of this host to the stream",
		Long: forwardLong, Example: forwardExample, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			signal.Ignore(syscall.SIGPIPE) // or a reader of the log that ends would end the bridge
			config, err := flags.config(stderr)
			if err != nil {
				return err
			}
			if config.Tick, err = tick(); err != nil {
				return err
			}
			config.Progress = func(status string) {
				sdnotify.Send(config.Log, daemon.SdNotifyWatchdog, sdnotify.Status(status))
			}
			sdnotify.Send(config.Log, daemon.SdNotifyReady, sdnotify.Status("Connecting")) // NATS may be away for hours
			defer sdnotify.Send(config.Log, daemon.SdNotifyStopping)
			return forward.Run(cmd.Context(), config)
		},
	}
	stateDir := os.Getenv("STATE_DIRECTORY")
	if stateDir == "" {
		stateDir = "/var/lib/osctl-eventd-nats"
	}
	f := cmd.Flags()
	f.SortFlags = false
	flags.add(f)
	f.StringVar(&flags.host, "host", "", "`NAME` of this host in the fleet; by default the short host name")
	f.StringVar(&flags.bus, "bus", client.BusSystem, "`BUS` of osctl-eventd: system, session, or an address")
	f.StringVar(&flags.stateDir, "state-dir", stateDir, "keep the state file in `DIR`")
	f.DurationVar(&flags.alive, "alive", 5*time.Minute,
		"`TIME` between two heartbeats; at most a third of the stream's max_age")
	f.BoolVar(&flags.takeOver, "take-over", false, "continue once, although another machine wrote the last message under this name")
	f.StringVar(&flags.machineID, "machine-id", "/etc/machine-id", "`FILE` that identifies this machine")
	f.StringVar(&flags.logLevel, "log-level", "info", "log messages of `LEVEL` and above: debug, info, warn, error")
	return cmd
}

// tick returns the time between two status lines, each of which feeds the watchdog.
func tick() (time.Duration, error) {
	const idle = 20 * time.Second // without a watchdog
	watchdog, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return 0, fmt.Errorf("parse the watchdog's interval: %w", err)
	}
	if watchdog > 0 {
		return min(idle, watchdog/4), nil
	}
	return idle, nil
}

// config checks the flags, and returns the configuration of the bridge.
func (f *forwardFlags) config(stderr io.Writer) (forward.Config, error) {
	none := forward.Config{}
	if err := f.check(); err != nil {
		return none, err
	}
	if f.alive < time.Second || f.alive > 24*time.Hour {
		return none, errors.New("--alive: expected 1s to 24h")
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return none, fmt.Errorf("--log-level %q: expected debug, info, warn or error", f.logLevel)
	}
	bus, err := client.ResolveAddress(f.bus)
	if err != nil {
		return none, fmt.Errorf("--bus: %w", err)
	}
	machine, err := forward.MachineID(f.machineID)
	if err != nil {
		return none, err
	}
	if f.host == "" {
		if f.host, err = shortHostName(); err != nil {
			return none, fmt.Errorf("%w; name it with --host", err)
		}
	}
	if err := fleet.CheckHost(f.host); err != nil {
		return none, fmt.Errorf("%w; name it with --host", err)
	}
	return forward.Config{
		Bus: bus, Access: f.Access, Stream: f.stream, Host: f.host, Machine: machine, Version: version,
		StateDir: f.stateDir, Alive: f.alive, TakeOver: f.takeOver,
		Log: slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level})),
	}, nil
}
