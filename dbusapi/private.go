package dbusapi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/osctl/eventd/dbusapi/wire"
)

// privateConfig is the configuration of a private bus. Only its own user and root may connect, and they
// may do everything.
const privateConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=%s</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="root"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
`

// PrivateBus is a dbus-daemon for a single process, to try the service and for tests.
type PrivateBus struct {
	// Address is the address of the bus.
	Address string

	dir    string
	cancel context.CancelFunc // ends the process
	done   chan struct{}      // closed when the process has ended
	err    error              // of the process, after done
}

// StartPrivateBus starts a dbus-daemon, which must be installed, and waits until it accepts connections.
// The bus ends with [PrivateBus.Close], or with this process.
func StartPrivateBus(ctx context.Context) (*PrivateBus, error) {
	program, err := exec.LookPath("dbus-daemon")
	if err != nil {
		return nil, fmt.Errorf("private bus: %w (Debian package: dbus)", err)
	}
	dir, err := os.MkdirTemp("", "osctl-eventd-bus-")
	if err != nil {
		return nil, fmt.Errorf("private bus: %w", err)
	}
	socket, config := filepath.Join(dir, "socket"), filepath.Join(dir, "bus.conf")
	text := fmt.Sprintf(privateConfig, wire.EscapeAddress(socket))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("private bus: %w", err), os.RemoveAll(dir))
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	cmd := exec.CommandContext(running, program, "--config-file="+config, "--nofork", "--nopidfile", "--print-address=1") //nolint:gosec // a file of this function
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopTimeout
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	b := &PrivateBus{Address: "unix:path=" + wire.EscapeAddress(socket), dir: dir, cancel: cancel, done: make(chan struct{})}
	started := make(chan error, 1)
	go b.run(cmd, started)
	select {
	case err = <-started:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		b.Close()
		return nil, fmt.Errorf("private bus: %w", err)
	}
	return b, nil
}

// run runs the bus. The kernel kills it when the thread that started it ends (PR_SET_PDEATHSIG), so that
// it does not outlive this process. So the goroutine keeps its thread.
func (b *PrivateBus) run(cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(b.done)
	problems := &firstBytes{}
	cmd.Stderr = problems
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.err = err
		started <- err
		return
	}
	_, err = bufio.NewReader(out).ReadString('\n')
	if err == nil {
		started <- nil
	}
	b.err = cmd.Wait()
	if err != nil {
		started <- fmt.Errorf("dbus-daemon ended (%w): %s", b.err, strings.TrimSpace(string(*problems)))
	}
}

// firstBytes is a writer that keeps the first bytes.
type firstBytes []byte

func (b *firstBytes) Write(p []byte) (int, error) {
	const most = 4096
	*b = append(*b, p[:min(len(p), most-len(*b))]...)
	return len(p), nil
}

// Wait waits until the bus ends and returns an error, or until ctx is done and returns nil.
func (b *PrivateBus) Wait(ctx context.Context) error {
	select {
	case <-b.done:
		if b.err == nil {
			return errors.New("the private bus ended")
		}
		return fmt.Errorf("the private bus ended: %w", b.err)
	case <-ctx.Done():
		return nil
	}
}

// Close ends the bus and removes its files.
func (b *PrivateBus) Close() {
	b.cancel()
	<-b.done
	_ = os.RemoveAll(b.dir)
}
