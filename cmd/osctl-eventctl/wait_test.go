package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/osctl/eventd/cmd/internal/daemontest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/nstest"
)

func TestWait(t *testing.T) {
	bus, d := startService(t)
	report(t, d.Client(t), 1, "state", "pool", "tank", "id", "101", "state", "running")
	report(t, d.Client(t), 1, "state", "pool", "tank", "id", "102", "state", "running")
	report(t, d.Client(t), 1, "state", "pool", "tank", "id", "a/b", "state", "running")
	for _, test := range []struct {
		args   string
		code   int
		stdout string
		stderr string
	}{
		{"tank:101 running", 0, "running\n", ""},
		{"tank:101 frozen running", 0, "running\n", ""},
		{"tank:101 running --timeout 10m", 0, "running\n", ""},
		{"tank:101 stopped --timeout 20ms", exitTimeout, "", "tank:101 was not stopped within 20ms"},
		{"tank:999 stopped error --timeout 20ms", exitTimeout, "", "tank:999 was not stopped or error within 20ms"},
		{"tank:101/eth0 down", 0, "down\n", ""},
		{"tank:101/eth0 up --timeout 20ms", exitTimeout, "", "tank:101/eth0 was not up within 20ms"},
		{"tank:101/eth0 running", 1, "", "Expected up, down or gone"},
		{"tank:101/eth0", 1, "", "Expected up, down or gone"},
		{"tank:101", 1, "", "which state of tank:101? Expected one or more"},
		{"tank:a/b running", 1, "", "which state of the interface tank:a/b? Expected up, down or gone; if the id has a slash, name the container by --pool and --id"},
		{"--pool tank --id a/b running", 0, "running\n", ""},
		{"--pool tank --id a/b --name eth0 down", 0, "down\n", ""},
		{"--pool tank --id a/b --name eth0 running", 1, "", "which state of the interface tank:a/b/eth0? Expected up, down or gone\n"},
		{"--pool tank --id a/b", 1, "", "which state of tank:a/b? Expected one or more"},
		{"--pool tank running", 1, "", "--pool and --id together name a container"},
		{"--id a/b running", 1, "", "--pool and --id together name a container"},
		{"--name eth0 tank:101 up", 1, "", "--pool and --id together name a container"},
		{"101 running", 1, "", "expected a container as POOL:ID"},
		{"", 1, "", "wait for what?"},
		{"tank:101 running --timeout 1d", 0, "running\n", ""},
		{"tank:101 running --bus unix:path=/nonexistent", 1, "", "is the bus running"},
		{"tank:101/eth0 gone", 0, "gone\n", ""},
		{"tank:101 tank:102 running", 0, "tank:101 running\ntank:102 running\n", ""},
		{"tank:101 running -- tank:102/eth0 down -- tank:102 frozen running", 0, "tank:101 running\ntank:102/eth0 down\ntank:102 running\n", ""},
		{"--pool tank --id a/b tank:101 running", 0, "tank:a/b running\ntank:101 running\n", ""},
		{"tank:101 tank:102 stopped running", 0, "tank:101 running\ntank:102 running\n", ""},
		{"tank:101 running tank:102 stopped --timeout 2s", exitTimeout, "", "osctl-eventctl: tank:102 was not stopped within 2s\n"},
		{"tank:101 stopped tank:102 error --timeout 20ms", exitTimeout, "", ": tank:101 was not stopped within 20ms, tank:102 was not error within 20ms\n"},
		{"tank:101 running tank:102", 1, "", "which state of tank:102? Expected one or more"},
		{"tank:101 running -- --timeout 1s", 1, "", `"--timeout": expected a state; flags come before --`},
		{"tank:999 running --timeout 2s", exitTimeout, "", "\nno state of tank:999 is known: the service has seen no cgroup and no report"},
		{"tank:101 dozing --timeout 20ms", exitTimeout, "", "\nunknown state dozing; known are aborting, error, "},
		{"tank:101 running --json", 1, "", "--since and --json need --type or --action"},
		{"--type state --timeout 20ms", exitTimeout, "", "no such event within 20ms"},
		{"--type state --since oldest --json tank:102", 0, "{\"type\":\"state\",\"opts\":{\"pool\":\"tank\",\"id\":\"102\"", ""},
		{"--action running --since oldest --pool tank --id a/b", 0, "  state running", ""},
	} {
		r := ctlUntil(t, bus.Env(), func(r result) bool {
			return test.code != exitTimeout || strings.Contains(r.stderr, test.stderr)
		}, append([]string{"wait"}, strings.Fields(test.args)...)...)
		if strings.Contains(test.args, "--since") { // compare only the beginning
			r.stdout = r.stdout[max(strings.Index(r.stdout, test.stdout), 0):][:len(test.stdout)]
		}
		if r.code != test.code || r.stdout != test.stdout || !strings.Contains(r.stderr, test.stderr) || test.stderr == "" && r.stderr != "" {
			t.Errorf("wait %s: %+v, want %+v", test.args, r, test)
		}
	}
	// An interrupted wait does not end with 0.
	code := -1
	for delay := 50 * time.Millisecond; code == -1; delay *= 2 { // -1: killed before it handles the signal
		w := start(t, bus, "wait", "tank:101", "stopped")
		time.AfterFunc(delay, func() { _ = w.Cmd.Process.Signal(syscall.SIGINT) })
		code = w.Wait(t)
	}
	if code != exitInterrupted {
		t.Errorf("interrupted: status %d", code)
	}
}

// TestWaitRace races the command against the change that it waits for.
func TestWaitRace(t *testing.T) {
	bus, d := startService(t)
	client := d.Client(t)
	const waits = 200
	var group sync.WaitGroup
	work := make(chan int)
	for range 4 {
		group.Go(func() {
			for i := range work {
				id := fmt.Sprint(i)
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				cmd := exec.CommandContext(ctx, program(), "wait", "tank:"+id, "running")
				cmd.Env = bus.Env()
				changed := make(chan error, 1)
				timer := time.AfterFunc(time.Duration(i%40)*time.Millisecond/2, func() {
					var err error
					for _, state := range []string{"starting", "running"} {
						_, reportErr := client.Report(ctx, "state", hub.Options{
							{Name: "pool", Value: hub.String("tank")}, {Name: "id", Value: hub.String(id)}, {Name: "state", Value: hub.String(state)},
						})
						err = errors.Join(err, reportErr)
					}
					changed <- err
				})
				out, err := cmd.CombinedOutput()
				timer.Stop()
				if err != nil || string(out) != "running\n" {
					t.Errorf("wait %d: %v: %s", i, err, out)
				} else if err := <-changed; err != nil {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	for i := range waits {
		work <- i
	}
	close(work)
	group.Wait()
}

// TestWaitLink waits for the interface of a namespace to come up and go down.
func TestWaitLink(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	host := nstest.New(t)
	d := daemontest.Start(t, programs, host, bus.Address(), nil)
	owner := "eventctl-wait-link"
	// The watcher knows the owner by what a manager reports.
	veth, err := host.Pair("out0", "in0", nil)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := host.Index("in0")
	if err != nil {
		t.Fatal(err)
	}
	report(t, d.Client(t), 1, hub.TypeNetif, "pool", "tank", "id", owner, "action", "add", "name", "eth0", "veth", "out0")
	waitFor := func(state string, do func(ifindex int) error, ifindex int) {
		t.Helper()
		w := start(t, bus, "wait", "tank:"+owner+"/eth0", state)
		if err := do(ifindex); err != nil {
			t.Fatal(err)
		}
		if code := w.Wait(t); code != 0 || w.Out.String() != state+"\n" {
			t.Errorf("%s: status %d, %s%s", state, code, &w.Out, &w.Err)
		}
	}
	if err := host.Up(veth); err != nil {
		t.Fatal(err)
	}
	waitFor("up", host.Up, peer)
	waitFor("down", host.Down, peer)
	waitFor("up", host.Up, peer)
	// At a handover the interface keeps working, so a running wait for down does not end. A wait for up
	// of the new owner ends.
	down := start(t, bus, "wait", "tank:"+owner+"/eth0", "down", "tank:none", "running")
	down.line(t, &down.Err, "no state of tank:none is known", nil)
	next := start(t, bus, "wait", "tank:next/eth0", "up")
	report(t, d.Client(t), 1, hub.TypeNetif, "pool", "tank", "id", "next", "action", "add", "name", "eth0", "veth", "out0")
	if code := next.Wait(t); code != 0 || next.Out.String() != "up\n" {
		t.Errorf("handover: status %d, %s%s", code, &next.Out, &next.Err)
	}
	report(t, d.Client(t), 1, hub.TypeState, "pool", "tank", "id", "none", "state", "running")
	owner = "next"
	waitFor("up", func(int) error { return nil }, 0)
	if down.Out.String() != "" {
		t.Errorf("handover: the wait for down ended: %s", &down.Out)
	}
	if err := host.Down(peer); err != nil {
		t.Fatal(err)
	}
	if code := down.Wait(t); code != 0 {
		t.Errorf("handover, then down: status %d, %s", code, &down.Err)
	}
	waitFor("gone", host.Delete, veth)
}

// TestWaitEvent waits for an event of one of two types.
func TestWaitEvent(t *testing.T) {
	bus, d := startService(t)
	w := start(t, bus, "wait", "--type", "note,backup_done", "tank:1", "tank:2")
	ended := make(chan int, 1)
	go func() { ended <- w.Wait(t) }()
	for code := -1; code < 0; { // the test cannot see when the wait starts
		report(t, d.Client(t), 1, "backup_done", "pool", "tank", "id", "3")
		report(t, d.Client(t), 1, "backup_done", "pool", "tank", "id", "2")
		select {
		case code = <-ended:
		case <-time.After(10 * time.Millisecond):
		}
		if code > 0 {
			t.Fatal(code, &w.Err)
		}
	}
	if out := w.Out.String(); strings.Count(out, "\n") != 1 || !strings.Contains(out, "backup_done        tank:2 ") {
		t.Errorf("it printed %s", out)
	}
}

// TestWaitSilent checks that a wait ends soon after its timeout if the service does not answer, and says
// that it did not.
func TestWaitSilent(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	silentService(t, bus, func(*bustest.Client) error { return nil })
	for args, want := range map[string]string{
		"tank:1 running": "osctl-eventctl: tank:1 was not running within 20ms\nosctl-eventd, or the bus system, does not answer: ",
		"tank:1/eth0 up": "osctl-eventctl: tank:1/eth0 was not up within 20ms\nosctl-eventd, or the bus system, does not answer: ",
		"--type state":   "osctl-eventctl: no such event within 20ms: osctl-eventd did not answer\n",
	} {
		began, took := time.Now(), time.Duration(0)
		r := ctlUntil(t, bus.Env(), func(r result) bool {
			took = time.Since(began)
			began = time.Now()
			return took < callTimeout && strings.HasPrefix(r.stderr, want)
		}, append([]string{"wait", "--timeout", "20ms"}, strings.Fields(args)...)...)
		if r.code != exitTimeout || !strings.HasPrefix(r.stderr, want) || took >= callTimeout {
			t.Errorf("wait %s: %+v after %v, want %q", args, r, took, want)
		}
	}
}

// TestWaitAfterLoss checks that a wait that began with a loss, and then got no event, does not say that the
// service did not answer.
func TestWaitAfterLoss(t *testing.T) {
	bus, _ := startService(t)
	r := ctlUntil(t, bus.Env(), func(r result) bool { return strings.Contains(r.stderr, "lost") },
		"wait", "--type", "x", "--since", "other:5", "--timeout", "3s")
	if r.code != exitTimeout || !strings.Contains(r.stderr, "lost an unknown number of events") || !strings.HasSuffix(r.stderr, ": no such event within 3s\n") {
		t.Errorf("%+v", r)
	}
}

// TestWaitEmptyState checks that a wait refuses an empty state, because no container reaches it.
func TestWaitEmptyState(t *testing.T) {
	for _, target := range []string{"tank:1", "tank:1/eth0"} {
		want := "osctl-eventctl: a state of " + target + " is empty: expected one, like running or up\n"
		if r := ctl(t, nil, "wait", target, ""); r != (result{"", want, 1}) {
			t.Errorf("%+v, want %s", r, want)
		}
	}
}

// TestWaitHint checks that a wait warns if no state is known, and continues.
func TestWaitHint(t *testing.T) {
	bus, d := startService(t)
	w := start(t, bus, "wait", "tank:1", "running")
	w.line(t, &w.Err, "no state of tank:1 is known", nil)
	report(t, d.Client(t), 1, "state", "pool", "tank", "id", "1", "state", "running")
	if code := w.Wait(t); code != 0 || w.Out.String() != "running\n" {
		t.Errorf("status %d, %s%s", code, &w.Out, &w.Err)
	}
}

// TestWaitForgets checks that each wait lists again, so that it does not keep all containers of the past.
func TestWaitForgets(t *testing.T) {
	bus, _ := startService(t)
	a := &app{bus: bus.Address()}
	for _, c := range []condition{{target: target{"tank", "1", ""}, states: []string{"running"}}, {target: target{"tank", "1", "eth0"}, states: []string{"up"}}} {
		if _, _, refresh, err := a.findFilters(t.Context(), []condition{c}); err != nil || refresh <= 0 {
			t.Errorf("%v: %v, lists again after %v", c.target, err, refresh)
		}
	}
}
