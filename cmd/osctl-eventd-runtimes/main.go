// Command osctl-eventd-runtimes is the bridge from container runtimes to osctl-eventd. It reports the name of a
// container, its exit code and its health over D-Bus, as any other client. See osctl-eventd-runtimes(8).
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"github.com/osctl/eventd/cmd/internal/buildversion"
	"github.com/osctl/eventd/cmd/internal/sdnotify"
	"github.com/osctl/eventd/cmd/osctl-eventd-runtimes/internal/bridge"
	"github.com/osctl/eventd/dbusapi/client"
)

// version is set by the linker, see the Makefile, else by main.
var version string

// stopTimeout limits an orderly stop. The bridge may be killed at any time.
const stopTimeout = 5 * time.Second

func main() {
	version = buildversion.Of(version)
	signal.Ignore(syscall.SIGPIPE) // otherwise the bridge would end with the reader of its log
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(ctx, func() {
		stop() // the second signal kills
		time.AfterFunc(stopTimeout, func() { os.Exit(0) })
	})
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run runs the command, and returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := rootCommand(stderr) //nolint:contextcheck // cobra passes the context to the command
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		_, _ = fmt.Fprintf(stderr, "osctl-eventd-runtimes: %v\n", err)
		return 1
	}
	return 0
}

const rootLong = `osctl-eventd-runtimes is a bridge: it reports to osctl-eventd what container runtimes know.
ct_info has the name, the image and the labels of a container that was created, started or
renamed; ct_exit its exit code; ct_health the result of a health check. db says that a
container was created or removed. The bridge follows docker and podman through their
sockets, and the pods of Kubernetes through the directories of the kubelet. Each may start
and stop at any time.

systemd starts the bridge. It may be killed at any time, and still reports each exit once,
as long as the runtime has the event.`

func rootCommand(stderr io.Writer) *cobra.Command {
	var (
		config        bridge.Config
		bus, logLevel string
	)
	cmd := &cobra.Command{
		Use: "osctl-eventd-runtimes", Short: "Report the names of containers to osctl-eventd", Long: rootLong,
		Example: "  osctl-eventd-runtimes --docker \"\" --podman /run/podman/podman.sock",
		Version: version, Args: cobra.NoArgs, SilenceErrors: true, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			var level slog.Level
			if err := level.UnmarshalText([]byte(logLevel)); err != nil {
				return fmt.Errorf("--log-level %q: expected debug, info, warn or error", logLevel)
			}
			if config.Bus, err = client.ResolveAddress(bus); err != nil {
				return fmt.Errorf("--bus: %w", err)
			}
			if err := os.MkdirAll(config.StateDir, 0o700); err != nil {
				return fmt.Errorf("--state-dir: %w", err)
			}
			config.Log = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
			config.Status = func(text string) { sdnotify.Send(config.Log, sdnotify.Status(text)) }
			sdnotify.Send(config.Log, daemon.SdNotifyReady)
			defer sdnotify.Send(config.Log, daemon.SdNotifyStopping)
			bridge.Run(cmd.Context(), config)
			return nil
		},
	}
	cmd.CompletionOptions.DisableDefaultCmd = true
	stateDir := os.Getenv("STATE_DIRECTORY")
	if stateDir == "" {
		stateDir = "/var/lib/osctl-eventd-runtimes"
	}
	metricsFile := ""
	if dir := os.Getenv("RUNTIME_DIRECTORY"); dir != "" {
		metricsFile = filepath.Join(dir, "metrics.prom")
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&config.Docker, "docker", "/run/docker.sock", "`SOCKET` of docker; empty to leave docker out")
	f.StringVar(&config.Podman, "podman", "/run/podman/podman.sock", "`SOCKET` of podman; empty to leave podman out")
	f.StringVar(&config.Pods, "pods", "/var/log/pods", "`DIR` in which the kubelet keeps a directory for each pod; empty to leave pods out")
	f.StringVar(&bus, "bus", client.BusSystem, "`BUS` of osctl-eventd: system, session, or an address")
	f.StringVar(&config.StateDir, "state-dir", stateDir, "`DIR` of the files with the time up to which events of docker and of podman were handled")
	f.StringVar(&config.MetricsFile, "metrics-file", metricsFile, "keep metrics in the text format of Prometheus in this `FILE` while the bridge runs")
	f.StringVar(&logLevel, "log-level", "info", "log messages of this `LEVEL` and above: debug, info, warn, error")
	return cmd
}
