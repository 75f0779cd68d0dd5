package netwatch

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestReadiness wants a wait to end for what came before it, what comes during it and for
// the deadline, and for what was not read another time.
func TestReadiness(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer func() { _ = errors.Join(unix.Close(fds[0]), unix.Close(fds[1])) }()
	r, err := openReadiness(fds[0])
	must(t, err)
	defer func() { must(t, r.close()) }()
	send := func() {
		_, err := unix.Write(fds[1], []byte("x"))
		must(t, err)
	}
	drain := func() {
		for err = nil; err == nil; {
			_, _, err = unix.Recvfrom(fds[0], make([]byte, 8), unix.MSG_DONTWAIT)
		}
	}

	send()
	must(t, r.wait())
	send() // it is said no more, and waits
	must(t, r.wait())
	must(t, r.wait())
	drain()

	must(t, r.setDeadline(time.Unix(1, 0)))
	if err := r.wait(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the deadline: %v", err)
	}
	must(t, r.setDeadline(time.Now().Add(time.Millisecond)))
	if err := r.wait(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("at the deadline: %v", err)
	}

	must(t, r.setDeadline(time.Now().Add(time.Minute)))
	for range 100 {
		waited := make(chan error, 1)
		go func() { waited <- r.wait() }()
		send()
		must(t, <-waited)
		drain()
	}
}
