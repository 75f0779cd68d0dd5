// Package nstest gives tests network namespaces of their own, and functions to
// make, change and delete veths in them. It needs root. It does not touch the
// namespace of the test itself.
package nstest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// NS is a network namespace. Its methods are safe for concurrent use, except Close.
type NS struct {
	file   *os.File
	handle *netlink.Handle
	calls  chan func()
	ended  chan struct{}
	closed sync.Once
}

// New makes a network namespace that lives until the test ends.
func New(t testing.TB) *NS {
	t.Helper()
	n, err := Open()
	if err != nil {
		t.Fatalf("new network namespace: %v", err)
	}
	t.Cleanup(n.Close)
	return n
}

// Open makes a network namespace that lives until Close.
func Open() (*NS, error) {
	n := &NS{calls: make(chan func()), ended: make(chan struct{})}
	made := make(chan error)
	go n.serve(made)
	if err := <-made; err != nil {
		<-n.ended
		return nil, err
	}
	return n, nil
}

// serve makes the namespace and calls functions in it. The thread stays locked to
// the goroutine, so the runtime ends it with the goroutine instead of using a
// thread in a foreign namespace for something else.
func (n *NS) serve(made chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The main thread must stay outside, because /proc/self shows it and the
		// runtime never ends it. While it is locked here, the next goroutine gets
		// another thread.
		go n.serve(made)
		<-n.ended
		runtime.UnlockOSThread()
		return
	}
	defer close(n.ended)
	err := n.enter()
	made <- err
	if err != nil {
		return
	}
	for call := range n.calls {
		call()
	}
}

func (n *NS) enter() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	file, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return errors.Join(err, file.Close())
	}
	n.file, n.handle = file, handle
	return nil
}

// Close releases the namespace. Unless a socket or a process still holds it, the
// kernel deletes it and its veths some time later. A second Close does nothing.
func (n *NS) Close() {
	n.closed.Do(func() {
		close(n.calls)
		<-n.ended
		n.handle.Close()
		_ = n.file.Close()
	})
}

// Do calls fn on a thread that is in the namespace, and returns when it is done.
// Calls run one at a time. Sockets that fn opens stay in the namespace; goroutines
// that it starts are not in it.
func (n *NS) Do(fn func()) {
	done := make(chan struct{})
	n.calls <- func() { defer close(done); fn() }
	<-done
}

// Start starts a command in the namespace, like cmd.Start.
func (n *NS) Start(cmd *exec.Cmd) error {
	var err error
	n.Do(func() { err = cmd.Start() }) // a child starts in the namespace of its thread
	return err
}

// FD returns a file descriptor of the namespace, valid until the test ends.
func (n *NS) FD() int { return int(n.file.Fd()) }

// Path returns a path to the namespace for nsenter and the like, valid until the
// test ends.
func (n *NS) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd()) }

// Handle returns the namespace's netlink handle, for requests that have no method here.
func (n *NS) Handle() *netlink.Handle { return n.handle }

// Pair makes a pair of veths, both down: name in this namespace, and peer in the
// namespace inside, or in this one if that is nil. It returns the ifindex of name.
func (n *NS) Pair(name, peer string, inside *NS) (int, error) {
	veth := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: peer}
	veth.Name = name
	if inside != nil {
		veth.PeerNamespace = netlink.NsFd(inside.FD())
	}
	if err := n.handle.LinkAdd(veth); err != nil {
		return 0, fmt.Errorf("make veths %s and %s: %w", name, peer, err)
	}
	return veth.Index, nil
}

// Index returns the ifindex of a link by its name.
func (n *NS) Index(name string) (int, error) {
	l, err := n.handle.LinkByName(name)
	if err != nil {
		return 0, fmt.Errorf("ifindex of %s: %w", name, err)
	}
	return l.Attrs().Index, nil
}

// Up sets a link administratively up.
func (n *NS) Up(ifindex int) error { return n.handle.LinkSetUp(device(ifindex)) }

// Down sets a link administratively down.
func (n *NS) Down(ifindex int) error { return n.handle.LinkSetDown(device(ifindex)) }

// Rename gives a link another name.
func (n *NS) Rename(ifindex int, name string) error {
	return n.handle.LinkSetName(device(ifindex), name)
}

// Delete deletes a link, and with it its peer.
func (n *NS) Delete(ifindex int) error { return n.handle.LinkDel(device(ifindex)) }

// Move moves a link into another namespace.
func (n *NS) Move(ifindex int, to *NS) error {
	return n.handle.LinkSetNsFd(device(ifindex), to.FD())
}

func device(ifindex int) netlink.Link {
	return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: ifindex}}
}
