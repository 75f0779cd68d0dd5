package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/osctl/eventd/cmd/internal/terminal"
	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

const statusLong = `Show the status of the service: its start time, whether events survive a
restart, which events it keeps, the number of interfaces and of containers that
are not stopped, what it lacks, such as a capability, and its counters.

Exit status: 0 if the service runs and is healthy; 1 if it does not run, or on
another error; 2 if it runs, but its history has a problem or it lacks
something.

With --metrics the command prints the same in the text format of Prometheus,
with the interfaces and containers by state, for the textfile collector of the
node exporter. osctl_eventd_up is 0 if the service does not run or does not
answer. On any other error, such as missing rights, the command prints only the
error. The unit osctl-eventd-metrics.timer writes a file for the collector
twice a minute.`

func (a *app) status() *cobra.Command {
	var asJSON, asMetrics bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the status of the service",
		Long:  statusLong,
		Example: `  osctl-eventctl status
  osctl-eventctl status --json | jq .counters
  osctl-eventctl status --metrics | sponge /var/lib/prometheus/node-exporter/osctl-eventd.prom
  systemctl enable --now osctl-eventd-metrics.timer`,
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.askStatus(cmd.Context())
			if err == nil && asMetrics {
				err = a.countStates(cmd.Context(), s)
			}
			if err != nil {
				s.Running, s.Error = false, client.Explain(err, a.bus)
			}
			var printErr error
			switch {
			case asMetrics && err != nil && !isDown(err): // the service may run
			case asMetrics:
				printErr = s.writeMetrics(a.out)
			case asJSON:
				encoder := json.NewEncoder(a.out)
				printErr = encoder.Encode(s)
			case err == nil:
				printErr = s.write(a.out)
			}
			if err = errors.Join(err, printErr); err == nil && !s.Healthy {
				return &exitError{status: exitDegraded}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.Flags().BoolVar(&asMetrics, "metrics", false, "print the text format of Prometheus")
	markExclusive(cmd, "json", "metrics")
	return cmd
}

// noArguments refuses arguments. [cobra.NoArgs] would report an unknown command.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("argument %q: %s takes only flags", args[0], cmd.Name())
	}
	return nil
}

// status is the status of the service, as --json prints it.
type status struct {
	Running    bool              `json:"running"`
	Healthy    bool              `json:"healthy"`
	Error      string            `json:"error,omitempty"` // why the service does not answer
	Bus        string            `json:"bus"`
	Version    string            `json:"version"`
	StartTime  time.Time         `json:"start_time,omitzero"`
	Durable    bool              `json:"durable"`
	LogProblem string            `json:"log_problem"`
	Epoch      string            `json:"epoch"`
	Oldest     uint64            `json:"oldest_sequence"`
	Last       uint64            `json:"last_sequence"`
	Cursor     string            `json:"cursor"`
	Interfaces uint64            `json:"interfaces"`
	Containers uint64            `json:"containers"`
	Missing    []string          `json:"missing"`
	Counters   map[string]uint64 `json:"counters"`

	linkStates, containerStates map[string]int // counts by state, for metrics only
}

// askStatus reads the status from the service. On an error the status says that it does not answer.
func (a *app) askStatus(ctx context.Context) (*status, error) {
	s := &status{Bus: a.busName(), Missing: []string{}, Counters: map[string]uint64{}}
	return s, a.call(ctx, func(ctx context.Context, client *client.Client) error {
		properties, err := client.Properties(ctx)
		if err == nil {
			s.setProperties(properties)
		}
		return err
	})
}

// setProperties sets the status from the properties of the service.
func (s *status) setProperties(p hub.Options) {
	number := func(name string) uint64 {
		v, _ := p.Get(name)
		return v.Uint()
	}
	durable, _ := p.Get("Durable")
	s.Running, s.Durable = true, durable.Bool()
	s.Version, s.Epoch, s.Cursor, s.LogProblem = p.Text("Version"), p.Text("Epoch"), p.Text("Cursor"), p.Text("LogProblem")
	s.Oldest, s.Last = number("OldestSequence"), number("LastSequence")
	s.Interfaces, s.Containers = number("InterfaceCount"), number("ContainerCount")
	if started := number("StartTime"); started > 0 {
		s.StartTime = time.UnixMicro(int64(started)).UTC() //nolint:gosec // a time of this era
	}
	missing, _ := p.Get("Missing")
	for _, line := range missing.Items() {
		s.Missing = append(s.Missing, line.Text())
	}
	counters, _ := p.Get("Counters")
	for items := counters.Items(); len(items) >= 2; items = items[2:] {
		s.Counters[items[0].Text()] = items[1].Uint()
	}
	s.Healthy = s.LogProblem == "" && len(s.Missing) == 0
}

// eventPrefix is the prefix of the counters of events by type.
const eventPrefix = "events_"

// write writes the status for people.
func (s *status) write(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(w, "%s:\t%s\n", terminal.Printable(name), terminal.Printable(fmt.Sprintf(format, args...)))
	}
	row("Service", "running, version %s, on bus %s", s.Version, s.Bus)
	if !s.StartTime.IsZero() {
		row("Since", "%s (%v)", s.StartTime.Local().Format("2006-01-02 15:04:05"), time.Since(s.StartTime).Round(time.Second))
	}
	switch {
	case s.LogProblem != "":
		row("Durable", "no: %s", s.LogProblem)
	case s.Durable:
		row("Durable", "yes")
	default:
		row("Durable", "no: events are in memory only, and lost when the service stops")
	}
	if s.Last < s.Oldest {
		row("Events", "%d so far, none kept", s.Last)
	} else {
		row("Events", "%d so far, %d to %d kept", s.Last, s.Oldest, s.Last)
	}
	row("Epoch", "%s", s.Epoch)
	row("Interfaces", "%d", s.Interfaces)
	row("Containers", "%d", s.Containers)
	for _, line := range s.Missing {
		row("Missing", "%s", line)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Counters)) {
		title := strings.ReplaceAll(name, "_", " ")
		if typ, ok := strings.CutPrefix(name, eventPrefix); ok {
			title = "events of " + typ
		}
		row("  "+title, "%d", s.Counters[name])
	}
	return w.Flush()
}
