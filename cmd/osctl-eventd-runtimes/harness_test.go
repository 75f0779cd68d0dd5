package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/osctl/eventd/cmd/internal/daemontest"
)

// programs is the directory of the built programs.
var programs string //nolint:gochecknoglobals // set by TestMain alone

func TestMain(m *testing.M) { daemontest.Main(m, &programs, "osctl-eventd-runtimes") }

// launch starts the bridge until the test ends.
func launch(t testing.TB, args ...string) *daemontest.Process {
	t.Helper()
	return daemontest.StartProcess(t, exec.Command(filepath.Join(programs, "osctl-eventd-runtimes"), args...))
}
