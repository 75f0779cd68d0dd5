package dbusapi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/dbusapi/wire"

	"github.com/osctl/eventd/hub"
)

func startPrivate(t *testing.T) (*PrivateBus, int) {
	t.Helper()
	b, err := StartPrivateBus(apitest.Bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	c, err := wire.Dial(apitest.Bounded(t), b.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	h := wire.BusCall("GetConnectionUnixProcessID", "s")
	h.Serial = c.NextSerial()
	e := wire.NewEncoder(nil)
	e.Message(h, func(e *wire.Encoder) { e.String(wire.BusName) })
	if _, err := c.Write(e.Bytes, apitest.Patience); err != nil {
		t.Fatal(err)
	}
	for {
		m, err := c.Read(func(*wire.Message) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		if m.ReplySerial == h.Serial {
			return b, int(m.Decoder().Uint32())
		}
	}
}

func TestPrivateBus(t *testing.T) {
	t.Parallel()
	b, pid := startPrivate(t)
	s := launch(t, Config{Hub: apitest.NewHub(t, hub.Config{}), Address: b.Address})
	apitest.Await(t, "the service is ready", s.Ready())
	c, err := client.Dial(apitest.Bounded(t), b.Address)
	if err != nil {
		t.Fatal(err)
	}
	if seq, err := c.Report(apitest.Bounded(t), "x", nil); err != nil || seq != 1 {
		t.Errorf("Report = %d, %v", seq, err)
	}
	c.Close()
	if err := s.stop(t); err != nil {
		t.Error(err)
	}
	path := strings.TrimPrefix(b.Address, "unix:path=")
	if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory is %v, %v", info, err)
	}
	b.Close()
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Error("the bus is not dead after Close:", err)
	}
	if _, err := os.Stat(filepath.Dir(path)); !os.IsNotExist(err) {
		t.Error("Close did not remove the directory:", err)
	}
	if _, err := client.Dial(apitest.Bounded(t), b.Address); err == nil {
		t.Error("the bus accepts connections after Close")
	}
}

// Root can connect to the private bus of another user.
func TestPrivateBusOfUser(t *testing.T) {
	const nobody = 65534
	dir, err := os.MkdirTemp("", "bustest-") //nolint:usetesting // others may enter it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket, config := filepath.Join(dir, "socket"), filepath.Join(dir, "bus.conf")
	text := fmt.Sprintf(privateConfig, wire.EscapeAddress(socket))
	if err := errors.Join(os.WriteFile(config, []byte(text), 0o644), os.Chown(dir, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("dbus-daemon", "--config-file="+config, "--nofork", "--nopidfile")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	apitest.Eventually(t, "root is connected", func() bool {
		conn, err := wire.Dial(apitest.Bounded(t), "unix:path="+wire.EscapeAddress(socket))
		if err == nil {
			err = conn.Close()
		}
		return err == nil
	})
}

func TestPrivateBusEnds(t *testing.T) {
	t.Parallel()
	for signal, part := range map[syscall.Signal]string{syscall.SIGKILL: "killed", syscall.SIGTERM: "the private bus ended"} {
		b, pid := startPrivate(t)
		ctx, cancel := context.WithCancel(apitest.Bounded(t))
		cancel()
		if err := b.Wait(ctx); err != nil {
			t.Error("Wait with a context that ended:", err)
		}
		if err := syscall.Kill(pid, signal); err != nil {
			t.Fatal(err)
		}
		if err := b.Wait(apitest.Bounded(t)); err == nil || !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "%!") {
			t.Errorf("after %v: %v", signal, err)
		}
		b.Close()
	}
}

// Close ends a bus that hangs.
func TestPrivateBusHangs(t *testing.T) {
	t.Parallel()
	b, pid := startPrivate(t)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	b.Close()
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Error("the bus is not dead after Close:", err)
	}
}

func TestPrivateBusCannotStart(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if b, err := StartPrivateBus(ctx); err == nil {
		b.Close() // it started before the check of ctx
	} else if !strings.Contains(err.Error(), "private bus") {
		t.Error(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "dbus-daemon"), []byte("#!/bin/sh\necho broken >&2\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	if _, err := StartPrivateBus(apitest.Bounded(t)); err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "broken") {
		t.Error("with a broken dbus-daemon:", err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := StartPrivateBus(apitest.Bounded(t)); err == nil || !strings.Contains(err.Error(), "Debian package") {
		t.Error("without a dbus-daemon:", err)
	}
}
