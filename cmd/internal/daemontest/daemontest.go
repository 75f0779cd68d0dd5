// Package daemontest builds the programs and runs the real daemon for tests, in its own network
// namespace and cgroups and on its own bus, apart from those of the machine.
package daemontest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/netwatch/cttest"
	"github.com/osctl/eventd/netwatch/nstest"
)

// Patience is the timeout of all waits in tests. It does not measure speed.
const Patience = apitest.Patience

// Main is the TestMain of a package that runs the programs. It builds osctl-eventd, osctl-eventctl
// and the programs named in more, stores their directory in dir, runs the tests, and checks for
// leaked goroutines.
func Main(m *testing.M, dir *string, more ...string) {
	built, err := os.MkdirTemp("", "osctl-eventd-test-")
	if err == nil {
		const module = "github.com/osctl/eventd/cmd/"
		args := []string{"build", "-buildvcs=false", "-o", built, module + "osctl-eventd", module + "osctl-eventctl"}
		for _, program := range more {
			args = append(args, module+program)
		}
		build := exec.Command("go", args...) //nolint:noctx,gosec // ends by itself
		build.Stderr = os.Stderr
		err = build.Run()
	}
	if err == nil {
		err = os.Chmod(built, 0o755) //nolint:gosec // every user may run them
	}
	if err != nil {
		_ = os.RemoveAll(built)
		_, _ = fmt.Fprintln(os.Stderr, "build the programs:", err)
		os.Exit(1)
	}
	*dir = built
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(built)
		os.Exit(code)
	}))
}

// Output is a buffer that a process writes while a test reads it.
type Output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *Output) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *Output) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Daemon is a daemon in its own process.
type Daemon struct {
	Cmd     *exec.Cmd
	Cgroups *cttest.View  // the cgroups that the daemon sees
	Address string        // of the bus
	Stderr  *Output       // the log
	Ended   chan struct{} // closed when the process has ended
}

// Start starts the daemon that [Main] built in dir, in a network namespace, on the bus at address, or
// on a private bus if address is "". The daemon keeps events in memory unless args say otherwise. Start
// returns when the service answers; the daemon ends with the test.
func Start(t testing.TB, dir string, ns *nstest.NS, address string, env []string, args ...string) *Daemon {
	t.Helper()
	d := Launch(t, dir, ns, address, env, args...)
	d.WaitForService(t)
	return d
}

// Launch is [Start], but does not wait for the service.
func Launch(t testing.TB, dir string, ns *nstest.NS, address string, env []string, args ...string) *Daemon {
	t.Helper()
	d := &Daemon{Address: address, Stderr: &Output{}, Ended: make(chan struct{})}
	bus := address
	if bus == "" {
		bus = "private"
	}
	d.Cgroups = cttest.NewView(t)
	all := d.Cgroups.Args(append([]string{filepath.Join(dir, "osctl-eventd"), "--bus", bus, "--state-dir", "none"}, args...)...)
	d.Cmd = exec.Command(all[0], all[1:]...) //nolint:noctx,gosec // killed below
	d.Cmd.Env = append(os.Environ(), env...)
	d.Cmd.Stderr = d.Stderr
	stdout, err := d.Cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := ns.Start(d.Cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if address == "" {
			d.terminate()
		}
		d.Kill()
		if t.Failed() {
			t.Logf("the daemon logged:\n%s", d.Stderr)
		}
	})
	line, err := "", error(nil)
	if address == "" {
		line, err = bufio.NewReader(stdout).ReadString('\n')
		d.Address = strings.TrimSpace(line)
	}
	go func() {
		defer close(d.Ended)
		_ = d.Cmd.Wait() // Cmd.ProcessState tells how it ended
	}()
	if err != nil {
		t.Fatalf("the daemon printed no address: %v", err)
	}
	return d
}

// WaitForService waits until the service answers on the bus.
func (d *Daemon) WaitForService(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	for {
		client, err := client.Dial(ctx, d.Address)
		if err == nil {
			_, err = client.Properties(ctx)
			client.Close()
			if err == nil {
				return
			}
		}
		select {
		case <-d.Ended:
			t.Fatalf("the daemon ended: %v\n%s", d.Cmd.ProcessState, d.Stderr)
		case <-ctx.Done():
			t.Fatalf("the service does not answer: %v\n%s", err, d.Stderr)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Client connects to the daemon's bus until the test ends. It retries, because on a busy machine
// the library or the bus may time out during authentication.
func (d *Daemon) Client(t testing.TB) *client.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	for {
		client, err := client.Dial(ctx, d.Address)
		if err == nil {
			t.Cleanup(client.Close)
			return client
		}
		select {
		case <-d.Ended:
			t.Fatalf("%v; the daemon ended: %v\n%s", err, d.Cmd.ProcessState, d.Stderr)
		case <-ctx.Done():
			t.Fatal(err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Kills returns how often a test kills its process: few times, or OSCTL_EVENTD_TEST_KILLS times, which
// make soak sets.
func Kills(t testing.TB, few int) int {
	t.Helper()
	text := os.Getenv("OSCTL_EVENTD_TEST_KILLS")
	if text == "" {
		return few
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Wait waits until the daemon has ended. It returns the exit status, -1 for a signal.
func (d *Daemon) Wait(t testing.TB) int {
	t.Helper()
	select {
	case <-d.Ended:
	case <-time.After(Patience):
		t.Fatalf("the daemon does not stop\n%s", d.Stderr)
	}
	return d.Cmd.ProcessState.ExitCode()
}

// terminate stops the daemon cleanly, so that it removes the files of its private bus.
func (d *Daemon) terminate() {
	_ = d.Cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.Ended:
	case <-time.After(Patience):
	}
}

// Kill sends SIGKILL and waits until the daemon has ended.
func (d *Daemon) Kill() {
	_ = d.Cmd.Process.Kill()
	<-d.Ended
}
