package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/osctl/eventd/cmd/internal/daemontest"
	"github.com/osctl/eventd/cmd/internal/eventflags"
	"github.com/osctl/eventd/cmd/internal/terminal"
	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/nstest"
)

// TestShow shows one container, and nothing of others.
func TestShow(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	host := nstest.New(t)
	d := daemontest.Start(t, programs, host, bus.Address(), nil)
	client := d.Client(t)
	bind(t, host, client, "va", "tank", "101", "eth0")
	report(t, client, 12, "backup", "pool", "tank", "id", "101", "note", "a\nb")
	report(t, client, 1, "backup", "pool", "tank", "id", "102")
	report(t, client, 1, "state", "pool", "tank", "id", "101", "state", "running")
	report(t, client, 1, "state", "pool", "lxc", "id", "a/b", "state", "stopped")
	apitest.Eventually(t, "the watcher has handled the report of the interface", func() bool {
		rows, _, err := client.Interfaces(t.Context(), apitest.Only(t, "pool", "tank"))
		return err == nil && len(rows) == 1
	})
	r := ctl(t, bus.Env(), "show", "tank:101")
	want := regexp.MustCompile(`^Container:   tank:101\nState:       running since \S+ \S+ \(\d+s\)\nInterfaces:  eth0 down \(va on the host\)\n\n` +
		`(\S+  backup +tank:101 +note="a\\nb"  from uid:0\n){9}\S+  state running .*\n$`)
	if r.code != 0 || !want.MatchString(r.stdout) {
		t.Errorf("%+v", r)
	}
	if r := ctl(t, bus.Env(), "show", "tank:102"); r.code != 0 || !strings.Contains(r.stdout, "State:      unknown\n") {
		t.Errorf("no state: %+v", r)
	}
	var shown struct {
		Pool, ID, State string
		Interfaces      []struct{ Veth string }
		Events          []struct{ Seq uint64 }
	}
	r = ctl(t, bus.Env(), "show", "tank:101", "--json", "-n", "3")
	if err := json.Unmarshal([]byte(r.stdout), &shown); err != nil || shown.State != "running" || len(shown.Interfaces) != 1 || len(shown.Events) != 3 {
		t.Errorf("%+v, %v", r, err)
	}
	for args, want := range map[string]string{
		"--pool lxc --id a/b": "", "tank:999": "tank:999 is unknown; see osctl-eventctl list", "tank:101/eth0": "expected a container as POOL:ID",
		"": "show which container?", "tank:1 tank:2": "show which container?", "--pool tank": "show which container?", "--pool tank --id 101 tank:101": "show which container?",
	} {
		if r := ctl(t, bus.Env(), append([]string{"show"}, strings.Fields(args)...)...); (r.code == 0) != (want == "") || !strings.Contains(r.stderr, want) {
			t.Errorf("show %s: %+v, want %q", args, r, want)
		}
	}
}

// sinkFunc is a sink that calls a function for each event.
type sinkFunc func()

func (f sinkFunc) event(context.Context, *hub.Event, string) (handled bool, err error) {
	f()
	return false, nil
}

func (f sinkFunc) flush(context.Context) error { return nil }

// TestShowLoss checks that show prints what it has if the history drops events that it has not read yet.
func TestShowLoss(t *testing.T) {
	bus, d := startService(t, "--history", "4096")
	client := d.Client(t)
	report(t, client, 4096, "backup", "pool", "tank", "id", "101")
	stderr, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stderr.Close() }()
	a := &app{bus: bus.Address(), err: terminal.NewOutput(stderr)}
	read := 0
	err = a.readEvents(t.Context(), sinkFunc(func() {
		if read++; read == 1 {
			report(t, client, 3*4096, "backup", "pool", "tank", "id", "101")
		}
	}), eventflags.Filter{Pools: []string{"tank"}, IDs: []string{"101"}}, 0)
	if err != nil || read == 0 {
		t.Errorf("%v after %d events", err, read)
	}
	if warned := readText(stderr.Name()); !strings.Contains(warned, "lost at most ") {
		t.Errorf("the warning is %q", warned)
	}
}
