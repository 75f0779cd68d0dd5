package main

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// TestJournalWaits checks that the socket is not writable while journald's queue is full, even if
// another process filled it. Otherwise a send would retry in a busy loop.
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
		t.Error("the socket is not writable, though journald's queue has room")
	}
	// The send buffer of one socket may be smaller than journald's queue, so several sockets fill
	// the queue: it is full when a new one cannot send anything.
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
		t.Error("the socket is writable, though journald's queue is full")
	}
	sent := make(chan error, 1)
	go func() { sent <- conn.send([]journalField{{"MESSAGE", "eth0"}}) }()
	for journald.next()["MESSAGE"] != "eth0" {
		continue
	}
	must(t, <-sent)
}
