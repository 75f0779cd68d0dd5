package bustest

import (
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// Attach returns a bus that the test does not run, such as the bus of a booted system. Its
// socket is system_bus_socket in dir. Clients of any uid may connect, even if only root can
// reach the directory, such as one below /proc/PID/root. The bus cannot be stopped, killed
// or restarted with it.
func Attach(tb testing.TB, kind Kind, dir string) *Bus {
	tb.Helper()
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		tb.Fatalf("bustest: attach to %v in %s: %v", kind, dir, &os.PathError{Op: "open", Path: dir, Err: err})
	}
	tb.Cleanup(func() { _ = unix.Close(fd) })
	// A process may follow the links there with any uid.
	return &Bus{tb: tb, kind: kind, dir: "/proc/self/fd/" + strconv.Itoa(fd)}
}
