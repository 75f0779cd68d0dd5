package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/osctl/eventd/cmd/internal/daemontest"
	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/nstest"
)

func TestStatusJSON(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	ask := func() (status, int) {
		t.Helper()
		var s status
		r := ctl(t, bus.Env(), "status", "--json")
		if err := json.Unmarshal([]byte(r.stdout), &s); err != nil {
			t.Fatalf("%v: %+v", err, r)
		}
		return s, r.code
	}
	if s, code := ask(); s.Running || code != exitFailure || !strings.Contains(s.Error, "not running") {
		t.Errorf("without a service: %+v, status %d", s, code)
	}
	if r := ctl(t, bus.Env(), "status", "--json"); strings.Contains(r.stdout, "start_time") {
		t.Errorf("a stopped service has a start time: %s", r.stdout)
	}
	d := startDaemon(t, bus)
	report(t, d.Client(t), 3, "x")
	s, code := ask()
	if !s.Running || code != 0 || !s.Healthy || s.Version == "" || s.StartTime.IsZero() || s.Last != 3 || s.Counters["events_x"] != 3 ||
		s.Cursor != hub.FormatCursor(s.Epoch, 3) || s.Bus != bus.Address() {
		t.Errorf("%+v, status %d", s, code)
	}
}

// TestStatusDegraded checks the status of a service with a missing capability or a broken log.
func TestStatusDegraded(t *testing.T) {
	for name, p := range map[string]hub.Options{
		"a capability is missing":   {{Name: "Missing", Value: hub.Strings("CAP_NET_ADMIN: names are not known")}},
		"the log cannot be written": {{Name: "LogProblem", Value: hub.String("no space left on device")}},
	} {
		var s status
		if s.setProperties(p); s.Healthy || !s.Running {
			t.Errorf("%s: %+v", name, s)
		}
		var out strings.Builder
		if err := s.write(&out); err != nil || !regexp.MustCompile(`no space left|CAP_NET_ADMIN`).MatchString(out.String()) {
			t.Errorf("%s: it says %s", name, &out)
		}
	}
}

// TestStatusExit checks the exit status if the service cannot keep its log.
func TestStatusExit(t *testing.T) {
	bus, _ := startService(t, "--state-dir", "/dev/null/none")
	for _, form := range []string{"", "--json", "--metrics"} {
		want := map[string]string{
			"": "Durable: +no: mkdir", "--json": `"healthy":false.*"durable":false,"log_problem":"mkdir`, "--metrics": "\nosctl_eventd_healthy 0\n",
		}[form]
		r := ctl(t, bus.Env(), strings.Fields("status "+form)...)
		if r.code != exitDegraded || r.stderr != "" || !regexp.MustCompile(want).MatchString(r.stdout) {
			t.Errorf("status %s: %+v, want %s", form, r, want)
		}
	}
}

// TestMetrics checks the values and the format of the metrics.
func TestMetrics(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	r := ctl(t, bus.Env(), "status", "--metrics")
	if samples := parseMetrics(t, r.stdout); r.code != exitFailure || len(samples) != 1 || samples["osctl_eventd_up"] != "0" {
		t.Errorf("without a service: %+v", r)
	}
	if r := ctl(t, bus.Env(), "status", "--json"); strings.Contains(r.stdout, "start_time") {
		t.Errorf("a stopped service has a start time: %s", r.stdout)
	}
	host := nstest.New(t)
	if _, err := host.Pair("va", "vb", nil); err != nil {
		t.Fatal(err)
	}
	d := daemontest.Start(t, programs, host, bus.Address(), nil)
	for id, state := range map[string]string{"1": "running", "2": "running", "3": "on\nholiday"} {
		report(t, d.Client(t), 1, "state", "pool", "tank", "id", id, "state", state)
	}
	report(t, d.Client(t), 3, "x")
	client := d.Client(t)
	apitest.Eventually(t, "the interfaces are listed", func() bool {
		rows, _, err := client.Interfaces(t.Context(), hub.Filter{})
		return err == nil && len(rows) == 2
	})
	r = ctl(t, bus.Env(), "status", "--metrics")
	samples := parseMetrics(t, r.stdout)
	for name, want := range map[string]string{
		"osctl_eventd_resyncs_total": "0", "osctl_eventd_reports_refused_total": "0", "osctl_eventd_netlink_overruns_total": "0",
		"osctl_eventd_lapped_total": "0", "osctl_eventd_bus_losses_total": "0",
		`osctl_eventd_interfaces{state="up"}`: "0", `osctl_eventd_interfaces{state="no-carrier"}`: "0", `osctl_eventd_interfaces{state="down"}`: "2",
		`osctl_eventd_containers{state="running"}`: "2", `osctl_eventd_containers{state="other"}`: "1", `osctl_eventd_containers{state="stopped"}`: "0",
		"osctl_eventd_up": "1", `osctl_eventd_events_total{type="x"}`: "3", "osctl_eventd_last_sequence": "6", "osctl_eventd_healthy": "1",
	} {
		if samples[name] != want {
			t.Errorf("%s is %q, want %s", name, samples[name], want)
		}
	}
	var out strings.Builder
	s := status{Running: true, Version: "a\"b\\c\nd", Counters: map[string]uint64{"resyncs": 2, "events_x": 1, "bad name": 7}}
	if err := s.writeMetrics(&out); err != nil {
		t.Fatal(err)
	}
	samples = parseMetrics(t, out.String())
	if samples["osctl_eventd_resyncs_total"] != "2" || samples[`osctl_eventd_info{version="a\"b\\c\nd",epoch=""}`] != "1" || strings.Contains(out.String(), "bad") {
		t.Errorf("%v", samples)
	}
}

// TestMetricsDenied checks that status prints no metrics if the bus denies access, because the service
// may run.
func TestMetricsDenied(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyRootOnly)
	startDaemon(t, bus)
	cmd := bustest.AsNobody(program(), "status", "--metrics")
	cmd.Env = bus.Env()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err == nil || len(out) > 0 || !strings.Contains(stderr.String(), "not allowed") {
		t.Errorf("%v, %s%s", err, out, &stderr)
	}
	for args, want := range map[string]string{"--bus nowhere": "", "--bus unix:path=/nonexistent": "osctl_eventd_up 0"} {
		r := ctl(t, nil, append([]string{"status", "--metrics"}, strings.Fields(args)...)...)
		if r.code != exitFailure || r.stderr == "" || (r.stdout == "") != (want == "") || !strings.Contains(r.stdout, want) {
			t.Errorf("%s: %+v, want %q", args, r, want)
		}
	}
}

// TestMetricsHalf checks that a service that goes away before it lists does not look like one without
// containers.
func TestMetricsHalf(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	service := bus.ClientAs(t, 0)
	if _, err := service.CallDriver(t.Context(), "RequestName", "su", new(bustest.Body).String(wire.Name).Uint32(0)); err != nil {
		t.Fatal(err)
	}
	ended := make(chan result, 1)
	go func() { ended <- ctl(t, bus.Env(), "status", "--metrics") }()
	for range 2 {
		call, err := service.Receive(t.Context())
		for err == nil && call.Type != bustest.TypeCall {
			call, err = service.Receive(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		answer := &bustest.Message{Type: bustest.TypeError, ErrorName: wire.ErrNoReply}
		if call.Member == "GetAll" {
			body := new(bustest.Body).Array(8, func(*bustest.Body) {})
			answer = &bustest.Message{Type: bustest.TypeReturn, Signature: "a{sv}", Body: body.Bytes()}
		}
		answer.Serial, answer.ReplySerial, answer.Destination = service.NextSerial(), call.Serial, call.Sender
		if err := service.Send(t.Context(), answer.Marshal()); err != nil {
			t.Fatal(err)
		}
	}
	r := <-ended
	if samples := parseMetrics(t, r.stdout); r.code != exitFailure || len(samples) != 1 || samples["osctl_eventd_up"] != "0" {
		t.Errorf("%+v", r)
	}
}

// parseMetrics returns the samples. It checks that each family is described once, before its samples,
// and that the samples of a family follow each other.
func parseMetrics(t *testing.T, text string) map[string]string {
	t.Helper()
	help := regexp.MustCompile(`^# HELP ([a-z_]+) \S.*\.$`)
	kind := regexp.MustCompile(`^# TYPE ([a-z_]+) (gauge|counter)$`)
	sample := regexp.MustCompile(`^(([a-z_]+)(\{[a-z_]+="(?:[^"\\\n]|\\[\\"n])*"(?:,[a-z_]+="(?:[^"\\\n]|\\[\\"n])*")*\})?) (-?[0-9.]+)$`)
	samples, described, family, typed := map[string]string{}, map[string]bool{}, "", ""
	if !strings.HasSuffix(text, "\n") {
		t.Error("the last line does not end")
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch m := []string(nil); {
		case help.MatchString(line):
			family, typed = help.FindStringSubmatch(line)[1], ""
			if described[family] {
				t.Errorf("%s is described twice", family)
			}
			described[family] = true
		case kind.MatchString(line):
			m = kind.FindStringSubmatch(line)
			if typed = m[2]; m[1] != family || (typed == "counter") != strings.HasSuffix(family, "_total") {
				t.Errorf("in family %s: %s", family, line)
			}
		case sample.MatchString(line):
			m = sample.FindStringSubmatch(line)
			if _, twice := samples[m[1]]; twice || m[2] != family || typed == "" {
				t.Errorf("in family %s: %s", family, line)
			}
			samples[m[1]] = m[4]
		default:
			t.Errorf("neither HELP nor TYPE nor a sample: %q", line)
		}
	}
	return samples
}
