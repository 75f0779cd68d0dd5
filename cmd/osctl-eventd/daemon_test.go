package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/nstest"
)

// TestVethToEvents follows a pair of veths from the kernel to the client. It waits for the events
// of each step before the next, because the kernel announces the carrier of the other end a
// moment later.
func TestVethToEvents(t *testing.T) {
	ns := nstest.New(t)
	d := startDaemon(t, ns, "", nil)
	client := d.Client(t)
	try0, err := ns.Pair("try0", "try1", nil)
	must(t, err)
	try1, err := ns.Index("try1")
	must(t, err)
	must(t, ns.Up(try0))
	steps := []struct {
		do   func() error
		want []string // in any order
	}{
		{func() error { return ns.Up(try1) }, []string{"up name=try0 veth=try1", "up name=try1 veth=try0"}},
		{func() error { return ns.Down(try1) }, []string{"down name=try0 veth=try1", "down name=try1 veth=try0"}},
		{func() error { return ns.Rename(try0, "try2") }, []string{"rename name=try1 new_name=try1 veth=try2 old_veth=try0"}},
		{func() error { return ns.Up(try1) }, []string{"up name=try1 veth=try2", "up name=try2 veth=try1"}},
		{func() error { return ns.Delete(try0) }, []string{"down name=try1 veth=try2", "down name=try2 veth=try1"}},
	}
	seen := 0
	for _, step := range steps {
		must(t, step.do())
		events := collect(t, client, typeFilter(t, hub.TypeNetif), seen+len(step.want))[seen:]
		seen += len(events)
		var got []string
		for _, e := range events {
			if e.Source != hub.SourceNetlink {
				t.Errorf("source %q", e.Source)
			}
			got = append(got, formatEvent(e))
		}
		slices.Sort(got)
		if !slices.Equal(got, step.want) {
			t.Errorf("got events\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(step.want, "\n"))
		}
	}
}

// runTool runs a program and returns its output.
func runTool(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", name, err)
	}
	return string(out), err
}

// TestPlainTools uses the service with busctl alone.
func TestPlainTools(t *testing.T) {
	d := startDaemon(t, nstest.New(t), "", nil)
	call := func(method string, args ...string) (string, error) {
		all := append([]string{"--address=" + d.Address, "call", wire.Name, wire.Path, wire.Interface, method}, args...)
		return runTool(t, "busctl", all...)
	}

	out, err := runTool(t, "busctl", "--address="+d.Address, "introspect", wire.Name, wire.Path)
	must(t, err)
	for _, member := range []string{
		`\.Report +method +sa\{sv\} +t `, `\.ReportBatch +method +a\(sa\{sv\}\) +at `,
		`\.WaitEvents +method +sa\{sv\}uu +sa\(ssssstta\{sv\}\) `,
		`\.ListInterfaces +method +a\{sv\} +sa\(usssssa\{sv\}\) `, `\.ListContainers +method +a\{sv\} +sa\(sssta\{sv\}\) `,
		`\.Event +signal +ssssstta\{sv\} `,
		`\.Version +property +s `, `\.Epoch +property +s `, `\.LastSequence +property +t +0 `, `\.OldestSequence +property +t `,
		`\.Cursor +property +s `, `\.InterfaceCount +property +u `, `\.ContainerCount +property +u `, `\.Durable +property +b `,
		`\.Counters +property +a\{st\} `,
	} {
		if !regexp.MustCompile(member).MatchString(out) {
			t.Errorf("introspect does not show %s:\n%s", member, out)
		}
	}

	monitor := monitorBus(t, d, "type='signal',sender='org.osctl.Eventd',arg0='state',arg2='tank',arg3='101'")
	for _, id := range []string{"100", "101"} {
		out, err = call("Report", "sa{sv}", "state", "3", "pool", "s", "tank", "id", "s", id, "state", "s", "running")
		must(t, err)
	}
	if out != "t 2\n" {
		t.Errorf("Report answered %q", out)
	}
	monitor.waitFor(t, "Member=Event", `STRING "101"`)
	if strings.Contains(monitor.String(), `STRING "100"`) {
		t.Errorf("received a signal that the match rule excludes:\n%s", monitor)
	}

	out, err = call("WaitEvents", "sa{sv}uu", "oldest", "1", "id", "s", "101", "0", "0")
	must(t, err)
	if !strings.Contains(out, ` 1 "state" "running" "tank" "101" "`) || !strings.Contains(out, `" 2 `) {
		t.Errorf("WaitEvents answered %s", out)
	}
	out, err = call("Report", "sa{sv}", "state", "3", "pool", "s", "tank", "id", "i", "101", "state", "s", "running")
	if err == nil || !strings.Contains(out, `option "id"`) {
		t.Errorf("report of an invalid event: %v, %s", err, out)
	}
}

// monitored collects the output of a running program.
type monitored struct{ *lockedBuffer }

// monitorBus runs busctl monitor until the test ends.
func monitorBus(t *testing.T, d *daemonProcess, match string) monitored {
	t.Helper()
	m := monitored{&lockedBuffer{}}
	cmd := exec.Command("busctl", "--address="+d.Address, "monitor", "--match", match)
	cmd.Stdout, cmd.Stderr = m, m
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	m.waitFor(t, "Monitoring bus message stream")
	return m
}

// waitFor waits until all texts are printed.
func (m monitored) waitFor(t *testing.T, texts ...string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for _, text := range texts {
		for !strings.Contains(m.String(), text) {
			if time.Now().After(deadline) {
				t.Fatalf("output lacks %q:\n%s", text, m)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// TestBusRestart kills the bus, changes links, and restarts the bus: the service comes back by
// itself, and WaitEvents returns the events of the meantime.
func TestBusRestart(t *testing.T) {
	for _, kind := range bustest.Kinds() {
		t.Run(kind.String(), func(t *testing.T) {
			bus := bustest.Start(t, kind, bustest.PolicyOpen)
			ns := nstest.New(t)
			d := startDaemon(t, ns, bus.Address(), nil)
			_, before, err := d.Client(t).WaitEvents(t.Context(), "", hub.Filter{}, 0, 0)
			must(t, err)
			if len(before) != 0 {
				t.Fatalf("%d events", len(before))
			}
			bus.Kill()
			const pairs, flips = 2, 5 // within the budget of an interface
			next := map[string]string{}
			for i := range pairs {
				flipPair(t, ns, fmt.Sprint("va", i), fmt.Sprint("vb", i), flips)
				next[fmt.Sprint("va", i)], next[fmt.Sprint("vb", i)] = "up", "up"
			}
			bus.Restart(t)
			d.WaitForService(t)
			other := map[string]string{"up": "down", "down": "up"}
			for i, e := range collect(t, d.Client(t), hub.Filter{}, 4*pairs*flips) {
				veth := e.Options.Text("veth")
				if e.Seq != uint64(i+1) || e.Action != next[veth] {
					t.Fatalf("event %d has number %d and is %s of %s, want %s", i, e.Seq, e.Action, veth, next[veth])
				}
				next[veth] = other[e.Action]
			}
		})
	}
}

// flipPair creates a pair of veths, and sets one end up and down. It waits each time until the
// kernel has announced the change.
func flipPair(t *testing.T, ns *nstest.NS, a, b string, flips int) {
	t.Helper()
	va, err := ns.Pair(a, b, nil)
	must(t, err)
	vb, err := ns.Index(b)
	must(t, err)
	must(t, ns.Up(va))
	for range flips {
		must(t, ns.Up(vb))
		waitOperState(t, ns, netlink.OperUp, va, vb)
		must(t, ns.Down(vb))
		waitOperState(t, ns, netlink.OperDown, vb)
		waitOperState(t, ns, netlink.OperLowerLayerDown, va)
	}
}

// waitOperState waits until links reach a state. The kernel processes a change of carrier a moment
// later, and skips one that was undone by then.
func waitOperState(t testing.TB, ns *nstest.NS, want netlink.LinkOperState, ifindexes ...int) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		reached := true
		for _, ifindex := range ifindexes {
			link, err := ns.Handle().LinkByIndex(ifindex)
			must(t, err)
			reached = reached && link.Attrs().OperState == want
		}
		if reached {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("links %v did not reach state %v", ifindexes, want)
		}
	}
}

// TestNameTaken starts a second daemon on the same bus, which fails.
func TestNameTaken(t *testing.T) {
	d := startDaemon(t, nstest.New(t), "", nil)
	out, err := runTool(t, filepath.Join(programs, "osctl-eventd"), "--bus", d.Address, "--state-dir", stateNone)
	if err == nil || !strings.Contains(out, "already has an owner") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestJournal checks that log lines have a priority if stderr is the journal, and none otherwise.
func TestJournal(t *testing.T) {
	for _, journal := range []bool{true, false} {
		stderr, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
		must(t, err)
		var stat unix.Stat_t
		must(t, unix.Fstat(int(stderr.Fd()), &stat))
		if !journal {
			stat.Ino++ // JOURNAL_STREAM inherited from another service
		}
		cmd := exec.Command(filepath.Join(programs, "osctl-eventd"), "--bus", "unix:path=/nonexistent", "--state-dir", stateNone)
		cmd.Env = append(os.Environ(), fmt.Sprintf("JOURNAL_STREAM=%d:%d", stat.Dev, stat.Ino))
		cmd.Stderr = stderr
		if err := cmd.Run(); err == nil {
			t.Fatal("the daemon started without a bus")
		}
		must(t, stderr.Close())
		log, err := os.ReadFile(stderr.Name())
		must(t, err)
		if with := regexp.MustCompile(`(?m)^<3>msg="osctl-eventd failed"`).Match(log); with != journal {
			t.Errorf("journal %v: %s", journal, log)
		}
	}
}
