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

// process is the minimal container for the watcher: a process in its own cgroup and network
// namespace.
type process struct {
	cmd    *exec.Cmd
	cgroup string
}

// startProcess starts a process. Its namespace dies with it.
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

// kill kills the process and removes its cgroup. A second call does nothing.
func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		_ = os.Remove(p.cgroup)
	}
}

// addVeth gives the process a veth that is up, and returns the nsid of the process's namespace.
func (p *process) addVeth(t testing.TB, ns *nstest.NS, veth string) int {
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

// TestNamespaceIDReused ends a container and starts another one at once, which gets the nsid of
// an earlier one. The containers are plain processes, because LXC takes ten times as long.
func TestNamespaceIDReused(t *testing.T) {
	t.Run("after the event", func(t *testing.T) { reuseNamespaceID(t, true) })
	t.Run("before the event", func(t *testing.T) { reuseNamespaceID(t, false) })
}

// reuseNamespaceID ends each container once it is up, or, if announced is set, once that was
// announced. In the first case an event may lack its owner, because the container may be gone
// when the watcher looks for it.
func reuseNamespaceID(t *testing.T, announced bool) {
	const rounds = 100
	h := cttest.NewHost(t)
	a := follow(t, startWith(t, h, "chrt", "--rr", "1"), h.Exec)
	var ids []string
	uses := map[int]int{}
	var last *process
	for round := range rounds {
		id := strconv.Itoa(1000 + round)
		if last != nil {
			last.kill()
			if round%2 == 0 { // the last nsid is free now; in odd rounds the next may get an older one
				waitGone(t, h.NS(), "v"+ids[round-1])
			}
		}
		last = startProcess(t, h, "/lxc.payload."+id, syscall.CLONE_NEWNET, "sleep", "infinity")
		uses[last.addVeth(t, h.NS(), "v"+id)]++
		ids = append(ids, id)
		if announced && !a.readUntil(func() bool {
			return slices.ContainsFunc(a.events, func(e *hub.Event) bool { return e.Options.Text("veth") == "v"+id })
		}) {
			t.Fatalf("no event of v%s", id)
		}
	}
	last.kill()
	a.expectLives("lxc", ids, !announced)
	if len(uses) > rounds/10 {
		t.Errorf("the kernel reused too few nsids for this test; uses by nsid: %v", uses)
	}
	a.finish()
}

// waitGone waits until the kernel has deleted a link of a dead namespace.
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

// TestContainersInContainer nests a namespace in a container as docker does, in a cgroup like
// docker's and with a veth between both. The host sees no events of that veth. It does see them
// once the container moves one of its own interfaces into the nested namespace.
func TestContainersInContainer(t *testing.T) {
	h := cttest.NewHost(t)
	a := follow(t, startOnHost(t, h), h.Exec)
	c := h.LXC(t, cttest.LXCConfig{Pool: "tank", ID: "55", Interfaces: []cttest.Interface{{Pair: "ct-55"}, {Pair: "ct-55b"}, {Pair: "ct-55c"}}})
	must(t, c.Start())
	eth0 := iface{pool: "tank", id: "55", name: "eth0", veth: "ct-55"}.at(t, h.NS())
	eth1 := iface{pool: "tank", id: "55", name: "eth1", veth: "ct-55b"}.at(t, h.NS())
	eth2 := iface{pool: "tank", id: "55", name: "eth2", veth: "ct-55c"}.at(t, h.NS())
	a.expect("start", eth0.event("up"), eth1.event("up"), eth2.event("up"))

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

	// The nested eth0 gets the ifindex of the container's eth0, to confuse the watcher.
	peer, err := c.Exec("cat", "/sys/class/net/eth0/ifindex")
	must(t, err)
	add := fmt.Sprintf("ip link add docker1 type veth peer name eth0 index %s netns %d", strings.TrimSpace(peer), nested.pid())
	do(initPID, add, "ip link set docker1 up")
	do(nested.pid(), "ip link set eth0 up", "ip link set eth0 down")
	do(initPID, "ip link set docker1 down", "ip link set docker1 name docker2", "ip link set docker2 up")
	do(nested.pid(), "ip link set eth0 name lan0", "ip link set lan0 up")
	a.expect("a veth between the container and the nested namespace")
	a.flip(&eth0, c.Exec)
	do(initPID, "ip link delete docker2")
	a.expect("that veth is deleted")

	for _, eth := range []*iface{&eth1, &eth2} {
		do(initPID, fmt.Sprintf("ip link set %s netns %d", eth.name, nested.pid()))
		a.expect(eth.name+" is moved into the nested namespace", eth.event("down"))
		eth.kept = true
		do(nested.pid(), "ip link set "+eth.name+" up")
		a.expect(eth.name+" is up there", eth.event("up"))
	}
	a.flip(&eth2, in(nested.pid()))
	do(nested.pid(), fmt.Sprintf("ip link set eth1 netns %d", initPID))
	a.expect("eth1 is moved back", eth1.event("down"))
	eth1.kept = false
	do(initPID, "ip link set eth1 up")
	a.expect("eth1 is up again", eth1.event("up"))
	nested.kill()
	a.expect("the nested namespace ends", eth2.event("down"))
	a.flip(&eth1, c.Exec)
	must(t, c.Kill())
	a.expect("kill", eth0.event("down"), eth1.event("down"))
	a.finish()
}

// waitOtherNamespace waits until process pid is in another network namespace than others.
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
			t.Fatalf("process %d shares a network namespace with %v", pid, others)
		}
	}
}
