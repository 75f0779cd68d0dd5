package bridge

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/osctl/eventd/dbusapi/apitest"
)

// wantMetrics waits until a file has these lines.
func wantMetrics(t *testing.T, path string, want ...string) {
	t.Helper()
	apitest.Eventually(t, "the metrics are "+strings.Join(want, ", "), func() bool {
		text, _ := os.ReadFile(path)
		for _, line := range want {
			if !strings.Contains(string(text), "\nosctl_eventd_runtimes_"+line+"\n") {
				return false
			}
		}
		return true
	})
}

// TestStatus checks the status and the metrics after each change.
func TestStatus(t *testing.T) {
	d, e := startEventd(t), startEngine(t)
	path := filepath.Join(t.TempDir(), "metrics.prom")
	b := startBridge(t, Config{Bus: d.bus.Address(), Docker: e.socket, Pods: t.TempDir() + "/pods", StateDir: t.TempDir(), MetricsFile: path})
	wantMetrics(t, path, `followed{runtime="docker"} 1`, `followed{runtime="k8s"} 0`, `containers{runtime="docker"} 0`, `failures_total{runtime="k8s"} 0`)
	e.emit("create", idOf("4f5e"), 0, "name", "web")
	e.emit("start", idOf("4f5e"), 0, "name", "web")
	b.wantStatus(t, "docker: 1 container; k8s: not there")
	wantMetrics(t, path, `containers{runtime="docker"} 1`, `reports_total{runtime="docker"} 2`, `reports_total{runtime="k8s"} 0`)
	e.emit("destroy", idOf("4f5e"), 0, "name", "web")
	b.wantStatus(t, "docker: 0 containers; k8s: not there")
	wantMetrics(t, path, `containers{runtime="docker"} 0`, `reports_total{runtime="docker"} 3`, `failures_total{runtime="docker"} 0`)
	if file, err := os.Stat(path); err != nil || file.Mode() != 0o644 {
		t.Errorf("the file is %v, %v", file, err)
	}
	e.stop()
	wantMetrics(t, path, `followed{runtime="docker"} 0`, `containers{runtime="docker"} 0`, `failures_total{runtime="docker"} 1`)
	b.stop()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("after the end the file is there: %v", err)
	}
}

// TestMetricsFileFails checks that the bridge continues without the file, and logs the error once.
func TestMetricsFileFails(t *testing.T) {
	d, e := startEventd(t), startEngine(t)
	b := startBridge(t, Config{Bus: d.bus.Address(), Docker: e.socket, StateDir: t.TempDir(), MetricsFile: "/dev/null/metrics.prom"})
	b.wantStatus(t, "docker: 0 containers")
	e.emit("create", idOf("4f5e"), 0, "name", "web")
	b.wantStatus(t, "docker: 1 container")
	if _, log := b.output(); strings.Count(log, "metrics cannot be written") != 1 {
		t.Errorf("logged: %s", log)
	}
}

// TestNoBus checks that a bus without a socket is a failure, while the runtime is there.
func TestNoBus(t *testing.T) {
	e := startEngine(t)
	path := filepath.Join(t.TempDir(), "metrics.prom")
	b := startBridge(t, Config{Bus: "unix:path=" + t.TempDir() + "/bus", Docker: e.socket, Pods: t.TempDir(), StateDir: t.TempDir(), MetricsFile: path})
	b.wantStatus(t, "docker: trying again; k8s: trying again")
	for _, metric := range []string{`failures_total{runtime="docker"} `, `failures_total{runtime="k8s"} `} {
		apitest.Eventually(t, metric+"is above 0", func() bool {
			text, _ := os.ReadFile(path)
			return strings.Contains(string(text), metric) && !strings.Contains(string(text), metric+"0\n")
		})
	}
	apitest.Eventually(t, "both failures are logged", func() bool {
		_, log := b.output()
		return strings.Count(log, "connect to the bus") == 2
	})
}
