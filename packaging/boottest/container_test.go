package boottest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/osctl/eventd/hub"
)

// lxcConfig is that of a container the way osctld runs it, in the shared directory.
const lxcConfig = `lxc.uts.name = 101
lxc.rootfs.path = dir:/mnt/lxc-root
lxc.rootfs.options = ro
lxc.apparmor.profile = unconfined
lxc.mount.auto = proc:mixed sys:mixed
lxc.console.path = none
lxc.tty.max = 0
lxc.signal.halt = SIGUSR1
lxc.cgroup.dir.container = osctl/pool.tank/group.default/user.1/ct.101/user-owned/lxc.payload.101
lxc.cgroup.dir.monitor = osctl/pool.tank/group.default/user.1/ct.101/lxc.monitor.101
lxc.net.0.type = veth
lxc.net.0.veth.pair = ct-101
lxc.net.0.name = eth0
lxc.net.0.flags = up
`

// TestContainers wants events of an LXC container and of a named network namespace
// that are made in the system, from the service as its unit confines it, and where /proc
// hides the processes of others.
func TestContainers(t *testing.T) {
	eachBus(t, func(t *testing.T, s *system) {
		root, err := s.Host().Rootfs()
		must(t, err)
		must(t, os.CopyFS(filepath.Join(s.Shared(), "lxc-root"), os.DirFS(root)))
		must(t, os.MkdirAll(filepath.Join(s.Shared(), "lxc/101"), 0o755))
		must(t, os.WriteFile(filepath.Join(s.Shared(), "lxc/101/config"), []byte(lxcConfig), 0o600))

		s.shell("mount -o remount,hidepid=2 /proc; systemctl restart " + unit)
		s.run("lxc-start", "--lxcpath=/mnt/lxc", "--name=101", "--logfile=/mnt/lxc/log", "--logpriority=INFO")
		s.awaitEvent("up", "tank", "101", "eth0", "ct-101")
		s.run("lxc-attach", "--lxcpath=/mnt/lxc", "--name=101", "--clear-env", "--set-var=PATH=/bin", "--",
			"sh", "-c", "ip link set eth0 down; ip link set eth0 name lan0")
		s.awaitEvent("rename", "tank", "101", "eth0", "ct-101")
		s.run("lxc-stop", "--lxcpath=/mnt/lxc", "--name=101", "--timeout=60")
		s.awaitEvent("down", "tank", "101", "eth0", "ct-101")

		// The directory of names is made with the first one, while the service runs.
		s.shell("ip netns add blue; ip link add vblue type veth peer name lan9 netns blue; ip link set vblue up; ip -n blue link set lan9 up")
		s.awaitEvent("up", "netns", "blue", "lan9", "vblue")
		if out := s.run("busctl", "get-property", service, object, service, "Missing"); strings.TrimSpace(out) != "as 0" {
			t.Errorf("missing: %s", out)
		}
	})
}

// awaitEvent waits for an event of an interface, from the oldest on.
func (s *system) awaitEvent(action, pool, id, name, veth string) {
	s.t.Helper()
	want := hub.Filter{}
	for key, value := range map[string]string{
		"type": "ct_netif", "source": "netlink", "action": action, "pool": pool, "id": id, "name": name, "veth": veth,
	} {
		var err error
		want, err = want.With(key, value)
		must(s.t, err)
	}
	client := s.dial()
	defer client.Close()
	for cursor := hub.CursorOldest; ; {
		next, events, err := client.WaitEvents(bounded(s.t), cursor, want, 1, patience)
		if err != nil {
			s.t.Fatalf("waiting for %s of %s:%s: %v", action, pool, id, err)
		}
		if len(events) > 0 {
			return
		}
		cursor = next
	}
}
