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

// deadline is how long a thing may take that has to happen: starts and ends of
// containers, on a machine that does much else.
const deadline = 2 * time.Minute

// requireTools fails the test when it is not root or a program is missing. It gets
// programs and the Debian packages that have them, in turns.
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

// run runs a command that somebody made and returns what it printed on standard
// output. What it printed on standard error is in the error. It does not wait for
// daemons that inherit the output, which is why that goes to files in memory.
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
		said, _ := content(stderr)
		return out, fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), failed, strings.TrimSpace(said))
	}
	return out, err
}

func memoryFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("cttest", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd: %w", err)
	}
	// Those who inherit it share the offset; reading at offsets leaves that alone.
	return os.NewFile(uintptr(fd), "memfd"), nil
}

func content(f *os.File) (string, error) {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
	return string(b), err
}

// command is a command that is not bound to a context: the reaper ends it.
func command(name string, args ...string) *exec.Cmd {
	return exec.CommandContext(context.Background(), name, args...) //nolint:gosec // of the test's own making
}

// eventually asks until ok says so, for what the kernel tells nobody about.
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
			return fmt.Errorf("%s: not so within %v", what, deadline)
		}
	}
}
