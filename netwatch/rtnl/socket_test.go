package rtnl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/netwatch/nstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, ns *nstest.NS, buffer int) *Socket {
	t.Helper()
	var s *Socket
	var err error
	ns.Do(func() { s, err = Open(buffer) })
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

// drain returns all queued messages, and how often Receive reported lost ones.
func drain(t testing.TB, s *Socket) (all []Message, lost int) {
	t.Helper()
	for {
		messages, err := s.Receive(false)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return all, lost
		case errors.Is(err, ErrLost):
			lost++
		case len(messages) == 0 && err == nil:
			t.Error("the filter kept a datagram without a message that counts")
		default:
			must(t, err)
		}
		all = append(all, messages...)
	}
}

// TestReceive expects the messages of all namespaces in order, with the namespace that sent them,
// and none about links that are not veths.
func TestReceive(t *testing.T) {
	host, inside := nstest.New(t), nstest.New(t)
	s := open(t, host, 1<<20)
	must(t, host.Handle().LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br"}}))
	ifindex, err := host.Pair("h", "p", inside)
	must(t, err)
	peer, err := inside.Index("p")
	must(t, err)
	must(t, inside.Rename(peer, "eth0"))
	must(t, host.Rename(ifindex, "h2"))
	bridge, err := host.Handle().LinkByName("br")
	must(t, err)
	must(t, host.Handle().LinkSetMaster(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: ifindex}}, bridge))
	nsid, err := host.Handle().GetNetNsIdByFd(inside.FD())
	must(t, err)
	all, lost := drain(t, s)
	var names []string
	for _, m := range all {
		if m.Type == unix.RTM_NEWNSID && m.NSID == int32(nsid) && m.From == NSIDLocal {
			names = append(names, "new")
		}
		if m.Type == unix.RTM_NEWLINK && (len(names) == 0 || names[len(names)-1] != m.Link.Name) {
			names = append(names, m.Link.Name)
			if m.Link.Name == "eth0" && m.From != int32(nsid) {
				t.Errorf("eth0 was sent by namespace %d, expected %d", m.From, nsid)
			}
		}
		if m.Type == unix.RTM_NEWLINK && m.Link.Name[0] == 'h' && (m.From != NSIDLocal || m.Link.Peer != (Peer{int32(nsid), uint32(peer)})) {
			t.Errorf("message of the host end: %+v", m)
		}
	}
	if got := len(names); lost != 0 || got != 4 || names[0] != "new" || names[1] != "h" || names[2] != "eth0" || names[3] != "h2" {
		t.Errorf("names %q, lost %d", names, lost)
	}

	for _, c := range []struct {
		at   Peer
		name string
		err  error
	}{
		{Peer{NSIDLocal, uint32(ifindex)}, "h2", nil},
		{Peer{int32(nsid), uint32(peer)}, "eth0", nil},
		{Peer{int32(nsid), 999}, "", unix.ENODEV},
		{Peer{NSIDLocal, uint32(bridge.Attrs().Index)}, "", unix.ENODEV},
		{Peer{99, 1}, "", unix.EINVAL},
	} {
		if l, err := s.Link(c.at); l.Name != c.name || !errors.Is(err, c.err) {
			t.Errorf("link %+v: %+v, %v", c.at, l, err)
		}
	}
}

// TestDump expects the records of a dump to have the number of the request, and live messages
// between them to have none.
func TestDump(t *testing.T) {
	host := nstest.New(t)
	for _, name := range []string{"a", "b", "c"} {
		_, err := host.Pair(name, name+"p", nil)
		must(t, err)
	}
	s := open(t, host, 1<<20)
	_, err := host.Pair("d", "dp", nil)
	must(t, err)
	must(t, s.RequestDump(42))
	must(t, s.Nudge(43))
	all, lost := drain(t, s)
	count := map[string]int{}
	for _, m := range all {
		switch {
		case m.Type == unix.RTM_NEWLINK && m.Request == 42:
			count["record"]++
		case m.Type == unix.RTM_NEWLINK && m.Request == 0:
			count["live"]++
		case m.Type == unix.NLMSG_DONE && m.Request == 42 && m.Errno == 0:
			count["end"]++
		case m.Type == unix.NLMSG_ERROR && m.Request == 43 && m.Errno == 0:
			count["nudge"]++
		}
	}
	if lost != 0 || count["record"] != 8 || count["live"] == 0 || count["end"] != 1 || count["nudge"] != 1 {
		t.Errorf("%v, lost %d", count, lost)
	}
}

// TestLost expects ErrLost when the kernel dropped messages, and expects later messages to arrive.
func TestLost(t *testing.T) {
	host := nstest.New(t)
	s := open(t, host, 4096)
	for i := range 100 {
		ifindex, err := host.Pair("x", "y", nil)
		must(t, err)
		if i < 99 {
			must(t, host.Delete(ifindex))
		}
	}
	if _, lost := drain(t, s); lost == 0 {
		t.Error("nothing was lost")
	}
	ifindex, err := host.Index("x")
	must(t, err)
	must(t, host.Rename(ifindex, "later"))
	if all, lost := drain(t, s); lost != 0 || len(all) != 1 || all[0].Link.Name != "later" {
		t.Errorf("%+v, lost %d", all, lost)
	}
}

// TestOwnID gives the watched namespace an id in itself, and expects messages with that id to count
// as local: when the socket received the RTM_NEWNSID, lost it, or was opened later.
func TestOwnID(t *testing.T) {
	for _, what := range []string{"received", "lost", "before"} {
		host := nstest.New(t)
		var s *Socket
		if what != "before" {
			s = open(t, host, map[string]int{"received": 1 << 20, "lost": 4096}[what])
		}
		for what == "lost" {
			ifindex, err := host.Pair("x", "y", nil)
			must(t, err)
			must(t, host.Delete(ifindex))
			if ifindex > 200 {
				break
			}
		}
		must(t, host.Handle().SetNetNsIdByFd(host.FD(), 77))
		if s == nil {
			s = open(t, host, 1<<20)
		}
		drain(t, s)
		if s.own != 77 {
			t.Errorf("%s: own id %d", what, s.own)
		}
		oob := control(77)
		if from := s.sender(oob); from != NSIDLocal {
			t.Errorf("%s: the sender of id 77 is %d, expected NSIDLocal", what, from)
		}
		if from := s.sender(control(78)); from != 78 {
			t.Errorf("%s: the sender of id 78 is %d", what, from)
		}
	}
}

// TestOwnIDUnknown has the question for the own id fail. It expects a loss that is none of the kernel's.
func TestOwnIDUnknown(t *testing.T) {
	host := nstest.New(t)
	s := open(t, host, 1<<20)
	other, err := os.Open(os.DevNull) // no namespace
	must(t, err)
	defer other.Close()
	namespace := s.namespace
	s.namespace = other
	defer func() { s.namespace = namespace }()
	must(t, host.Handle().SetNetNsIdByFd(host.FD(), 77))
	if _, err := s.Receive(false); !errors.Is(err, ErrMalformed) || errors.Is(err, ErrLost) {
		t.Error(err)
	}
}

// control returns a control message that names the namespace of the sender. Some kernels send one
// for the watched namespace too, others do not.
func control(nsid uint32) []byte {
	oob := make([]byte, unix.CmsgSpace(4))
	header := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
	header.Level, header.Type = unix.SOL_NETLINK, unix.NETLINK_LISTEN_ALL_NSID
	header.SetLen(unix.CmsgLen(4))
	binary.NativeEndian.PutUint32(oob[unix.CmsgLen(0):], nsid)
	return oob
}

// TestForeignSender expects Receive to ignore messages that other processes send to the socket.
func TestForeignSender(t *testing.T) {
	ns := nstest.New(t)
	s, other := open(t, ns, 1<<20), open(t, ns, 1<<20)
	var to unix.Sockaddr
	must(t, s.conn.Control(func(fd uintptr) { to, _ = unix.Getsockname(int(fd)) }))
	address, ok := to.(*unix.SockaddrNetlink)
	if !ok {
		t.Fatal(to)
	}
	address.Groups = 0
	must(t, other.conn.Control(func(fd uintptr) {
		if err := unix.Sendto(int(fd), message(unix.RTM_NEWLINK, 0, linkBody()), 0, address); err != nil {
			t.Error(err)
		}
	}))
	if all, _ := drain(t, s); len(all) != 0 {
		t.Errorf("received %+v", all)
	}
}

func TestDeadline(t *testing.T) {
	s := open(t, nstest.New(t), 1<<20)
	must(t, s.SetDeadline(time.Unix(1, 0)))
	if _, err := s.Receive(true); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	if _, err := s.Receive(false); !errors.Is(err, unix.EAGAIN) {
		t.Error(err)
	}
}

// TestNamespace expects each namespace to have a name of its own.
func TestNamespace(t *testing.T) {
	one := nstest.New(t)
	names := map[string]bool{}
	for _, ns := range []*nstest.NS{one, one, nstest.New(t)} {
		name, err := open(t, ns, 1<<20).Namespace()
		must(t, err)
		names[name] = true
	}
	if len(names) != 2 {
		t.Errorf("%v", names)
	}
}

// TestLongMessage has root of a container give an interface as many other names as the kernel allows, so that each
// message about it is longer than 64 KiB. It expects no loss.
func TestLongMessage(t *testing.T) {
	host, inside := nstest.New(t), nstest.New(t)
	s := open(t, host, 1<<20)
	_, err := host.Pair("h", "p", inside)
	must(t, err)
	peer, err := inside.Handle().LinkByName("p")
	must(t, err)
	for i := 0; err == nil && i < 600; i++ { // a kernel without a limit takes any number
		drain(t, s)
		err = inside.Handle().LinkAddAltName(peer, fmt.Sprintf("%0127d", i))
	}
	must(t, inside.Rename(peer.Attrs().Index, "eth0"))
	all, lost := drain(t, s)
	if n := len(all); lost != 0 || n == 0 || all[n-1].Link.Name != "eth0" {
		t.Errorf("%d messages, lost %d: %+v", n, lost, all)
	}
}
