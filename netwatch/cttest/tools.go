package cttest

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// deadline is how long a container may take to start or end, on a busy machine.
const deadline = 5 * time.Minute

// requireTools fails the test if it does not run as root, or if a program is missing.
// programs alternates between programs and their Debian packages.
func requireTools(tb testing.TB, programs ...string) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Fatal("cttest: containers need root")
	}
	for i := 0; i+1 < len(programs); i += 2 {
		if _, err := exec.LookPath(programs[i]); err != nil {
			tb.Fatalf("cttest: %v; install the Debian package %s", err, programs[i+1])
		}
	}
}

// run runs a command and returns its standard output. The error has its standard
// error. Both go to files in memory, so run does not wait for daemons that inherit
// them.
func run(cmd *exec.Cmd) (string, error) {
	stdout, err := memoryFile()
	if err != nil {
		return "", err
	}
	defer func() { _ = stdout.Close() }()
	stderr, err := memoryFile()
	if err != nil {
		return "", err
	}
	defer func() { _ = stderr.Close() }()

	cmd.Stdout, cmd.Stderr = stdout, stderr
	failed := cmd.Run()
	out, err := content(stdout)
	if failed != nil {
		message, _ := content(stderr)
		return out, fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), failed, strings.TrimSpace(message))
	}
	return out, err
}

func memoryFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("cttest", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd: %w", err)
	}
	// Daemons that inherit the file share its offset, so content reads at offsets.
	return os.NewFile(uintptr(fd), "memfd"), nil
}

func content(f *os.File) (string, error) {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
	return string(b), err
}

// command returns a command without a context, because the reaper ends it.
func command(name string, args ...string) *exec.Cmd {
	return exec.CommandContext(context.Background(), name, args...) //nolint:gosec // the test makes it
}

// eventually calls ok until it returns true, for conditions that the kernel does not report.
func eventually(what string, ok func() (bool, error)) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(deadline); ; <-tick.C {
		switch done, err := ok(); {
		case err != nil:
			return fmt.Errorf("%s: %w", what, err)
		case done:
			return nil
		case time.Now().After(end):
			return fmt.Errorf("%s: not within %v", what, deadline)
		}
	}
}
