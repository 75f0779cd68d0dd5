package boottest

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestInstalled looks at what an installation leaves: a service that runs, confined.
func TestInstalled(t *testing.T) {
	eachBus(t, func(t *testing.T, s *system) {
		if got := s.show("ActiveState") + " " + s.show("UnitFileState"); got != "active enabled" {
			t.Errorf("the unit is %s", got)
		}
		if out := s.run("systemd-analyze", "verify", "--man=no", unit, "dbus-org.osctl.Eventd.service"); out != "" {
			t.Errorf("systemd-analyze verify says\n%s", out)
		}
		for _, page := range regexp.MustCompile(`man:(\S+)\((\d)\)`).FindAllStringSubmatch(s.show("Documentation"), -1) {
			s.run("test", "-s", "/usr/share/man/man"+page[2]+"/"+page[1]+"."+page[2]+".gz")
		}
		exposure(t, s, unit)
		runtimes(t, s)
		// A bus may take nothing for 10 s before it is left.
		if got := s.show("WatchdogUSec"); got != "30s" {
			t.Errorf("the watchdog has %s", got)
		}
		// Under the unit's confinement the service lacks nothing.
		if out := s.run("busctl", "get-property", service, object, service, "Missing"); strings.TrimSpace(out) != "as 0" {
			t.Errorf("missing: %s", out)
		}
		status := s.run("cat", "/proc/"+s.show("MainPID")+"/status")
		for _, want := range []string{"CapEff:\t0000000000001800\n", "CapBnd:\t0000000000001800\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n"} {
			if !strings.Contains(status, want) {
				t.Errorf("the process's status is without %q:\n%s", want, status)
			}
		}
		if owner := strings.TrimSpace(s.run("stat", "-c", "%U:%G %a", "/var/lib/osctl-eventd")); owner != "osctl-eventd:osctl-eventd 700" {
			t.Errorf("the state directory is %s", owner)
		}
	})
}

// runtimes looks at the bridge from container runtimes: it is there, off, confined, and starts.
func runtimes(t *testing.T, s *system) {
	t.Helper()
	const unit = "osctl-eventd-runtimes.service"
	if out := s.run("systemctl", "show", "--value", "--property=ActiveState,UnitFileState", unit); strings.Join(strings.Fields(out), " ") != "inactive disabled" {
		t.Errorf("%s is %q", unit, out)
	}
	if out := s.run("systemd-analyze", "verify", "--man=no", unit); out != "" {
		t.Errorf("systemd-analyze verify says\n%s", out)
	}
	exposure(t, s, unit)
	s.run("mkdir", "-p", "/var/log/pods/default_web_d0b3b3e8-5f5c-4b7e-9f51-0d6f5a1c2e3f")
	s.run("systemctl", "start", unit) // waits until it is ready
	const want = "docker: not there; podman: not there; k8s: 1 pod"
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		out := s.run("systemctl", "show", "--value", "--property=StatusText", unit)
		if strings.TrimSpace(out) == want {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s says %q, want %q", unit, out, want)
		}
	}
	pid := strings.TrimSpace(s.run("systemctl", "show", "--value", "--property=MainPID", unit))
	if status := s.run("cat", "/proc/"+pid+"/status"); !strings.Contains(status, "CapBnd:\t0000000000000000\n") {
		t.Errorf("the process's status is\n%s", status)
	}
	if out := s.run("osctl-eventctl", "events", "k8s:default/web"); !strings.Contains(out, "from "+unit) {
		t.Errorf("the service has of the pod\n%s", out)
	}
	const collected = "/var/lib/prometheus/node-exporter/osctl-eventd-runtimes.prom"
	s.run("mkdir", "-p", "/var/lib/prometheus/node-exporter")
	s.run("systemctl", "start", "osctl-eventd-metrics.service") // waits until it has written
	if out := s.run("cat", collected); !strings.Contains(out, `osctl_eventd_runtimes_containers{runtime="k8s"} 1`+"\n") {
		t.Errorf("the metrics are\n%s", out)
	}
	s.run("systemctl", "stop", unit)
	s.run("systemctl", "start", "osctl-eventd-metrics.service")
	s.run("test", "!", "-e", collected)
	s.run("rm", "-r", "/var/log/pods", "/var/lib/prometheus")
}

// exposure holds a unit against what systemd-analyze thinks of its confinement.
func exposure(t *testing.T, s *system, unit string) {
	t.Helper()
	const limit = 1.5
	out := s.run("systemd-analyze", "security", unit)
	found := regexp.MustCompile(`Overall exposure level for \S+: (\d+\.\d+)`).FindStringSubmatch(out)
	if found == nil {
		t.Fatalf("systemd-analyze security says\n%s", out)
	}
	if level, err := strconv.ParseFloat(found[1], 64); err != nil || level > limit {
		t.Errorf("exposure %s, want at most %v\n%s", found[1], limit, out)
	}
	t.Logf("exposure %s", found[1])
}
