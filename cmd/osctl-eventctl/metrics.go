package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

// metricPrefix begins the name of each metric.
const metricPrefix = "osctl_eventd_"

// metrics writes the text format of Prometheus, see
// https://prometheus.io/docs/instrumenting/exposition_formats/.
type metrics struct{ out *bytes.Buffer }

// family begins a metric.
func (m metrics) family(name, kind, help string) {
	_, _ = fmt.Fprintf(m.out, "# HELP %s%s %s\n# TYPE %[1]s%[2]s %[4]s\n", metricPrefix, name, help, kind)
}

// sample writes one value, with alternating names and values of labels.
func (m metrics) sample(name, value string, labels ...string) {
	_, _ = m.out.WriteString(metricPrefix + name)
	for i := 0; i+1 < len(labels); i += 2 {
		open := ","
		if i == 0 {
			open = "{"
		}
		escaped := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(labels[i+1])
		_, _ = fmt.Fprintf(m.out, `%s%s="%s"`, open, labels[i], escaped) //nolint:gocritic // %q escapes more than the format knows
	}
	if len(labels) > 0 {
		_, _ = m.out.WriteString("}")
	}
	_, _ = m.out.WriteString(" " + value + "\n")
}

func (m metrics) gauge(name, help, value string, labels ...string) {
	m.family(name, "gauge", help)
	m.sample(name, value, labels...)
}

// writeMetrics writes the status as metrics.
func (s *status) writeMetrics(out io.Writer) error {
	m := metrics{&bytes.Buffer{}}
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	yes := func(b bool) string { return map[bool]string{true: "1", false: "0"}[b] }
	m.gauge("up", "Whether the service answers.", yes(s.Running))
	if !s.Running {
		_, err := m.out.WriteTo(out)
		return err
	}
	m.gauge("info", "Version of the service and epoch of its history.", "1", "version", s.Version, "epoch", s.Epoch)
	m.gauge("start_time_seconds", "When the service started, in seconds since 1970.", fmt.Sprintf("%.6f", float64(s.StartTime.UnixMicro())/1e6))
	m.gauge("healthy", "Whether the service has all that it needs.", yes(s.Healthy))
	m.gauge("durable", "Whether events survive the end of the service.", yes(s.Durable))
	m.gauge("missing", "How many things the service has to do without, like a capability.", strconv.Itoa(len(s.Missing)))
	m.gauge("oldest_sequence", "Number of the oldest event that is kept.", number(s.Oldest))
	m.gauge("last_sequence", "Number of the newest event.", number(s.Last))
	for _, states := range []struct {
		name, help string
		counts     map[string]int
	}{
		{"interfaces", "Veths on the host, by state.", s.linkStates},
		{"containers", "Containers of which a state is known, by state.", s.containerStates},
	} {
		m.family(states.name, "gauge", states.help)
		for _, state := range slices.Sorted(maps.Keys(states.counts)) {
			m.sample(states.name, strconv.Itoa(states.counts[state]), "state", state)
		}
	}
	m.counters(s.Counters)
	_, err := m.out.WriteTo(out)
	return err
}

// counterHelp describes the named counters. Each of them is always among the metrics,
// so that an alert can watch for its first increase.
func counterHelp() map[string]string {
	return map[string]string{
		"bus_losses":        "Times the service lost its connection to the bus.",
		"calls_over_limit":  "Calls that were refused because too many waited.",
		hub.CounterLapped:   "Times a subscriber was too slow, and events were dropped for it.",
		"messages_ignored":  "Messages on the bus that the service does not know, and ignored.",
		hub.CounterOverruns: "Times the kernel dropped link messages because the service was too slow.",
		hub.CounterRefused:  "Calls of Report and ReportBatch that were refused.",
		hub.CounterResyncs:  "Times the interfaces were listed anew and compared.",
	}
}

// counters writes what the service counted since it started.
func (m metrics) counters(counts map[string]uint64) {
	m.family("events_total", "counter", "Events by type, since the service started.")
	help := counterHelp()
	named := maps.Clone(help)
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		if typ, ok := strings.CutPrefix(name, eventsOf); ok {
			m.sample("events_total", strconv.FormatUint(counts[name], 10), "type", typ)
		} else if metricName(name) {
			named[name] = cmp.Or(help[name], "Counted by the service since it started: "+strings.ReplaceAll(name, "_", " ")+".")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(named)) {
		m.family(name+"_total", "counter", named[name])
		m.sample(name+"_total", strconv.FormatUint(counts[name], 10))
	}
}

// countStates counts the interfaces and containers by state. The set of states is closed, so
// that reporters cannot make any number of metrics.
func (a *app) countStates(ctx context.Context, s *status) error {
	s.linkStates, s.containerStates = map[string]int{}, map[string]int{otherState: 0}
	for _, state := range linkStates() {
		s.linkStates[state] = 0
	}
	for _, state := range states() {
		s.containerStates[state] = 0
	}
	return a.call(ctx, func(ctx context.Context, c *client.Client) error {
		links, _, err := c.Interfaces(ctx, hub.Filter{})
		if err != nil {
			return err
		}
		for i := range links {
			s.linkStates[string(links[i].State)]++
		}
		containers, _, err := c.Containers(ctx, hub.Filter{})
		for i := range containers {
			state := containers[i].State
			if _, known := s.containerStates[state]; !known {
				state = otherState
			}
			s.containerStates[state]++
		}
		return err
	})
}

// otherState counts the containers in a state that osctld does not have.
const otherState = "other"

// isDown reports whether an error means that the service does not run, or does not answer. A
// service that refuses to answer us does run.
func isDown(err error) bool {
	if e, ok := errors.AsType[*client.Error](err); ok {
		return !client.HasName(e, "org.freedesktop.DBus.Error.AccessDenied")
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}

// metricName reports whether a counter's name can be that of a metric.
func metricName(name string) bool {
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return name != ""
}
