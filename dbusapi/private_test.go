package dbusapi

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/osctl/eventd/hub"
)

func startPrivate(t *testing.T) (*PrivateBus, int) {
	t.Helper()
	b, err := StartPrivateBus(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	c, err := Dial(bounded(t), b.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var pid uint32
	if err := c.conn.bus.BusObject().CallWithContext(bounded(t), busInterface+".GetConnectionUnixProcessID", 0, busName).Store(&pid); err != nil {
		t.Fatal(err)
	}
	return b, int(pid)
}

func TestPrivateBus(t *testing.T) {
	t.Parallel()
	b, pid := startPrivate(t)
	s := launch(t, Config{Hub: newHub(t, hub.Config{}), Address: b.Address})
	await(t, "the service is ready", s.Ready())
	c, err := Dial(bounded(t), b.Address)
	if err != nil {
		t.Fatal(err)
	}
	if seq, err := c.Report(bounded(t), "x", nil); err != nil || seq != 1 {
		t.Errorf("Report = %d, %v", seq, err)
	}
	c.Close()
	if err := s.stop(t); err != nil {
		t.Error(err)
	}
	path, err := socketPath(b.Address)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory is %v, %v", info, err)
	}
	b.Close()
	// It waits for that only so long, which a busy machine may take.
	eventually(t, "the bus is dead after Close", func() bool { return syscall.Kill(pid, 0) != nil })
	if _, err := os.Stat(filepath.Dir(path)); !os.IsNotExist(err) {
		t.Error("the directory is there after Close:", err)
	}
	if _, err := Dial(bounded(t), b.Address); err == nil {
		t.Error("the bus takes connections after Close")
	}
}

func TestPrivateBusEnds(t *testing.T) {
	t.Parallel()
	for signal, part := range map[syscall.Signal]string{syscall.SIGKILL: "killed", syscall.SIGTERM: "the private bus ended"} {
		b, pid := startPrivate(t)
		ctx, cancel := context.WithCancel(bounded(t))
		cancel()
		if err := b.Wait(ctx); err != nil {
			t.Error("Wait with a context that ended:", err)
		}
		if err := syscall.Kill(pid, signal); err != nil {
			t.Fatal(err)
		}
		if err := b.Wait(bounded(t)); err == nil || !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "%!") {
			t.Errorf("after %v: %v", signal, err)
		}
		b.Close()
	}
}

func TestPrivateBusThatCannotStart(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if b, err := StartPrivateBus(ctx); err == nil {
		b.Close() // it was quicker
	} else if !strings.Contains(err.Error(), "private bus") {
		t.Error(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "dbus-daemon"), []byte("#!/bin/sh\necho broken >&2\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	if _, err := StartPrivateBus(bounded(t)); err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "broken") {
		t.Error("with a broken dbus-daemon:", err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := StartPrivateBus(bounded(t)); err == nil || !strings.Contains(err.Error(), "Debian package") {
		t.Error("without a dbus-daemon:", err)
	}
}
