package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"
)

// TestNotify starts the bridge without a bus and without runtimes. It is ready, and its status names the
// runtimes.
func TestNotify(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	launch(t, "--bus", "unix:path="+dir+"/bus", "--docker", dir+"/docker", "--podman", dir+"/podman", "--pods", "", "--state-dir", dir)
	var states []string
	for len(states) == 0 || states[len(states)-1] != "STATUS=docker: not there; podman: not there" {
		if err := socket.SetReadDeadline(time.Now().Add(apitest.Patience)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 4096)
		n, err := socket.Read(buf)
		if err != nil {
			t.Fatalf("systemd got %q, %v", states, err)
		}
		states = append(states, string(buf[:n]))
	}
	if states[0] != "READY=1" {
		t.Errorf("systemd got %q", states)
	}
}

func TestFlags(t *testing.T) {
	for args, want := range map[string]string{
		"--log-level=loud": "expected debug, info, warn or error",
		"--bus=nowhere":    "--bus",
		"--bus=unix:path=/x --state-dir=/dev/null/x": "--state-dir",
		"now": "unknown command",
	} {
		var stdout, stderr strings.Builder
		if code := run(t.Context(), strings.Fields(args), &stdout, &stderr); code != 1 || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: status %d, %q, want %q", args, code, stderr.String(), want)
		}
	}
}
