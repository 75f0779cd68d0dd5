package rtnl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ErrLost says that the kernel dropped messages because the queue was full (ENOBUFS). It goes
// on dropping until the queue is empty (NETLINK_S_CONGESTED, net/netlink/af_netlink.c).
var ErrLost = errors.New("the kernel dropped netlink messages")

// datagramSize is enough for any datagram: a part of a dump has at most 32 KiB, and a message
// about one link about 2 KiB and up to 64 KiB of other names (IFLA_PROP_LIST), which root of a
// container can give to an interface.
const datagramSize = 128 << 10

// Socket listens to the veths of one network namespace, and of all namespaces that have an id in
// it. Receive and Link are for one goroutine; the other methods are safe for concurrent use.
type Socket struct {
	file      *os.File
	conn      syscall.RawConn
	namespace *os.File // the watched one
	questions map[int]*nl.SocketHandle
	ids       *netlink.Handle
	own       int32 // id of the watched namespace in itself, NSIDLocal for none
	buffer    int   // size of the receive buffer in bytes, as asked for by Open
	hears     bool

	// Used only by Receive.
	messages []Message
	b        [datagramSize]byte
	oob      [unix.SizeofCmsghdr + 24]byte
}

// Open opens a Socket in the network namespace of the calling thread; messages queue up from
// then on. The receive buffer is in bytes, and the kernel doubles it: without CAP_NET_ADMIN
// it is limited by net.core.rmem_max, see [Socket.ReceiveBuffer].
func Open(receiveBuffer int) (*Socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	s := &Socket{file: os.NewFile(uintptr(fd), "rtnetlink"), own: NSIDLocal}
	if s.conn, err = s.file.SyscallConn(); err == nil {
		err = s.setUp(fd, receiveBuffer)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// setUp configures the socket. It attaches the filter before it joins the groups, so that no
// unfiltered message is queued.
func (s *Socket) setUp(fd, receiveBuffer int) (err error) {
	if s.buffer, err = setBuffer(fd, receiveBuffer); err != nil {
		return fmt.Errorf("receive buffer of %d bytes: %w", receiveBuffer, err)
	}
	program := vethFilter()
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]} //nolint:gosec // short
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &fprog); err != nil {
		return fmt.Errorf("attach a filter: %w", err)
	}
	groups := uint32(1<<(unix.RTNLGRP_LINK-1) | 1<<(unix.RTNLGRP_NSID-1))
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		return fmt.Errorf("join the groups of links and namespace ids: %w", err)
	}
	if s.namespace, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return fmt.Errorf("own network namespace: %w", err)
	}
	err = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_LISTEN_ALL_NSID, 1)
	if s.hears = err == nil; err != nil && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("listen to all namespaces: %w", err)
	}
	if err := s.openQuestionSockets(); err != nil {
		return err
	}
	return s.refreshOwnID()
}

// setBuffer sets the size of the receive buffer, as far as the kernel allows, and returns it.
func setBuffer(fd, size int) (int, error) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) == nil {
		return size, nil
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size); err != nil {
		return 0, err
	}
	doubled, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	return min(doubled/2, size), err
}

// ReceiveBuffer returns the size of the receive buffer in bytes. Without CAP_NET_ADMIN it may be
// less than Open was asked for.
func (s *Socket) ReceiveBuffer() int { return s.buffer }

// HearsNamespaces reports whether the socket receives messages of other namespaces. That needs
// CAP_NET_BROADCAST.
func (s *Socket) HearsNamespaces() bool { return s.hears }

// Receive returns the messages of the next datagram, valid until the next call. If none is queued,
// it returns EAGAIN, or with wait it blocks until one comes or the deadline passes
// (os.ErrDeadlineExceeded). An error of this package says that messages were lost; Receive returns
// it together with the messages that could be read. Other errors are permanent.
func (s *Socket) Receive(wait bool) ([]Message, error) {
	var n, oobn, flags int
	var from unix.Sockaddr
	var failed error
	receive := func(fd uintptr) bool {
		for {
			n, oobn, flags, from, failed = unix.Recvmsg(int(fd), s.b[:], s.oob[:], unix.MSG_DONTWAIT)
			// Any process may send to any netlink socket.
			if failed == nil && !fromKernel(from) || errors.Is(failed, unix.EINTR) {
				continue
			}
			return !wait || !errors.Is(failed, unix.EAGAIN)
		}
	}
	var err error
	if wait {
		err = s.conn.Read(receive)
	} else { // Control ignores the deadline
		err = s.conn.Control(func(fd uintptr) { receive(fd) })
	}
	if err == nil {
		err = failed
	}
	if errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENOMEM) {
		return nil, errors.Join(ErrLost, s.refreshOwnID()) // a lost message may have announced another id
	}
	if err != nil {
		return nil, fmt.Errorf("netlink receive: %w", err)
	}
	if flags&unix.MSG_TRUNC != 0 {
		return nil, fmt.Errorf("%w: longer than the buffer", ErrMalformed)
	}
	s.messages, err = Parse(s.messages[:0], s.b[:n], s.sender(s.oob[:oobn]), isAnswer(from))
	return s.messages, errors.Join(err, s.followOwnID())
}

// followOwnID asks for the id of the watched namespace in itself when a message says that the watched
// namespace gave out an id, or that a namespace has an id in itself. Later messages may carry that id.
func (s *Socket) followOwnID() error {
	for i := range s.messages {
		if m := &s.messages[i]; m.Type == unix.RTM_NEWNSID && (m.From < 0 || m.NSID == m.From) {
			if err := s.refreshOwnID(); err != nil {
				return fmt.Errorf("%w: its sender is not certain: %w", ErrMalformed, err) // asked again after the next loss
			}
		}
	}
	return nil
}

func fromKernel(from unix.Sockaddr) bool {
	address, ok := from.(*unix.SockaddrNetlink)
	return ok && address.Pid == 0
}

// isAnswer reports whether a message was sent to this socket alone. The port and the sequence
// number in its header do not show that, because live messages carry those of the process that
// made the change, and that process may have the same port in another namespace.
func isAnswer(from unix.Sockaddr) bool {
	address, ok := from.(*unix.SockaddrNetlink)
	return ok && address.Groups == 0
}

// sender returns the id of the namespace that sent a datagram, read from its control messages.
func (s *Socket) sender(oob []byte) int32 {
	for len(oob) >= unix.SizeofCmsghdr {
		header, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			break
		}
		if header.Level == unix.SOL_NETLINK && header.Type == unix.NETLINK_LISTEN_ALL_NSID && len(data) >= 4 {
			id := int32(binary.NativeEndian.Uint32(data)) //nolint:gosec // the sign is meant
			if id == s.own {
				break
			}
			return id
		}
		oob = rest
	}
	return NSIDLocal
}

func (s *Socket) send(r *nl.NetlinkRequest) error {
	b := r.Serialize()
	var sent error
	err := s.conn.Control(func(fd uintptr) {
		for {
			sent = unix.Sendto(int(fd), b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
			if !errors.Is(sent, unix.EINTR) {
				return
			}
		}
	})
	if err := errors.Join(err, sent); err != nil {
		return fmt.Errorf("netlink send: %w", err)
	}
	return nil
}

// SetDeadline sets when a waiting Receive returns: at once if that time has passed, never if it is
// the zero time.
func (s *Socket) SetDeadline(at time.Time) error {
	if err := s.file.SetReadDeadline(at); err != nil {
		return fmt.Errorf("netlink deadline: %w", err)
	}
	return nil
}

// Namespace returns a name for the watched namespace that no other namespace of the same boot has
// (SO_NETNS_COOKIE, Linux 5.14). On older kernels it is the inode number, which a later namespace
// may reuse.
func (s *Socket) Namespace() (string, error) {
	var cookie uint64
	var failed error
	err := s.conn.Control(func(fd uintptr) {
		cookie, failed = unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	})
	if errors.Join(err, failed) == nil {
		return strconv.FormatUint(cookie, 10), nil
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(s.namespace.Fd()), &stat); err != nil {
		return "", fmt.Errorf("name the network namespace: %w", err)
	}
	return "net:[" + strconv.FormatUint(stat.Ino, 10) + "]", nil
}

// Close closes the sockets. No Receive and no Link may be running. SetDeadline fails from then on.
func (s *Socket) Close() error {
	errs := []error{s.file.Close()}
	if s.namespace != nil {
		errs = append(errs, s.namespace.Close())
	}
	for _, handle := range s.questions {
		handle.Close()
	}
	if s.ids != nil {
		s.ids.Close()
	}
	return errors.Join(errs...)
}
