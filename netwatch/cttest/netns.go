package cttest

import (
	"fmt"
	"os/exec"
	"testing"
)

// NetNS is a network namespace that `ip netns add` made: it has a name below the
// host's /run/netns and no processes.
type NetNS struct {
	host *Host
	name string
}

// NetNS makes a named network namespace. It goes with the host. It is not in the
// machine's own /run/netns.
func (h *Host) NetNS(tb testing.TB, name string) *NetNS {
	tb.Helper()
	requireTools(tb, "ip", "iproute2")
	if _, err := h.Exec("ip", "netns", "add", name); err != nil {
		tb.Fatalf("cttest: make a named network namespace: %v", err)
	}
	return &NetNS{host: h, name: name}
}

// Veth makes a pair of veths, both down: hostEnd on the host, and inside, which is
// created in the namespace.
func (n *NetNS) Veth(hostEnd, inside string) error {
	_, err := n.host.Exec("ip", "link", "add", hostEnd, "type", "veth", "peer", "name", inside, "netns", n.name)
	return err
}

// Command returns a command that runs in the namespace (ip netns exec).
func (n *NetNS) Command(name string, args ...string) *exec.Cmd {
	return n.host.Command("ip", append([]string{"netns", "exec", n.name, name}, args...)...)
}

// Exec runs a command in the namespace, and returns its standard output.
func (n *NetNS) Exec(name string, args ...string) (string, error) {
	return run(n.Command(name, args...))
}

// Delete deletes the namespace (ip netns delete). If it has no process, its veths go
// some time later.
func (n *NetNS) Delete() error {
	if _, err := n.host.Exec("ip", "netns", "delete", n.name); err != nil {
		return fmt.Errorf("delete the namespace %s: %w", n.name, err)
	}
	return nil
}
