package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleet"
	"github.com/osctl/eventd/hub"
)

const hostsLong = `Show the hosts of the fleet: when the last event was, how many events are not in the
stream yet (LAG), how many more may come before events are lost while NATS is away (LEFT),
whether the history survives a restart of osctl-eventd, and whether the host is silent:
it did not say twice that it lives. Figures are those of the host's last message.

Exit status: 0; 2 if a host is silent, or its last message was not written by a bridge.`

const hostsExample = `  osctl-eventd-nats hosts --server tls://nats.example.org --user fleet-watch --credentials fleet/fleet-watch
  osctl-eventd-nats hosts --metrics`

// exitUnhealthy is the status of hosts where one of them is not well.
const exitUnhealthy = 2

// statusError ends the program with a status of its own; what is wrong was said.
type statusError int

func (e statusError) Error() string { return "exit status " + strconv.Itoa(int(e)) }

// hostsFlags are the flags of hosts, as given.
type hostsFlags struct {
	serverFlags
	json, metrics bool
}

func hostsCommand(stdout io.Writer) *cobra.Command {
	var flags hostsFlags
	cmd := &cobra.Command{
		Use: "hosts", Short: "Show the hosts of the fleet", Long: hostsLong, Example: hostsExample, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.check(); err != nil {
				return err
			}
			hosts, err := fleet.Hosts(cmd.Context(), &flags.Access, flags.stream)
			if err != nil {
				return err
			}
			now := time.Now()
			write := writeTable
			switch {
			case flags.json:
				write = writeHostLines
			case flags.metrics:
				write = writeMetrics
			}
			if err := write(stdout, hosts, now); err != nil {
				return err
			}
			for i := range hosts {
				if health(&hosts[i], now) != healthy {
					return statusError(exitUnhealthy)
				}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	flags.add(f)
	f.BoolVar(&flags.json, "json", false, "print one JSON object a line")
	f.BoolVar(&flags.metrics, "metrics", false, "print the text format of Prometheus")
	cmd.MarkFlagsMutuallyExclusive("json", "metrics")
	return cmd
}

// The health of a host.
const (
	healthy = "ok"
	silent  = "silent"
	foreign = "foreign" // its last message was not written by a bridge
)

func health(h *fleet.Host, now time.Time) string {
	switch {
	case h.Foreign != nil:
		return foreign
	case h.Silent(now):
		return silent
	}
	return healthy
}

// writeTable writes the hosts for a person.
func writeTable(out io.Writer, hosts []fleet.Host, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "HOST\tHEALTH\tSEEN\tLAST EVENT\tLAG\tLEFT\tDURABLE")
	for i := range hosts {
		h := &hosts[i]
		last, lag, left, durable := "-", "-", "-", "-"
		if !h.Head.Time.IsZero() {
			last = h.Head.Time.Local().Format(time.DateTime)
		}
		if s := h.Head.Status; s != nil {
			lag, left = strconv.FormatUint(s.Backlog, 10), strconv.FormatUint(s.Left, 10)
			durable = map[bool]string{true: "yes", false: "no"}[s.Durable]
		}
		seen := now.Sub(h.Head.Seen).Round(time.Second).String() + " ago"
		name := hub.PlainText([]byte(h.Name), 4*len(h.Name)) // whole, even if all of it is escaped
		row := []string{name, health(h, now), seen, last, lag, left, durable}
		_, _ = fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush()
}

// writeHostLines writes the hosts as JSON.
func writeHostLines(out io.Writer, hosts []fleet.Host, now time.Time) error {
	e := json.NewEncoder(out)
	for i := range hosts {
		h := &hosts[i]
		line := map[string]any{
			"host": h.Name, "health": health(h, now), "seen": h.Head.Seen, "cursor": h.Head.Cursor, "machine": h.Head.Machine,
		}
		if !h.Head.Time.IsZero() {
			line["last_event"] = h.Head.Time.UTC()
		}
		if s := h.Head.Status; s != nil {
			line["state"], line["interval"] = s.State, s.Interval
		}
		if err := e.Encode(line); err != nil {
			return err
		}
	}
	return nil
}

// writeMetrics writes the hosts in the text format of Prometheus.
func writeMetrics(out io.Writer, hosts []fleet.Host, now time.Time) error {
	families := []struct {
		name, help string
		value      func(h *fleet.Host) (float64, bool)
	}{
		{"healthy", "Whether the host says that it lives.", func(h *fleet.Host) (float64, bool) {
			return number(health(h, now) == healthy), true
		}},
		{"seen_timestamp_seconds", "When the server got the host's last message.", func(h *fleet.Host) (float64, bool) {
			return seconds(h.Head.Seen), !h.Head.Seen.IsZero()
		}},
		{"last_event_timestamp_seconds", "When the host's last event was.", func(h *fleet.Host) (float64, bool) {
			return seconds(h.Head.Time), !h.Head.Time.IsZero()
		}},
		{"backlog_events", "Events that are not in the stream yet.", ofStatus(func(s *fleet.Status) float64 {
			return float64(s.Backlog)
		})},
		{"history_left_events", "How many more events may come before events are lost.", ofStatus(func(s *fleet.Status) float64 {
			return float64(s.Left)
		})},
		{"durable", "Whether the host's history survives a restart.", ofStatus(func(s *fleet.Status) float64 {
			return number(s.Durable)
		})},
	}
	for _, family := range families {
		name := "osctl_fleet_" + family.name
		if _, err := fmt.Fprintf(out, "# HELP %s %s\n# TYPE %[1]s gauge\n", name, family.help); err != nil {
			return err
		}
		for i := range hosts {
			if v, known := family.value(&hosts[i]); known {
				_, _ = fmt.Fprintf(out, "%s{host=%s} %s\n", name, label(hosts[i].Name), strconv.FormatFloat(v, 'f', -1, 64))
			}
		}
	}
	return nil
}

func ofStatus(value func(*fleet.Status) float64) func(*fleet.Host) (float64, bool) {
	return func(h *fleet.Host) (float64, bool) {
		if h.Head.Status == nil {
			return 0, false
		}
		return value(h.Head.Status), true
	}
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// label quotes the value of a label as Prometheus wants it.
func label(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(text) + `"`
}
