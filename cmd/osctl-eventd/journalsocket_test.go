package main

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// TestJournalWaits wants the kernel to tell when journald has room again, whoever filled its
// queue: a socket that is writable all the while would be tried all the while.
func TestJournalWaits(t *testing.T) {
	journald := newFakeJournald(t)
	conn, err := openJournal(journald.path)
	must(t, err)
	defer conn.close()
	writable := func() bool {
		var n int
		raw, err := conn.sock.SyscallConn()
		must(t, err)
		must(t, raw.Control(func(fd uintptr) { n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 0) }))
		must(t, err)
		return n > 0
	}
	must(t, conn.send(nil))
	if !writable() {
		t.Error("it waits for a journald that has room")
	}
	// A sender may have less room than the queue of journald, so it takes several: the queue
	// is full when one cannot send anything.
	for sent := -1; sent != 0; {
		other, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		must(t, err)
		t.Cleanup(func() { _ = unix.Close(other) })
		for sent = 0; err == nil; sent++ {
			err = unix.Sendto(other, []byte("MESSAGE=other\n"), 0, &unix.SockaddrUnix{Name: journald.path})
		}
		if sent--; !errors.Is(err, unix.EAGAIN) {
			t.Fatal(err)
		}
	}
	if writable() {
		t.Error("it does not wait while journald has no room")
	}
	sent := make(chan error, 1)
	go func() { sent <- conn.send([]journalField{{"MESSAGE", "eth0"}}) }()
	for journald.next()["MESSAGE"] != "eth0" {
		continue
	}
	must(t, <-sent)
}
