package main

import (
	"strings"
	"testing"
)

// reportAll reports events by command lines.
func reportAll(t testing.TB, env []string, events ...string) {
	t.Helper()
	for _, args := range events {
		if r := ctl(t, env, append([]string{"report"}, strings.Fields(args)...)...); r.code != 0 {
			t.Fatal(r)
		}
	}
}

// TestMonitorFilters uses each key of the service's filter.
func TestMonitorFilters(t *testing.T) {
	bus, _ := startService(t)
	reportAll(t, bus.Env(), "ct_netif pool=tank id=1 action=up name=eth0 veth=v1", "ct_netif pool=tank id=1 action=up name=eth1 veth=v2",
		"state pool=tank id=1 state=running", "db object=container pool=tank id=1 action=add")
	for args, want := range map[string]string{
		"": "1 2 3 4", "--name eth1": "2", "--veth v1": "1", "--veth v1 --veth v2": "1 2", "--source uid:0": "1 2 3 4", "--source netlink": "",
		"--type state,db": "3 4", "--type state,db --type ct_netif": "1 2 3 4", "--since now": "", "--since today": "1 2 3 4",
	} {
		r := ctl(t, bus.Env(), append([]string{"events", "--json"}, strings.Fields(args)...)...)
		if got := numbers(parseEvents(t, r.stdout)); r.code != 0 || got != want {
			t.Errorf("events %s: %s, %+v; want %s", args, got, r, want)
		}
	}
}

// TestFormat formats events by templates. Each event stays one line.
func TestFormat(t *testing.T) {
	bus, _ := startService(t)
	reportAll(t, bus.Env(), "ct_netif pool=tank id=1 action=up name=eth0 veth=v1 ifindex:=7", "x id:=5")
	if r := ctl(t, bus.Env(), "report", "x", "pool=a\x1b[2J\nb"); r.code != 0 {
		t.Fatal(r)
	}
	for format, want := range map[string]string{
		"{{.Seq}} {{.Type}} {{.Action}} {{.Pool}}:{{.ID}} {{.Name}} {{.Veth}} {{.Source}} {{.Opts.ifindex}}": "1 ct_netif up tank:1 eth0 v1 uid:0 7\n" +
			"2 x  :5   uid:0 \n" + `3 x  a\x1b[2J\nb:   uid:0 ` + "\n",
		"{{json .}}":                             ctl(t, bus.Env(), "events", "--json").stdout,
		`{{if eq .Type "x"}}{{.Opts.id}}{{end}}`: "\n5\n\n",
	} {
		if r := ctl(t, bus.Env(), "events", "--format", format); r != (result{want, "", 0}) {
			t.Errorf("%s: %+v, want %q", format, r, want)
		}
	}
	for format, want := range map[string]string{"{{.Nothing}}": "can't evaluate field Nothing", "{{": "--format:1:"} {
		if r := ctl(t, bus.Env(), "events", "--format", format); r.code != 1 || r.stdout != "" || !strings.Contains(r.stderr, want) {
			t.Errorf("%s: %+v, want %q", format, r, want)
		}
	}
}
