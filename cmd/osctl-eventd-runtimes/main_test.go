package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"
)

// TestNotify has the bridge start where nothing is there: it is ready, and says what it looks for.
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
	var told []string
	for strings.Join(told, " ") == "" || told[len(told)-1] != "STATUS=docker: not there; podman: not there" {
		if err := socket.SetReadDeadline(time.Now().Add(apitest.Patience)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 4096)
		n, err := socket.Read(buf)
		if err != nil {
			t.Fatalf("systemd is told %q, %v", told, err)
		}
		told = append(told, string(buf[:n]))
	}
	if told[0] != "READY=1" {
		t.Errorf("systemd is told %q", told)
	}
}

func TestFlags(t *testing.T) {
	for args, want := range map[string]string{
		"--log-level=loud": "expected debug, info, warn or error",
		"--bus=nowhere":    "--bus",
		"--bus=unix:path=/x --state-dir=/dev/null/x": "--state-dir",
		"now": "unknown command",
	} {
		var out, problems strings.Builder
		if code := run(t.Context(), strings.Fields(args), &out, &problems); code != 1 || !strings.Contains(problems.String(), want) {
			t.Errorf("%s: status %d, %q, want %q", args, code, problems.String(), want)
		}
	}
}
