package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/osctl/eventd/cmd/internal/terminal"
	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleet"
)

const hostsLong = `Show the hosts of the fleet, as of the last message of each:

  HEALTH      ok; silent: two heartbeats are overdue; no-eventd: osctl-eventd does not
              answer its bridge; foreign: no bridge wrote the last message
  SEEN        when the server received the last message
  LAST EVENT  when the last event happened
  LAG         how many events are not in the stream yet
  LEFT        how many more events may happen before one is lost, if NATS is unreachable;
              - while osctl-eventd has not filled its history yet
  DURABLE     whether the history survives a restart of osctl-eventd

Exit status: 0 if all hosts are ok; 1 on an error; 2 if a host is not ok.`

const hostsExample = `  osctl-eventd-nats hosts --server tls://nats.example.org --user fleet-watch --credentials fleet/fleet-watch
  osctl-eventd-nats hosts --metrics`

// exitUnhealthy is the exit status of hosts if a host is not ok.
const exitUnhealthy = 2

// statusError ends the program with a certain status, without a message.
type statusError int

func (e statusError) Error() string { return "exit status " + strconv.Itoa(int(e)) }

// hostsFlags are the flags of hosts, as given.
type hostsFlags struct {
	serverFlags
	json, metrics, watch bool
}

func hostsCommand(stdout *terminal.Output) *cobra.Command {
	var flags hostsFlags
	cmd := &cobra.Command{
		Use: "hosts", Short: "Show the hosts of the fleet", Long: hostsLong, Example: hostsExample, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.check(); err != nil {
				return err
			}
			if flags.watch {
				return flags.watchHosts(cmd.Context(), stdout)
			}
			hosts, err := flags.list(cmd.Context())
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
			if slices.ContainsFunc(hosts, func(h fleet.Host) bool { return health(&h, now) != healthy }) {
				return statusError(exitUnhealthy)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	flags.add(f)
	f.BoolVar(&flags.json, "json", false, "print one JSON object a line")
	f.BoolVar(&flags.metrics, "metrics", false, "print the text format of Prometheus")
	f.BoolVarP(&flags.watch, "watch", "w", false, "show the table until you quit, hosts that are not ok first")
	cmd.MarkFlagsMutuallyExclusive("json", "metrics", "watch")
	return cmd
}

// list reads the hosts from the stream.
func (f *hostsFlags) list(ctx context.Context) ([]fleet.Host, error) {
	link, err := fleet.Dial(&f.Access, f.stream, cmp.Or(f.User, "watch"))
	if err != nil {
		return nil, err
	}
	defer link.Close()
	stream, err := link.Stream(ctx)
	if err != nil {
		return nil, err
	}
	return fleet.Hosts(ctx, stream)
}

// watchHosts shows the hosts on a terminal until ctx is done, as many as fit.
func (f *hostsFlags) watchHosts(ctx context.Context, out *terminal.Output) error {
	if !out.Terminal {
		return errors.New("--watch needs a terminal; in a pipe, use hosts --json")
	}
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	var hosts []fleet.Host
	for {
		problem := ""
		listed, err := f.list(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			hosts = listed
		case hosts == nil:
			return err
		default: // show the old table until NATS is back
			problem = "not reading: " + printable(err.Error()) + "; "
		}
		if _, err := out.File.Write(drawHosts(hosts, time.Now(), out.Height(), problem)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// drawHosts draws the hosts for a terminal of height lines.
func drawHosts(hosts []fleet.Host, now time.Time, height int, problem string) []byte {
	slices.SortStableFunc(hosts, func(a, b fleet.Host) int {
		return cmp.Compare(number(health(&a, now) == healthy), number(health(&b, now) == healthy))
	})
	room := max(height-3, 1)                                   // without the header, the last line and the cursor's line
	screen := bytes.NewBufferString("\x1b[H\x1b[2J")           // see console_codes(4)
	_ = writeTable(screen, hosts[:min(len(hosts), room)], now) // never fails
	_, _ = fmt.Fprintf(screen, "%d hosts, %s; %sCtrl-C ends\n", len(hosts), now.Format(time.TimeOnly), problem)
	return screen.Bytes()
}

// The health of a host.
const (
	healthy  = "ok"
	silent   = "silent"
	noEventd = "no-eventd" // osctl-eventd does not answer its bridge
	foreign  = "foreign"   // no bridge wrote its last message
)

func health(h *fleet.Host, now time.Time) string {
	switch {
	case h.Foreign != nil:
		return foreign
	case h.Silent(now):
		return silent
	case h.State() == nil:
		return noEventd
	}
	return healthy
}

// writeTable writes the hosts for people.
func writeTable(out io.Writer, hosts []fleet.Host, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "HOST\tHEALTH\tSEEN\tLAST EVENT\tLAG\tLEFT\tDURABLE")
	for i := range hosts {
		h := &hosts[i]
		last, lag, left, durable := "-", "-", "-", "-"
		if !h.Head.Time.IsZero() {
			last = h.Head.Time.Local().Format(time.DateTime)
		}
		if s := h.State(); s != nil {
			lag = strconv.FormatUint(s.Backlog, 10)
			if n, known := s.Left(); known {
				left = strconv.FormatUint(n, 10)
			}
			durable = map[bool]string{true: "yes", false: "no"}[s.Durable]
		}
		seen := now.Sub(h.Head.Seen).Round(time.Second).String() + " ago"
		row := []string{hostName(h.Name), health(h, now), seen, last, lag, left, durable}
		_, _ = fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush()
}

// writeHostLines writes the hosts as JSON, one a line.
func writeHostLines(out io.Writer, hosts []fleet.Host, now time.Time) error {
	e := json.NewEncoder(out)
	for i := range hosts {
		h := &hosts[i]
		line := map[string]any{
			"host": hostName(h.Name), "health": health(h, now), "seen": h.Head.Seen,
			"cursor": h.Head.Cursor, "machine": h.Head.Machine,
		}
		if !h.Head.Time.IsZero() {
			line["last_event"] = h.Head.Time.UTC()
		}
		if s := h.State(); s != nil {
			line["state"] = s
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
		{"healthy", "Whether the host is ok.", func(h *fleet.Host) (float64, bool) {
			return number(health(h, now) == healthy), true
		}},
		{"seen_timestamp_seconds", "When the server received the host's last message.", func(h *fleet.Host) (float64, bool) {
			return seconds(h.Head.Seen), !h.Head.Seen.IsZero()
		}},
		{"last_event_timestamp_seconds", "When the host's last event happened.", func(h *fleet.Host) (float64, bool) {
			return seconds(h.Head.Time), !h.Head.Time.IsZero()
		}},
		{"backlog_events", "Events that are not in the stream yet.", ofState(func(s *fleet.State) (float64, bool) {
			return float64(s.Backlog), true
		})},
		{"history_left_events", "How many more events may happen before one is lost.", ofState(func(s *fleet.State) (float64, bool) {
			n, known := s.Left()
			return float64(n), known
		})},
		{"durable", "Whether the host's history survives a restart.", ofState(func(s *fleet.State) (float64, bool) {
			return number(s.Durable), true
		})},
	}
	for _, family := range families {
		name := "osctl_fleet_" + family.name
		if _, err := fmt.Fprintf(out, "# HELP %s %s\n# TYPE %[1]s gauge\n", name, family.help); err != nil {
			return err
		}
		for i := range hosts {
			if v, known := family.value(&hosts[i]); known {
				_, _ = fmt.Fprintf(out, "%s{host=%q} %s\n", name, hostName(hosts[i].Name), strconv.FormatFloat(v, 'f', -1, 64))
			}
		}
	}
	return nil
}

func ofState(value func(*fleet.State) (float64, bool)) func(*fleet.Host) (float64, bool) {
	return func(h *fleet.Host) (float64, bool) {
		if h.State() == nil {
			return 0, false
		}
		return value(h.State())
	}
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }
