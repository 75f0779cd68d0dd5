package bridge

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
)

// statuses is what the bridge follows, for people and as metrics.
type statuses struct {
	mu      sync.Mutex
	config  *Config
	all     []*status
	told    string // to people
	written []byte // to the file of metrics
	problem string // with that file
}

// status is what is to be said of one runtime.
type status struct {
	statuses   *statuses
	pool       string
	text       string // "" before anything is known
	followed   bool
	containers int // pods of k8s
	reports    int // since the bridge started
	failures   int // the same
}

// add adds a runtime.
func (s *statuses) add(pool string) *status {
	s.mu.Lock()
	defer s.mu.Unlock()
	added := &status{statuses: s, pool: pool}
	s.all = append(s.all, added)
	return added
}

// update changes a status, and says so.
func (s *status) update(change func()) {
	s.statuses.mu.Lock()
	defer s.statuses.mu.Unlock()
	change()
	s.statuses.publish()
}

// follow says that the runtime is followed, and has so many containers, or pods.
func (s *status) follow(count int, noun string) {
	if count != 1 {
		noun += "s"
	}
	s.update(func() { s.text, s.followed, s.containers = fmt.Sprint(count, " ", noun), true, count })
}

// absent says that the runtime is not there.
func (s *status) absent() {
	s.update(func() { s.text, s.followed, s.containers = "not there", false, 0 })
}

// fail says that following the runtime failed, and is to be tried again.
func (s *status) fail() {
	s.update(func() { s.text, s.followed, s.containers = "trying again", false, 0; s.failures++ })
}

// count counts events that were reported.
func (s *status) count(reports int) { s.update(func() { s.reports += reports }) }

// publish tells what changed.
func (s *statuses) publish() {
	var parts []string
	for _, one := range s.all {
		if one.text != "" {
			parts = append(parts, one.pool+": "+one.text)
		}
	}
	if text := strings.Join(parts, "; "); text != s.told {
		s.told = text
		s.config.Status(text)
	}
	if metrics := s.metrics(); s.config.MetricsFile != "" && !bytes.Equal(metrics, s.written) {
		s.write(metrics)
	}
}

// write replaces the file of metrics. What fails is logged, but not the same at each change.
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

// metricsMode lets everybody read the metrics, as the status of a unit: they have no names.
const metricsMode = 0o644

// replaceFile replaces a file as a whole.
func replaceFile(path string, content []byte, mode os.FileMode) error {
	fresh := path + ".new"
	if err := os.WriteFile(fresh, content, mode); err != nil {
		return err
	}
	if err := os.Chmod(fresh, mode); err != nil { // whatever the umask is
		return err
	}
	return os.Rename(fresh, path)
}
