package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/osctl/eventd/dbusapi"
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/nstest"
)

// patience is how long a test waits for what must come. It is no measure of speed.
const patience = 30 * time.Second

// programs is the directory with both programs, built once.
var programs string //nolint:gochecknoglobals // set by TestMain alone

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "osctl-eventd-test-")
	if err == nil {
		build := exec.Command("go", "build", "-o", dir, "../osctl-eventd", "../osctl-eventctl")
		build.Stderr = os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build the programs:", err)
		os.Exit(1)
	}
	programs = dir
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// daemonProcess is a daemon that runs as a process of its own.
type daemonProcess struct {
	cmd     *exec.Cmd
	address string // of the bus
	stderr  *lockedBuffer
	ended   chan struct{}
	err     error // after ended
}

// lockedBuffer is a buffer that one goroutine writes and others read.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// startDaemon starts a daemon in a namespace, on the bus at an address or, for "",
// on a private one. It returns when the service answers; the daemon ends with the test.
// Without further flags it keeps no state.
func startDaemon(t testing.TB, ns *nstest.NS, address string, env []string, flags ...string) *daemonProcess {
	t.Helper()
	d := launchDaemon(t, ns, address, env, flags...)
	d.waitForService(t)
	return d
}

// launchDaemon is startDaemon that does not wait for the service.
func launchDaemon(t testing.TB, ns *nstest.NS, address string, env []string, flags ...string) *daemonProcess {
	t.Helper()
	d := &daemonProcess{address: address, stderr: &lockedBuffer{}, ended: make(chan struct{})}
	bus := address
	if bus == "" {
		bus = busPrivate
	}
	d.cmd = exec.Command(filepath.Join(programs, "osctl-eventd"), append([]string{"--bus", bus, "--state-dir", stateNone}, flags...)...)
	d.cmd.Env = append(os.Environ(), env...)
	d.cmd.Stderr = d.stderr
	stdout, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := ns.Start(d.cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill()
		<-d.ended
		if t.Failed() {
			t.Logf("the daemon said:\n%s", d.stderr)
		}
	})
	line, err := "", error(nil)
	if address == "" {
		line, err = bufio.NewReader(stdout).ReadString('\n')
		d.address = strings.TrimSpace(line)
	}
	go func() {
		defer close(d.ended)
		d.err = d.cmd.Wait()
	}()
	if err != nil {
		t.Fatalf("the daemon printed no address: %v", err)
	}
	return d
}

// waitForService waits until the service answers on the bus.
func (d *daemonProcess) waitForService(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		client, err := dbusapi.Dial(ctx, d.address)
		if err == nil {
			_, err = client.Properties(ctx)
			client.Close()
			if err == nil {
				return
			}
		}
		select {
		case <-d.ended:
			t.Fatalf("the daemon ended: %v\n%s", d.err, d.stderr)
		case <-ctx.Done():
			t.Fatalf("the service does not answer: %v\n%s", err, d.stderr)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// client connects to the daemon's bus.
func (d *daemonProcess) client(t testing.TB) *dbusapi.Client {
	t.Helper()
	client, err := dbusapi.Dial(t.Context(), d.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// wait waits until the daemon has ended and returns its exit status, -1 for a signal.
func (d *daemonProcess) wait(t testing.TB) int {
	t.Helper()
	select {
	case <-d.ended:
	case <-time.After(patience):
		t.Fatalf("the daemon does not end\n%s", d.stderr)
	}
	return d.cmd.ProcessState.ExitCode()
}

// collect pulls events that pass the filter, from the oldest on, until there are n.
func collect(t testing.TB, client *dbusapi.Client, filter hub.Filter, n int) []*hub.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all []*hub.Event
	for cursor := hub.CursorOldest; len(all) < n; {
		next, events, err := client.WaitEvents(ctx, cursor, filter, 0, patience)
		if err != nil {
			t.Fatalf("%d of %d events, then: %v", len(all), n, err)
		}
		all, cursor = append(all, events...), next
	}
	return all
}

// typeFilter passes events of one type.
func typeFilter(t testing.TB, typ string) hub.Filter {
	t.Helper()
	filter, err := hub.Filter{}.With("type", typ)
	if err != nil {
		t.Fatal(err)
	}
	return filter
}

// told returns what an interface event says, as one line.
func told(e *hub.Event) string {
	o := e.Options
	words := []string{e.Action, "name=" + o.Text("name")}
	if renamed := o.Text("new_name"); renamed != "" {
		words = append(words, "new_name="+renamed)
	}
	words = append(words, "veth="+o.Text("veth"))
	if old := o.Text("old_veth"); old != "" {
		words = append(words, "old_veth="+old)
	}
	return strings.Join(words, " ")
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
