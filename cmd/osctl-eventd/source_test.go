package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/nstest"
)

// TestSourceThatIsNotUTF8 reports from a unit whose name is not UTF-8. The source shows the byte
// as \xff, and the service stays on the bus when it announces and returns the event, also after
// a restart.
func TestSourceThatIsNotUTF8(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	ns, state := nstest.New(t), t.TempDir()
	d := startDaemon(t, ns, bus.Address(), nil, "--state-dir", state)
	name := fmt.Sprintf("eventd-test-%d-", os.Getpid())
	reportFrom(t, bus.Address(), name+"\xff.service")
	want := name + `\xff.service`
	for _, when := range []string{"at first", "after a restart"} {
		c := d.Client(t)
		events := collect(t, c, typeFilter(t, "strange"), 1)
		if events[0].Source != want {
			t.Errorf("%s the source is %q, want %q", when, events[0].Source, want)
		}
		// The signal of this event comes after that of the strange one.
		if _, err := c.Report(t.Context(), "other", nil); err != nil {
			t.Fatal(err)
		}
		properties, err := c.Properties(t.Context())
		must(t, err)
		counters, _ := properties.Get("Counters")
		for items := counters.Items(); len(items) >= 2; items = items[2:] {
			if items[0].Text() == "bus_losses" && items[1].Uint() > 0 {
				t.Errorf("%s the service lost the bus", when)
			}
		}
		must(t, d.Cmd.Process.Signal(syscall.SIGTERM))
		if status := d.Wait(t); status != 0 {
			t.Errorf("the daemon ended with %d", status)
		}
		d = startDaemon(t, ns, bus.Address(), nil, "--state-dir", state)
	}
	if events := collect(t, d.Client(t), hub.Filter{}, 3); len(events) != 3 {
		t.Errorf("%d events are kept", len(events))
	}
}

// reportFrom reports an event of type strange from a process in a cgroup of that name.
func reportFrom(t *testing.T, address, cgroup string) {
	t.Helper()
	mount := "/sys/fs/cgroup/unified" // on a hybrid system
	if _, err := os.Stat(mount); err != nil {
		mount = "/sys/fs/cgroup"
	}
	dir := filepath.Join(mount, cgroup)
	must(t, os.Mkdir(dir, 0o755))
	t.Cleanup(func() {
		for deadline := time.Now().Add(patience); syscall.Rmdir(dir) != nil; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Errorf("cannot remove the cgroup %s", dir)
				return
			}
		}
	})
	cmd := exec.Command("/bin/sh", "-c", `echo $$ >"$0/cgroup.procs" && exec "$@"`,
		dir, filepath.Join(programs, "osctl-eventctl"), "--bus", address, "report", "strange")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
