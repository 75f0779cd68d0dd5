package bridge

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
)

// statuses publishes the status of all runtimes, as text and as metrics.
type statuses struct {
	mu      sync.Mutex
	config  *Config
	all     []*status
	text    string // the published text
	written []byte // the content of the file of metrics
	problem string // the last error of that file
}

// status is the status of one runtime.
type status struct {
	statuses   *statuses
	pool       string
	text       string // "" until something is known
	followed   bool
	containers int // pods of k8s
	reports    int // since the bridge started
	failures   int // since the bridge started
}

// add adds a runtime.
func (s *statuses) add(pool string) *status {
	s.mu.Lock()
	defer s.mu.Unlock()
	added := &status{statuses: s, pool: pool}
	s.all = append(s.all, added)
	return added
}

// update changes a status and publishes it.
func (s *status) update(change func()) {
	s.statuses.mu.Lock()
	defer s.statuses.mu.Unlock()
	change()
	s.statuses.publish()
}

// setFollowed records that the runtime is followed, and has count containers or pods.
func (s *status) setFollowed(count int, noun string) {
	if count != 1 {
		noun += "s"
	}
	s.update(func() { s.text, s.followed, s.containers = fmt.Sprint(count, " ", noun), true, count })
}

// setAbsent records that the runtime is not there.
func (s *status) setAbsent() {
	s.update(func() { s.text, s.followed, s.containers = "not there", false, 0 })
}

// setFailed counts a failure, after which the bridge tries again.
func (s *status) setFailed() {
	s.update(func() { s.text, s.followed, s.containers = "trying again", false, 0; s.failures++ })
}

// addReports counts reported events.
func (s *status) addReports(reports int) { s.update(func() { s.reports += reports }) }

// publish publishes the text and the metrics if they changed.
func (s *statuses) publish() {
	var parts []string
	for _, one := range s.all {
		if one.text != "" {
			parts = append(parts, one.pool+": "+one.text)
		}
	}
	if text := strings.Join(parts, "; "); text != s.text {
		s.text = text
		s.config.Status(text)
	}
	if metrics := s.metrics(); s.config.MetricsFile != "" && !bytes.Equal(metrics, s.written) {
		s.write(metrics)
	}
}

// write replaces the file of metrics. It does not log the same error again.
func (s *statuses) write(metrics []byte) {
	err := replaceFile(s.config.MetricsFile, metrics, metricsMode)
	if err == nil {
		s.written, s.problem = metrics, ""
	} else if text := err.Error(); text != s.problem {
		s.config.Log.Warn("metrics cannot be written", slog.String("reason", text))
		s.problem = text
	}
}

// metrics returns the metrics in the text format of Prometheus.
func (s *statuses) metrics() []byte {
	out := &bytes.Buffer{}
	for _, family := range []struct {
		name, kind, help string
		value            func(*status) int
	}{
		{"followed", "gauge", "Whether the bridge follows the runtime.", func(s *status) int { return map[bool]int{true: 1}[s.followed] }},
		{"containers", "gauge", "Containers of the runtime that the bridge follows, or pods.", func(s *status) int { return s.containers }},
		{"reports_total", "counter", "Events that the bridge reported since it started.", func(s *status) int { return s.reports }},
		{"failures_total", "counter", "Times that following the runtime failed since the bridge started.", func(s *status) int { return s.failures }},
	} {
		_, _ = fmt.Fprintf(out, "# HELP osctl_eventd_runtimes_%s %s\n# TYPE osctl_eventd_runtimes_%[1]s %[3]s\n", family.name, family.help, family.kind)
		for _, one := range s.all {
			_, _ = fmt.Fprintf(out, "osctl_eventd_runtimes_%s{runtime=%q} %d\n", family.name, one.pool, family.value(one))
		}
	}
	return out.Bytes()
}

// metricsMode lets every user read the metrics, like the status of a unit. They contain no names.
const metricsMode = 0o644

// replaceFile replaces a file atomically.
func replaceFile(path string, content []byte, mode os.FileMode) error {
	fresh := path + ".new"
	if err := os.WriteFile(fresh, content, mode); err != nil {
		return err
	}
	if err := os.Chmod(fresh, mode); err != nil { // the umask may have removed bits
		return err
	}
	return os.Rename(fresh, path)
}
