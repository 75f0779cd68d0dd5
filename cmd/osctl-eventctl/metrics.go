package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
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
	m.gauge("interfaces", "How many veths there are on the host.", number(s.Interfaces))
	m.gauge("containers", "How many containers a state was reported of.", number(s.Containers))

	names := slices.Sorted(maps.Keys(s.Counters))
	m.family("events_total", "counter", "Events by type, since the service started.")
	for _, name := range names {
		if typ, ok := strings.CutPrefix(name, eventsOf); ok {
			m.sample("events_total", number(s.Counters[name]), "type", typ)
		}
	}
	for _, name := range names {
		if !strings.HasPrefix(name, eventsOf) && metricName(name) {
			m.family(name+"_total", "counter", "Counted by the service since it started: "+strings.ReplaceAll(name, "_", " ")+".")
			m.sample(name+"_total", number(s.Counters[name]))
		}
	}
	_, err := m.out.WriteTo(out)
	return err
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
