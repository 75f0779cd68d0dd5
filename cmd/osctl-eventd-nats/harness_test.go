package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/osctl/eventd/cmd/internal/daemontest"
	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleettest"
)

// programs is the directory of the built programs.
var programs string //nolint:gochecknoglobals // set by TestMain alone

func TestMain(m *testing.M) { daemontest.Main(m, &programs, "osctl-eventd-nats") }

// program returns the path of the program under test.
func program() string { return filepath.Join(programs, "osctl-eventd-nats") }

// process is a run of the program.
type process struct{ *daemontest.Process }

// launch starts the program until the test ends.
func launch(t testing.TB, env []string, args ...string) *process {
	t.Helper()
	cmd := exec.Command(program(), args...)
	cmd.Env = append(os.Environ(), env...)
	return &process{daemontest.StartProcess(t, cmd)}
}

// bridge returns the arguments of a bridge with its own state directory.
func bridge(t testing.TB, server *fleettest.Server, bus string, more ...string) []string {
	t.Helper()
	id := filepath.Join(t.TempDir(), "machine-id")
	if err := os.WriteFile(id, []byte("3f8e4c0a5d0b4f6c9b7a1122334455ff\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return append([]string{
		"forward", "--server", server.URL, "--bus", bus, "--host", "node1", "--state-dir", t.TempDir(), "--machine-id", id,
	}, more...)
}
