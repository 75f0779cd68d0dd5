// Package daemontest builds the programs and runs the real daemon for tests, in its own network
// namespace and cgroups and on its own bus, apart from those of the machine.
package daemontest

import (
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

// Daemon is a daemon in its own process. Err is its log.
type Daemon struct {
	*Process

	Cgroups *cttest.View // the cgroups that the daemon sees, of [Launch]
	Address string       // of the bus
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
	bus := address
	if bus == "" {
		bus = "private"
	}
	view := cttest.NewView(t)
	all := view.Args(append([]string{filepath.Join(dir, "osctl-eventd"), "--bus", bus, "--state-dir", "none"}, args...)...)
	cmd := exec.Command(all[0], all[1:]...) //nolint:noctx,gosec // killed by Run
	cmd.Env = append(os.Environ(), env...)
	d := Run(t, cmd, ns.Start, address)
	d.Cgroups = view
	return d
}

// Run starts a daemon by cmd and start, such as the method Start of cmd. If the daemon uses a private bus,
// address is "", and Run reads the address from its output. The daemon ends with the test.
func Run(t testing.TB, cmd *exec.Cmd, start func(*exec.Cmd) error, address string) *Daemon {
	t.Helper()
	d := &Daemon{Process: startProcess(t, cmd, start), Address: address}
	if address == "" {
		t.Cleanup(func() { d.terminate(t) })
		d.Address = d.readAddress(t)
	}
	return d
}

// readAddress waits until the daemon prints the address of its private bus.
func (d *Daemon) readAddress(t testing.TB) string {
	t.Helper()
	for deadline := time.Now().Add(apitest.Patience); time.Now().Before(deadline); {
		if line, _, ok := strings.Cut(d.Out.String(), "\n"); ok {
			return line
		}
		select {
		case <-d.Ended:
			t.Fatalf("the daemon ended: %v\n%s", d.Cmd.ProcessState, &d.Err)
		case <-time.After(time.Millisecond):
		}
	}
	t.Fatalf("the daemon printed no address\n%s", &d.Err)
	return ""
}

// WaitForService waits until the service answers on the bus.
func (d *Daemon) WaitForService(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), apitest.Patience)
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
			t.Fatalf("the daemon ended: %v\n%s", d.Cmd.ProcessState, &d.Err)
		case <-ctx.Done():
			t.Fatalf("the service does not answer: %v\n%s", err, &d.Err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Client connects to the daemon's bus until the test ends. It retries, because on a busy machine
// the library or the bus may time out during authentication.
func (d *Daemon) Client(t testing.TB) *client.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), apitest.Patience)
	defer cancel()
	for {
		client, err := client.Dial(ctx, d.Address)
		if err == nil {
			t.Cleanup(client.Close)
			return client
		}
		select {
		case <-d.Ended:
			t.Fatalf("%v; the daemon ended: %v\n%s", err, d.Cmd.ProcessState, &d.Err)
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

// terminate stops the daemon cleanly, so that it removes the files of its private bus.
func (d *Daemon) terminate(t testing.TB) {
	t.Helper()
	_ = d.Cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.Ended:
	case <-time.After(apitest.Patience):
		t.Error("the daemon does not stop")
	}
}
