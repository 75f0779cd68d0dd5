package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/osctl/eventd/dbusapi/bustest"
)

func TestReportAndStatus(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	startDaemon(t, bus)
	if r := ctl(t, bus.Env(), "report", "state", "pool=tank", "id=101", "state=running"); r != (result{"1\n", "", 0}) {
		t.Errorf("report: %+v", r)
	}
	if r := ctl(t, bus.Env(), "report", "state", "pool=tank", "id=101"); r.code != 1 || !strings.Contains(r.stderr, `option "state": missing`) {
		t.Errorf("bad report: %+v", r)
	}
	r := ctl(t, bus.Env(), "status")
	for _, want := range []string{
		`Service: +running, version 0\.0\.0-dev`, `Events: +1 so far, 1 to 1 kept`, `Durable: +no`, `Containers: +1`,
		`events of state: +1`, `Since: +20`, `reports refused: +1`,
	} {
		if r.code != 0 || !regexp.MustCompile(want).MatchString(r.stdout) {
			t.Errorf("status does not say %s: %+v", want, r)
		}
	}
}

// TestReportTypes checks that numbers keep their types, also in a batch.
func TestReportTypes(t *testing.T) {
	bus, _ := startService(t)
	if r := ctl(t, bus.Env(), "report", "x", "a:=1.0", "b:=1", "c=1"); r != (result{"1\n", "", 0}) {
		t.Fatalf("report: %+v", r)
	}
	shown := ctl(t, bus.Env(), "monitor", "--json", "--no-follow").stdout
	if r := ctlWith(t, bus.Env(), strings.NewReader(shown), "report", "--batch", "-"); r != (result{"2\n", "", 0}) {
		t.Fatalf("report --batch: %+v", r)
	}
	const want = `{"type":"x","opts":{"a":1.0,"b":1,"c":"1"},`
	if r := ctl(t, bus.Env(), "monitor", "--json", "--no-follow"); strings.Count(r.stdout, want) != 2 {
		t.Errorf("%+v, want twice %s", r, want)
	}
}

// TestReportNull checks that null means a missing option or key.
func TestReportNull(t *testing.T) {
	bus, _ := startService(t)
	if r := ctl(t, bus.Env(), "report", "x", "a:=null", `b:={"c":null,"d":[{"e":null}],"f":1}`); r != (result{"1\n", "", 0}) {
		t.Fatalf("report: %+v", r)
	}
	const line = `{"type":"x","opts":{"a":null,"b":{"c":null,"d":[{"e":null}],"f":1}}}`
	if r := ctlWith(t, bus.Env(), strings.NewReader(line), "report", "--batch", "-"); r != (result{"2\n", "", 0}) {
		t.Fatalf("report --batch: %+v", r)
	}
	const want = `{"type":"x","opts":{"b":{"d":[{}],"f":1}},`
	if r := ctl(t, bus.Env(), "monitor", "--json", "--no-follow"); strings.Count(r.stdout, want) != 2 {
		t.Errorf("%+v, want twice %s", r, want)
	}
}

func TestTroubles(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyRootOnly)
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"no service", []string{"status"}, "osctl-eventd is not running on the bus system: start it"},
		{"monitor without service", []string{"monitor"}, "osctl-eventd is not running"},
		{"no bus", []string{"--bus", "unix:path=/nonexistent", "status"}, "connect to bus unix:path=/nonexistent"},
		{"bad bus", []string{"--bus", "nowhere", "status"}, `bus "nowhere": expected system, session`},
		{"bad argument", []string{"report", "state", "pool"}, `argument "pool": expected KEY=TEXT`},
		{"no type", []string{"report"}, "which event?"},
		{"an option twice", []string{"report", "x", "a=b", "c=d", "a=b"}, `option "a": got it twice, expected each option once`},
		{"unknown command", []string{"monitr"}, "unknown command \"monitr\" for \"osctl-eventctl\"\n\nDid you mean this?\n  monitor\n"},
		{"argument of status", []string{"status", "x"}, `argument "x": status takes only flags`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if r := ctl(t, bus.Env(), test.args...); r.code != 1 || !strings.Contains(r.stderr, test.want) {
				t.Errorf("%+v, want %q", r, test.want)
			}
		})
	}
	t.Run("not allowed", func(t *testing.T) {
		startDaemon(t, bus)
		cmd := bustest.AsNobody(program(), "report", "x", "a=b")
		cmd.Env = bus.Env()
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "not allowed") || !strings.Contains(string(out), "group osctl-eventd") {
			t.Errorf("%v: %s", err, out)
		}
	})
}
