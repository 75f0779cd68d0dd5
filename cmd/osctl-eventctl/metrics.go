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

// metricPrefix is the prefix of all metrics.
const metricPrefix = "osctl_eventd_"

// metrics writes the text format of Prometheus, see
// https://prometheus.io/docs/instrumenting/exposition_formats/.
type metrics struct{ out *bytes.Buffer }

// writeFamily writes the header of a metric.
func (m metrics) writeFamily(name, kind, help string) {
	_, _ = fmt.Fprintf(m.out, "# HELP %s%s %s\n# TYPE %[1]s%[2]s %[4]s\n", metricPrefix, name, help, kind)
}

// writeSample writes one value. labels are names and values in turn.
func (m metrics) writeSample(name, value string, labels ...string) {
	_, _ = m.out.WriteString(metricPrefix + name)
	for i := 0; i+1 < len(labels); i += 2 {
		open := ","
		if i == 0 {
			open = "{"
		}
		escaped := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(labels[i+1])
		_, _ = fmt.Fprintf(m.out, `%s%s="%s"`, open, labels[i], escaped) //nolint:gocritic // %q escapes more than the format allows
	}
	if len(labels) > 0 {
		_, _ = m.out.WriteString("}")
	}
	_, _ = m.out.WriteString(" " + value + "\n")
}

func (m metrics) writeGauge(name, help, value string, labels ...string) {
	m.writeFamily(name, "gauge", help)
	m.writeSample(name, value, labels...)
}

// writeMetrics writes the status as metrics.
func (s *status) writeMetrics(out io.Writer) error {
	m := metrics{&bytes.Buffer{}}
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	boolean := func(b bool) string { return map[bool]string{true: "1", false: "0"}[b] }
	m.writeGauge("up", "Whether the service answers.", boolean(s.Running))
	if !s.Running {
		_, err := m.out.WriteTo(out)
		return err
	}
	m.writeGauge("info", "Version of the service and epoch of its history.", "1", "version", s.Version, "epoch", s.Epoch)
	m.writeGauge("start_time_seconds", "When the service started, in seconds since 1970.", fmt.Sprintf("%.6f", float64(s.StartTime.UnixMicro())/1e6))
	m.writeGauge("healthy", "Whether the service has everything that it needs.", boolean(s.Healthy))
	m.writeGauge("durable", "Whether events survive a restart of the service.", boolean(s.Durable))
	m.writeGauge("missing", "Number of things that the service lacks, such as capabilities.", strconv.Itoa(len(s.Missing)))
	m.writeGauge("oldest_sequence", "Number of the oldest kept event.", number(s.Oldest))
	m.writeGauge("last_sequence", "Number of the newest event.", number(s.Last))
	for _, states := range []struct {
		name, help string
		counts     map[string]int
	}{
		{"interfaces", "Veths on the host, by state.", s.linkStates},
		{"containers", "Containers with a known state, by state.", s.containerStates},
	} {
		m.writeFamily(states.name, "gauge", states.help)
		for _, state := range slices.Sorted(maps.Keys(states.counts)) {
			m.writeSample(states.name, strconv.Itoa(states.counts[state]), "state", state)
		}
	}
	m.writeCounters(s.Counters)
	_, err := m.out.WriteTo(out)
	return err
}

// counterHelp returns the help of the named counters.
func counterHelp() map[string]string {
	return map[string]string{
		"bus_losses":        "Times the service lost its connection to the bus.",
		"calls_over_limit":  "Calls refused because too many were pending.",
		hub.CounterLapped:   "Times events were dropped for a subscriber that was too slow.",
		"messages_ignored":  "Unknown messages on the bus that the service ignored.",
		hub.CounterOverruns: "Times the kernel dropped link messages because the service was too slow.",
		hub.CounterRefused:  "Refused calls of Report and ReportBatch.",
		hub.CounterResyncs:  "Times the service listed all interfaces again and compared them.",
	}
}

// writeCounters writes the counters of the service.
func (m metrics) writeCounters(counts map[string]uint64) {
	m.writeFamily("events_total", "counter", "Events by type, since the service started.")
	var named []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		if typ, ok := strings.CutPrefix(name, eventPrefix); ok {
			m.writeSample("events_total", strconv.FormatUint(counts[name], 10), "type", typ)
		} else if isMetricName(name) {
			named = append(named, name)
		}
	}
	help := counterHelp()
	for _, name := range named {
		m.writeFamily(name+"_total", "counter", cmp.Or(help[name], "Counted by the service since it started: "+strings.ReplaceAll(name, "_", " ")+"."))
		m.writeSample(name+"_total", strconv.FormatUint(counts[name], 10))
	}
}

// countStates counts the interfaces and containers by state. Unknown states count as one, so that
// reporters cannot create any number of metrics.
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

// otherState counts the containers in states that osctld does not have.
const otherState = "other"

// isDown reports whether an error means that the service does not run or does not answer. A service
// that denies access does run.
func isDown(err error) bool {
	if e, ok := errors.AsType[*client.Error](err); ok {
		return !client.HasName(e, "org.freedesktop.DBus.Error.AccessDenied")
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}

// isMetricName reports whether the name of a counter is valid for a metric.
func isMetricName(name string) bool {
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return name != ""
}
