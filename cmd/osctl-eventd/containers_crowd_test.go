package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/cttest"
	"github.com/osctl/eventd/netwatch/nstest"
)

// process is a container in as much as the watcher looks at it: a process in a cgroup
// and a network namespace of its own.
type process struct {
	cmd    *exec.Cmd
	cgroup string
}

// startProcess starts one. Its namespace dies with it: nothing here holds it.
func startProcess(t testing.TB, h *cttest.Host, cgroup string, cloneflags uintptr, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(args[0], args[1:]...), cgroup: h.CgroupRoot() + cgroup}
	must(t, os.MkdirAll(p.cgroup, 0o755))
	dir, err := os.Open(p.cgroup)
	must(t, err)
	defer func() { _ = dir.Close() }()
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: cloneflags, UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	must(t, p.cmd.Start())
	t.Cleanup(p.kill)
	return p
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// kill kills the process and removes its cgroup. Again it does nothing.
func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		_ = os.Remove(p.cgroup)
	}
}

// plug gives the process a veth that is up, and returns the nsid of its namespace.
func (p *process) plug(t testing.TB, ns *nstest.NS, veth string) int {
	t.Helper()
	must(t, ns.Handle().LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: veth, Flags: syscall.IFF_UP, NetNsID: -1}, PeerName: "eth0", PeerNamespace: netlink.NsPid(p.pid()),
	}))
	link, err := ns.Handle().LinkByName(veth)
	must(t, err)
	inside, err := netns.GetFromPid(p.pid())
	must(t, err)
	defer func() { _ = inside.Close() }()
	handle, err := netlink.NewHandleAt(inside)
	must(t, err)
	defer handle.Close()
	eth0, err := handle.LinkByName("eth0")
	must(t, err)
	must(t, handle.LinkSetUp(eth0))
	waitOperState(t, ns, netlink.OperUp, link.Attrs().Index)
	return link.Attrs().NetNsID
}

// TestNamespaceIDReused ends a container and starts another at once, which gets the
// nsid of one before. They are processes, which is a tenth of what LXC takes.
func TestNamespaceIDReused(t *testing.T) {
	t.Run("after it was told", func(t *testing.T) { reuseNamespaceID(t, true) })
	t.Run("before it is told", func(t *testing.T) { reuseNamespaceID(t, false) })
}

// reuseNamespaceID ends containers when they are up, or when that was told. Before that
// an owner may be missing, as it may be gone when the watcher comes to look, which it does
// at once.
func reuseNamespaceID(t *testing.T, told bool) {
	const rounds = 100
	h := cttest.NewHost(t)
	a := follow(t, daemonBy(t, h, "chrt", "--rr", "1"), h.Exec)
	var ids []string
	uses := map[int]int{}
	var last *process
	for round := range rounds {
		id := strconv.Itoa(1000 + round)
		if last != nil {
			last.kill()
			if round%2 == 0 { // that number is free again then, else maybe an older one
				waitGone(t, h.NS(), "v"+ids[round-1])
			}
		}
		last = startProcess(t, h, "/lxc.payload."+id, syscall.CLONE_NEWNET, "sleep", "infinity")
		uses[last.plug(t, h.NS(), "v"+id)]++
		ids = append(ids, id)
		if told && !a.readUntil(func() bool {
			return slices.ContainsFunc(a.events, func(e *hub.Event) bool { return e.Options.Text("veth") == "v"+id })
		}) {
			t.Fatalf("nothing is said of v%s", id)
		}
	}
	last.kill()
	a.lives("lxc", ids, !told)
	if len(uses) > rounds/10 {
		t.Errorf("the test has no point: the kernel gave the nsids (and how often) %v", uses)
	}
	a.finish()
}

// waitGone waits until the kernel has deleted a link of a namespace that died.
func waitGone(t testing.TB, ns *nstest.NS, name string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		_, err := ns.Index(name)
		if missing := (netlink.LinkNotFoundError{}); errors.As(err, &missing) {
			return
		}
		must(t, err)
		if time.Now().After(deadline) {
			t.Fatalf("%s is still there", name)
		}
	}
}

// TestContainersInContainer runs in a container what docker would: a namespace further
// down, in a cgroup like docker's, with a veth between. That is the container's own
// affair, until it gives an interface of its own down there.
func TestContainersInContainer(t *testing.T) {
	h := cttest.NewHost(t)
	a := follow(t, daemonOn(t, h), h.Exec)
	c := h.LXC(t, cttest.LXCConfig{Pool: "tank", ID: "55", Interfaces: []cttest.Interface{{Pair: "ct-55"}, {Pair: "ct-55b"}, {Pair: "ct-55c"}}})
	must(t, c.Start())
	eth0 := iface{pool: "tank", id: "55", name: "eth0", veth: "ct-55"}.at(t, h.NS())
	eth1 := iface{pool: "tank", id: "55", name: "eth1", veth: "ct-55b"}.at(t, h.NS())
	eth2 := iface{pool: "tank", id: "55", name: "eth2", veth: "ct-55c"}.at(t, h.NS())
	a.expect("start", eth0.says("up"), eth1.says("up"), eth2.says("up"))

	initPID, err := c.InitPID()
	must(t, err)
	in := func(pid int) func(args ...string) (string, error) {
		return func(args ...string) (string, error) {
			return h.Exec("nsenter", append([]string{"--target=" + strconv.Itoa(pid), "--net", "--"}, args...)...)
		}
	}
	do := func(pid int, lines ...string) {
		t.Helper()
		for _, line := range lines {
			_, err := in(pid)(strings.Fields(line)...)
			must(t, err)
		}
	}
	nested := startProcess(t, h, c.Cgroup()+"/docker/"+strings.Repeat("ab", 32), 0,
		"nsenter", "--target="+strconv.Itoa(initPID), "--net", "--", "unshare", "--net", "sleep", "infinity")
	waitOtherNamespace(t, nested.pid(), initPID, os.Getpid())

	// The numbers are those that the interfaces have which the host knows.
	peer, err := c.Exec("cat", "/sys/class/net/eth0/ifindex")
	must(t, err)
	add := fmt.Sprintf("ip link add docker1 type veth peer name eth0 index %s netns %d", strings.TrimSpace(peer), nested.pid())
	do(initPID, add, "ip link set docker1 up")
	do(nested.pid(), "ip link set eth0 up", "ip link set eth0 down")
	do(initPID, "ip link set docker1 down", "ip link set docker1 name docker2", "ip link set docker2 up")
	do(nested.pid(), "ip link set eth0 name lan0", "ip link set lan0 up")
	a.expect("a veth of the container's own")
	a.flip(&eth0, c.Exec)
	do(initPID, "ip link delete docker2")
	a.expect("it is deleted")

	for _, eth := range []*iface{&eth1, &eth2} {
		do(initPID, fmt.Sprintf("ip link set %s netns %d", eth.name, nested.pid()))
		a.expect(eth.name+" is given down", eth.says("down"))
		eth.kept = true
		do(nested.pid(), "ip link set "+eth.name+" up")
		a.expect(eth.name+" is up there", eth.says("up"))
	}
	a.flip(&eth2, in(nested.pid()))
	do(nested.pid(), fmt.Sprintf("ip link set eth1 netns %d", initPID))
	a.expect("eth1 is given back", eth1.says("down"))
	eth1.kept = false
	do(initPID, "ip link set eth1 up")
	a.expect("eth1 is up again", eth1.says("up"))
	nested.kill()
	a.expect("the namespace below ends", eth2.says("down"))
	a.flip(&eth1, c.Exec)
	must(t, c.Kill())
	a.expect("kill", eth0.says("down"), eth1.says("down"))
	a.finish()
}

// waitOtherNamespace waits until a process that was started is in a network namespace
// that is none of the others'.
func waitOtherNamespace(t testing.TB, pid int, others ...int) {
	t.Helper()
	of := func(pid int) string {
		link, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "ns/net"))
		must(t, err)
		return link
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		own := of(pid)
		if !slices.ContainsFunc(others, func(other int) bool { return of(other) == own }) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d is in no namespace of its own", pid)
		}
	}
}
