package netwatch

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// errTruncated says that a message was longer than the buffer, so it is lost.
var errTruncated = errors.New("netlink message truncated")

// kernel is the edge to the kernel. The other implementation is a model of it
// that injects faults.
type kernel interface {
	// receive copies the next datagram into b. The error is unix.EAGAIN when there
	// is none and wait is false, unix.ENOBUFS when some were lost, errTruncated, or
	// os.ErrDeadlineExceeded.
	receive(b []byte, wait bool) (int, error)
	// send hands the kernel a request. It is safe to call beside receive.
	send(b []byte) error
	// setDeadline ends receives at an instant; the zero time is never.
	setDeadline(at time.Time) error
	// sender returns where the last datagram came from.
	sender() origin
	// ownNSID returns the id that the watched namespace has in itself, NSIDLocal if
	// it has none. It asks the kernel, which takes some microseconds.
	ownNSID() (int32, error)
	// port returns the address that the answers to our requests carry.
	port() uint32
	close() error
}

// origin is where a datagram comes from.
type origin struct {
	nsid   int32 // namespace whose message it is; NSIDLocal for the watched one
	answer bool  // it was sent to us alone
}

// socket is a raw rtnetlink socket that listens to RTNLGRP_LINK of the network
// namespace of the thread that opened it.
type socket struct {
	file  *os.File // not in the runtime's poller: see readiness
	conn  syscall.RawConn
	ready *readiness
	pid   uint32

	cramped int // size of the receive buffer in bytes, if that is less than was asked for; else 0

	self *os.File // the namespace; nil if namespaces are not listened to
	asks int      // socket for ownNSID
	oob  [unix.SizeofCmsghdr + 24]byte
	from origin

	// Of the receive that runs; there is one at a time.
	read func(fd uintptr) // made once, as it is called once a datagram
	into []byte
	n    int
	err  error
}

// openSocket opens the socket. The buffer size is in bytes, and the kernel doubles it.
func openSocket(receiveBuffer int, logger *slog.Logger) (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	file := os.NewFile(uintptr(fd), "rtnetlink")
	s := &socket{file: file}
	if err := s.setUp(fd, receiveBuffer, logger); err != nil {
		_ = file.Close()
		return nil, err
	}
	s.read = s.readOnce
	return s, nil
}

// setUp readies the socket. The filter is there before the group is joined, so
// that nothing gets in that it would have dropped.
func (s *socket) setUp(fd, receiveBuffer int, logger *slog.Logger) error {
	if err := s.setBuffer(fd, receiveBuffer); err != nil {
		return fmt.Errorf("receive buffer of %d bytes: %w", receiveBuffer, err)
	}
	program := vethFilter()
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]} //nolint:gosec // 22 instructions
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &fprog); err != nil {
		logger.Warn("no netlink filter in the kernel, filtering here", slog.Any("error", err))
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.RTNLGRP_LINK - 1)}); err != nil {
		return fmt.Errorf("join the group of link messages: %w", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return fmt.Errorf("netlink address: %w", err)
	}
	address, ok := name.(*unix.SockaddrNetlink)
	if !ok {
		return fmt.Errorf("netlink address of type %T", name)
	}
	s.pid = address.Pid
	if s.conn, err = s.file.SyscallConn(); err != nil {
		return fmt.Errorf("netlink socket: %w", err)
	}
	s.ready, err = openReadiness(fd)
	return err
}

// setBuffer sets the size of the receive buffer, as far as that is allowed.
func (s *socket) setBuffer(fd, size int) error {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) == nil {
		return nil
	}
	// That needs CAP_NET_ADMIN; without, net.core.rmem_max is the limit.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size); err != nil {
		return err
	}
	doubled, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	if doubled/2 < size {
		s.cramped = doubled / 2
	}
	return err
}

func (s *socket) port() uint32 { return s.pid }

func (s *socket) receive(b []byte, wait bool) (int, error) {
	s.into = b
	for {
		if err := s.conn.Control(s.read); err != nil {
			return 0, fmt.Errorf("netlink receive: %w", err)
		}
		if !wait || !errors.Is(s.err, unix.EAGAIN) {
			return s.n, s.err
		}
		if err := s.ready.wait(); err != nil {
			return 0, fmt.Errorf("netlink receive: %w", err)
		}
	}
}

// readOnce reads one datagram, if there is one.
func (s *socket) readOnce(fd uintptr) {
	for {
		n, oobn, flags, from, err := unix.Recvmsg(int(fd), s.into, s.oob[:], unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err == nil && !fromKernel(from):
			continue // any process may send to any netlink socket
		case err == nil && flags&unix.MSG_TRUNC != 0:
			err = errTruncated
		}
		s.n, s.err = n, err
		s.from = origin{nsid: senderNSID(s.oob[:oobn]), answer: err == nil && toUsAlone(from)}
		return
	}
}

func (s *socket) sender() origin { return s.from }

func fromKernel(from unix.Sockaddr) bool {
	address, ok := from.(*unix.SockaddrNetlink)
	return ok && address.Pid == 0
}

// toUsAlone reports whether a message was sent to no group. Port and number of a
// message do not tell that: those of a message to a group are of whoever made the
// change, who may have the same port in another namespace.
func toUsAlone(from unix.Sockaddr) bool {
	address, ok := from.(*unix.SockaddrNetlink)
	return ok && address.Groups == 0
}

// send takes no lock of ours: a dump request may wait for the kernel's RTNL, and a
// check beside it must not.
func (s *socket) send(b []byte) error {
	var sent error
	err := s.conn.Control(func(fd uintptr) {
		for {
			sent = unix.Sendto(int(fd), b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
			if !errors.Is(sent, unix.EINTR) {
				return
			}
		}
	})
	if err == nil {
		err = sent
	}
	if err != nil {
		return fmt.Errorf("netlink send: %w", err)
	}
	return nil
}

func (s *socket) setDeadline(at time.Time) error {
	if err := s.ready.setDeadline(at); err != nil {
		return fmt.Errorf("netlink deadline: %w", err)
	}
	return nil
}

func (s *socket) close() error {
	if s.self != nil {
		_ = s.self.Close()
		_ = unix.Close(s.asks)
	}
	if err := errors.Join(s.ready.close(), s.file.Close()); err != nil {
		return fmt.Errorf("close netlink socket: %w", err)
	}
	return nil
}
