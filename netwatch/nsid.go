package netwatch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// hearNamespaces joins the group that tells of namespace ids, and has the socket
// hear the groups that it is in of all namespaces that have an id here. The kernel
// queues them in the order in which it says them, so what is said here and what is
// said there stay in order. It must be called by a thread in the watched namespace.
// Without CAP_NET_BROADCAST renames inside are not heard; hears is false then.
func (s *socket) hearNamespaces() (hears bool, err error) {
	err = s.control(func(fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, unix.RTNLGRP_NSID)
	})
	if err != nil {
		return false, fmt.Errorf("join the group of namespace ids: %w", err)
	}
	self, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return false, fmt.Errorf("own network namespace: %w", err)
	}
	asks, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return false, errors.Join(fmt.Errorf("netlink socket: %w", err), self.Close())
	}
	s.self, s.asks = self, asks
	// Connected, the kernel keeps away what other processes send to it.
	if err := unix.Connect(asks, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return false, fmt.Errorf("connect netlink socket: %w", err)
	}
	err = s.control(func(fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_LISTEN_ALL_NSID, 1)
	})
	if errors.Is(err, unix.EPERM) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("listen to all namespaces: %w", err)
	}
	return true, nil
}

func (s *socket) control(fn func(fd int) error) error {
	var failed error
	if err := s.conn.Control(func(fd uintptr) { failed = fn(int(fd)) }); err != nil {
		return err
	}
	return failed
}

// ownNSID asks on a socket of its own. RTM_GETNSID takes no lock of the network, and
// the answer is there when the request was sent.
func (s *socket) ownNSID() (int32, error) {
	if s.self == nil {
		return NSIDLocal, nil
	}
	if _, err := unix.Write(s.asks, nsidRequest(1, s.self.Fd())); err != nil {
		return 0, fmt.Errorf("ask for the own nsid: %w", err)
	}
	var b [256]byte
	n, err := unix.Read(s.asks, b[:])
	if err != nil {
		return 0, fmt.Errorf("own nsid: %w", err)
	}
	m, _, err := splitMessage(b[:n])
	if err != nil {
		return 0, fmt.Errorf("own nsid: %w", err)
	}
	if m.typ == unix.NLMSG_ERROR {
		failed, err := m.errno()
		return 0, errors.Join(fmt.Errorf("own nsid: %w", failed), err)
	}
	nsid, err := decodeNSID(&m)
	if err != nil {
		return 0, fmt.Errorf("own nsid: %w", err)
	}
	return max(nsid, NSIDLocal), nil
}

// senderNSID reads the id of the namespace that a datagram comes from out of its
// control messages. The watched namespace has none, or that of ownNSID.
func senderNSID(oob []byte) int32 {
	for len(oob) >= unix.SizeofCmsghdr {
		header, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return NSIDLocal
		}
		if header.Level == unix.SOL_NETLINK && header.Type == unix.NETLINK_LISTEN_ALL_NSID && len(data) >= 4 {
			return int32(binary.NativeEndian.Uint32(data)) //nolint:gosec // the sign is meant
		}
		oob = rest
	}
	return NSIDLocal
}
