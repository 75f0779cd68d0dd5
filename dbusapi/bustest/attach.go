package bustest

import (
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// Attach returns a bus that the test does not run, whose socket is system_bus_socket in
// the directory given: that of a booted system, say. Clients of any uid may connect,
// also where only root gets to the directory, as below /proc/PID/root. The bus itself
// cannot be stopped, killed or restarted through it.
func Attach(tb testing.TB, kind Kind, dir string) *Bus {
	tb.Helper()
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		tb.Fatalf("bustest: attach to %v in %s: %v", kind, dir, &os.PathError{Op: "open", Path: dir, Err: err})
	}
	tb.Cleanup(func() { _ = unix.Close(fd) })
	// The links there may be followed by the process itself, whatever its uid.
	return &Bus{tb: tb, kind: kind, dir: "/proc/self/fd/" + strconv.Itoa(fd)}
}
