package netwatch

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// readiness waits until a socket can be read: by an epoll instance of its own, which the
// runtime's poller has instead of the socket. That poller is told of each datagram,
// whether anybody waits or not, and each time a thread wakes up for it. This one says
// it once and then nothing until it is asked again (EPOLLONESHOT), so that datagrams
// that come while others are dealt with, or while more are let gather, wake nobody.
type readiness struct {
	file   *os.File // the epoll instance
	conn   syscall.RawConn
	socket int
	poll   func(epoll uintptr) bool // made once
	armed  bool                     // the next datagram will be said
	err    error
}

// openReadiness opens one for a socket, which must stay open for as long.
func openReadiness(socket int) (*readiness, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	err = errors.Join(
		unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, socket, &unix.EpollEvent{Events: unix.EPOLLONESHOT}),
		unix.SetNonblock(fd, true), // for the file to go to the runtime's poller, and have deadlines
	)
	r := &readiness{file: os.NewFile(uintptr(fd), "rtnetlink readiness"), socket: socket}
	if err == nil {
		r.conn, err = r.file.SyscallConn()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("epoll: %w", err), r.file.Close())
	}
	r.poll = r.pollOnce
	return r, nil
}

// wait returns when the socket can be read, or the deadline is over.
func (r *readiness) wait() error {
	if err := r.conn.Read(r.poll); err != nil {
		return err
	}
	return r.err
}

// pollOnce reports whether the wait is over.
func (r *readiness) pollOnce(epoll uintptr) bool {
	var events [1]unix.EpollEvent
	if !r.armed {
		events[0].Events = unix.EPOLLIN | unix.EPOLLONESHOT
		if r.err = unix.EpollCtl(int(epoll), unix.EPOLL_CTL_MOD, r.socket, &events[0]); r.err != nil {
			return true
		}
		r.armed = true
	}
	n, err := retry(func() (int, error) { return unix.EpollWait(int(epoll), events[:], 0) })
	r.err = err
	r.armed = n == 0
	return n > 0 || err != nil
}

func (r *readiness) setDeadline(at time.Time) error { return r.file.SetReadDeadline(at) }

func (r *readiness) close() error { return r.file.Close() }

// retry repeats a system call that a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
