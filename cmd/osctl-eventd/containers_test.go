package main

import (
	"bufio"
	"cmp"
	"context"
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

	"github.com/osctl/eventd/dbusapi"
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/cttest"
	"github.com/osctl/eventd/netwatch/nstest"
)

// runDaemon starts a command that is a daemon on a private bus, and returns when the
// service answers. The bus's socket, given by its path where the daemon runs, is where
// path says for the test. The daemon ends with the test, by a signal, and takes its bus along.
func runDaemon(t testing.TB, cmd *exec.Cmd, path func(string) string, signal func(syscall.Signal) error) *daemonProcess {
	t.Helper()
	d := &daemonProcess{cmd: cmd, stderr: &lockedBuffer{}, ended: make(chan struct{})}
	cmd.Stderr = d.stderr
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = signal(syscall.SIGTERM)
		select {
		case <-d.ended:
		case <-time.After(patience):
			t.Errorf("the daemon does not end")
			_ = signal(syscall.SIGKILL)
			<-d.ended
		}
		if t.Failed() {
			t.Logf("the daemon said:\n%s", d.stderr)
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	go func() {
		defer close(d.ended)
		d.err = cmd.Wait()
	}()
	if err != nil {
		<-d.ended
		t.Fatalf("the daemon printed no address: %v\n%s", err, d.stderr)
	}
	socket, ok := strings.CutPrefix(strings.TrimSpace(line), "unix:path=")
	if !ok {
		t.Fatalf("the daemon printed the address %q", line)
	}
	d.address = "unix:path=" + path(socket)
	d.waitForService(t)
	return d
}

// daemonOn starts a daemon on a host of containers.
func daemonOn(t testing.TB, h *cttest.Host) *daemonProcess {
	t.Helper()
	return daemonBy(t, h)
}

// daemonBy starts a daemon on a host of containers, by a command that gets the daemon's
// as arguments and becomes it.
func daemonBy(t testing.TB, h *cttest.Host, command ...string) *daemonProcess {
	t.Helper()
	command = append(command, filepath.Join(programs, "osctl-eventd"), "--bus", busPrivate, "--state-dir", stateNone)
	cmd := h.Command(command[0], command[1:]...)
	return runDaemon(t, cmd, func(socket string) string { return socket }, func(s syscall.Signal) error { return cmd.Process.Signal(s) })
}

// daemonIn starts a daemon in a booted system.
func daemonIn(t testing.TB, m *cttest.Machine) *daemonProcess {
	t.Helper()
	program, err := m.CopyIn(filepath.Join(programs, "osctl-eventd"))
	must(t, err)
	shared := filepath.Dir(program)
	cmd := m.Command(program, "--bus", busPrivate, "--state-dir", stateNone)
	cmd.Env = append(cmd.Env, "TMPDIR="+shared)
	path := func(socket string) string { return m.Shared() + strings.TrimPrefix(socket, shared) }
	return runDaemon(t, cmd, path, func(s syscall.Signal) error {
		// The command waits for a child of its own, which is in the machine's pid namespace.
		pid := strconv.Itoa(cmd.Process.Pid)
		children, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
		if err != nil {
			return err
		}
		for child := range strings.FieldsSeq(string(children)) {
			n, err := strconv.Atoi(child)
			if err != nil {
				return err
			}
			if err := syscall.Kill(n, s); err != nil {
				return err
			}
		}
		return nil
	})
}

// fate says whether a daemon that may just be ending lives.
func (d *daemonProcess) fate() string {
	select {
	case <-d.ended:
		return fmt.Sprintf("ended: %v", d.err)
	case <-time.After(time.Second):
		return "lives"
	}
}

// account follows all that the watcher says, from the oldest event on. For that it
// has a pair of veths of its own on the host, both ends down: an event of that is
// behind all that the kernel had said before.
type account struct {
	t      testing.TB
	daemon *daemonProcess
	client *dbusapi.Client
	filter hub.Filter
	cursor string
	events []*hub.Event // that no step has expected yet
	ip     func(args ...string) error
	marks  int
}

func follow(t testing.TB, d *daemonProcess, exec func(name string, args ...string) (string, error)) *account {
	t.Helper()
	a := &account{t: t, daemon: d, client: d.client(t), cursor: hub.CursorOldest}
	a.ip = func(args ...string) error {
		_, err := exec("ip", args...)
		return err
	}
	var err error
	a.filter, err = typeFilter(t, hub.TypeNetif).With("source", hub.SourceNetlink)
	must(t, err)
	must(t, a.ip("link", "add", a.mark(), "type", "veth", "peer", "name", "marker"))
	return a
}

func (a *account) mark() string { return "mark" + strconv.Itoa(a.marks) }

// readUntil reads events until enough says so.
func (a *account) readUntil(enough func() bool) bool {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), patience)
	defer cancel()
	for !enough() {
		next, events, err := a.client.WaitEvents(ctx, a.cursor, a.filter, 0, patience)
		if ctx.Err() != nil {
			return false
		}
		if err != nil {
			a.t.Fatalf("%v; the daemon: %s", err, a.daemon.fate())
		}
		a.cursor, a.events = next, append(a.events, events...)
	}
	return true
}

// upToNow returns what the watcher said since it was last asked, up to what the kernel
// says now.
func (a *account) upToNow() []*hub.Event {
	a.t.Helper()
	before := a.mark()
	a.marks++
	must(a.t, a.ip("link", "set", before, "name", a.mark()))
	at := -1
	if !a.readUntil(func() bool {
		at = slices.IndexFunc(a.events, func(e *hub.Event) bool {
			return e.Action == "rename" && e.Options.Text("veth") == a.mark()
		})
		return at >= 0
	}) {
		a.t.Fatalf("the watcher does not say that %s is now %s", before, a.mark())
	}
	said := slices.Clone(a.events[:at])
	a.events = a.events[at+1:]
	return said
}

// expect wants just these events since the last step: those of one interface in this
// order, as those of several come as they may.
func (a *account) expect(step string, want ...string) []*hub.Event {
	a.t.Helper()
	a.readUntil(func() bool { return len(a.events) >= len(want) })
	said := a.upToNow()
	var got []string
	for _, e := range said {
		got = append(got, inFull(e))
	}
	if !slices.Equal(byInterface(got), byInterface(want)) {
		a.t.Fatalf("%s: events\n%s\nwant\n%s", step, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	return said
}

// finish wants nothing more to be said, by a change that is as late as any: of carrier.
func (a *account) finish() {
	a.t.Helper()
	rows, _, err := a.client.Interfaces(a.t.Context(), hub.Filter{})
	must(a.t, err)
	peers := map[string]string{"marker": a.mark(), a.mark(): "marker"}
	var want []string
	for _, row := range rows {
		if peer, ok := peers[row.Veth]; ok {
			want = append(want, iface{veth: row.Veth, name: peer, ifindex: int(row.Ifindex)}.says("up"))
		}
	}
	for end := range peers {
		must(a.t, a.ip("link", "set", end, "up"))
	}
	a.expect("at the end", want...)
}

// inFull returns all that an interface event says, as one line.
func inFull(e *hub.Event) string {
	o := e.Options
	ifindex, _ := o.Get("ifindex")
	line := fmt.Sprintf("%s %s:%s %s #%d", told(e), o.Text("pool"), o.Text("id"), ifindex.Type(), ifindex.Uint())
	if resync, ok := o.Get("resync"); ok {
		line += " resync=" + strconv.FormatBool(resync.Bool())
	}
	if o.Text("pool") != e.Pool || o.Text("id") != e.ID {
		line += fmt.Sprintf(" but it is of %s:%s", e.Pool, e.ID)
	}
	return line
}

// byInterface sorts lines by the ifindex that they end with.
func byInterface(lines []string) []string {
	sorted := slices.Clone(lines)
	slices.SortStableFunc(sorted, func(a, b string) int {
		return cmp.Compare(a[strings.Index(a, "#"):], b[strings.Index(b, "#"):])
	})
	return sorted
}

// iface is an interface of a container as events have it.
type iface struct {
	pool, id   string
	name, veth string
	ifindex    int
}

// at fills in the ifindex that the host end has now.
func (i iface) at(t testing.TB, ns *nstest.NS) iface {
	t.Helper()
	var err error
	i.ifindex, err = ns.Index(i.veth)
	must(t, err)
	return i
}

func (i iface) tail() string { return fmt.Sprintf(" %s:%s u #%d", i.pool, i.id, i.ifindex) }

// says is the line of an event: up or down.
func (i iface) says(action string) string {
	return fmt.Sprintf("%s name=%s veth=%s", action, i.name, i.veth) + i.tail()
}

// renamed is the line of a rename inside.
func (i *iface) renamed(name string) string {
	old := i.name
	i.name = name
	return fmt.Sprintf("rename name=%s new_name=%s veth=%s", old, name, i.veth) + i.tail()
}

// renamedOnHost is the line of a rename of the host end.
func (i *iface) renamedOnHost(veth string) string {
	old := i.veth
	i.veth = veth
	return fmt.Sprintf("rename name=%s new_name=%[1]s veth=%s old_veth=%s", i.name, veth, old) + i.tail()
}

// flip sets an interface down, up, renames it there as udev and the like do, and back
// with a pause at each step: what is run runs inside.
func (a *account) flip(i *iface, run func(args ...string) (string, error)) {
	a.t.Helper()
	set := func(args ...string) {
		a.t.Helper()
		_, err := run(append([]string{"ip", "link", "set"}, args...)...)
		must(a.t, err)
	}
	set(i.name, "down")
	a.expect("down inside", i.says("down"))
	set(i.name, "up")
	a.expect("up inside", i.says("up"))

	first := i.name
	_, err := run("/bin/sh", "-c", "ip link set "+first+" down && ip link set "+first+" name lan0 && ip link set lan0 up")
	must(a.t, err)
	a.expect("renamed inside", i.says("down"), i.renamed("lan0"), i.says("up"))
	set("lan0", "down")
	a.expect("down inside, to be renamed", i.says("down"))
	set("lan0", "name", first)
	a.expect("renamed inside while down", i.renamed(first))
	set(first, "up")
	a.expect("up inside, renamed", i.says("up"))
}

// TestLXC follows containers as osctld lays them out, and as LXC does by itself.
func TestLXC(t *testing.T) {
	for name, conf := range map[string]cttest.LXCConfig{
		"privileged": {Pool: "tank", ID: "101", Interfaces: []cttest.Interface{{Pair: "ct-101", Bridge: "br0"}, {}}},
		"mapped":     {Pool: "tank", ID: "102", Interfaces: []cttest.Interface{{Pair: "ct-102"}, {Bridge: "br0"}}, Mapped: true},
		"default":    {ID: "web.example.org", Interfaces: []cttest.Interface{{Pair: "web0"}, {}}},
	} {
		t.Run(name, func(t *testing.T) { followLXC(t, conf) })
	}
}

func followLXC(t *testing.T, conf cttest.LXCConfig) {
	h := cttest.NewHost(t)
	a := follow(t, daemonOn(t, h), h.Exec)
	c := h.LXC(t, conf)
	pool := cmp.Or(conf.Pool, "lxc")
	interfaces := func() (all [2]iface) {
		for n := range all {
			name := fmt.Sprintf("eth%d", n)
			veth, err := c.Veth(name)
			must(t, err)
			all[n] = iface{pool: pool, id: conf.ID, name: name, veth: veth}.at(t, h.NS())
		}
		return all
	}

	must(t, c.Start())
	eth := interfaces()
	if eth[0].veth != conf.Interfaces[0].Pair {
		t.Fatalf("the host end of eth0 is called %s", eth[0].veth)
	}
	a.expect("start", eth[0].says("up"), eth[1].says("up"))
	for n := range eth {
		a.flip(&eth[n], c.Exec)
	}
	must(t, h.NS().Rename(eth[0].ifindex, "renamed0"))
	a.expect("rename of the host end", eth[0].renamedOnHost("renamed0"))

	must(t, c.Reboot())
	again := interfaces()
	if again[0].veth != conf.Interfaces[0].Pair || again[0].ifindex == eth[0].ifindex {
		t.Errorf("the host end of eth0 is called %s, number %d, after a reboot", again[0].veth, again[0].ifindex)
	}
	said := a.expect("reboot", eth[0].says("down"), eth[1].says("down"), again[0].says("up"), again[1].says("up"))
	// The old end of eth1 LXC itself deletes before it starts the container again. That of
	// eth0 it does not find under its new name: the kernel deletes it when it gets round
	// to the dead namespace, which may be later.
	var actions []string
	for _, e := range said {
		if e.Options.Text("name") == "eth1" {
			actions = append(actions, e.Action)
		}
	}
	if !slices.Equal(actions, []string{"down", "up"}) {
		t.Errorf("reboot: of eth1 is said: %s", actions)
	}

	must(t, c.Kill())
	a.expect("kill", again[0].says("down"), again[1].says("down"))
	must(t, c.Start())
	eth = interfaces()
	a.expect("start after kill", eth[0].says("up"), eth[1].says("up"))
	must(t, c.Stop())
	a.expect("stop", eth[0].says("down"), eth[1].says("down"))
	a.finish()
}

func TestPodman(t *testing.T) {
	h := cttest.NewHost(t)
	a := follow(t, daemonOn(t, h), h.Exec)
	c := h.Podman(t)
	for _, end := range []func() error{c.Stop, c.Kill} {
		must(t, c.Start())
		veth, err := c.Veth("eth0")
		must(t, err)
		eth0 := iface{pool: "podman", id: c.ID(), name: "eth0", veth: veth}.at(t, h.NS())
		a.expect("start", eth0.says("up"))
		a.flip(&eth0, c.Exec)
		must(t, end())
		a.expect("end", eth0.says("down"))
	}
	a.finish()
}

func TestNamedNamespace(t *testing.T) {
	h := cttest.NewHost(t)
	a := follow(t, daemonOn(t, h), h.Exec)
	for range 2 { // the second one has the name of the first
		n := h.NetNS(t, "blue")
		must(t, n.Veth("vblue", "eth0"))
		eth0 := iface{pool: "netns", id: "blue", name: "eth0", veth: "vblue"}.at(t, h.NS())
		must(t, h.NS().Up(eth0.ifindex))
		a.expect("down inside from the beginning")
		run := func(args ...string) (string, error) { return n.Exec(args[0], args[1:]...) }
		_, err := run("ip", "link", "set", "eth0", "up")
		must(t, err)
		a.expect("up", eth0.says("up"))
		a.flip(&eth0, run)
		must(t, h.NS().Rename(eth0.ifindex, "vgreen"))
		a.expect("rename of the host end", eth0.renamedOnHost("vgreen"))
		must(t, n.Delete())
		a.expect("delete", eth0.says("down"))
	}
	a.finish()
}

// TestNspawn follows a systemd-nspawn container of a system that systemd has booted:
// the host end is down until somebody sets it up.
func TestNspawn(t *testing.T) {
	m := cttest.BootSystemd(t, cttest.MachineConfig{})
	a := follow(t, daemonIn(t, m), m.Exec)
	c := m.Nspawn(t, "bb")
	for _, end := range []func() error{c.Stop, c.Kill} {
		must(t, c.Start())
		out, err := m.Exec("cat", "/sys/class/net/"+c.Veth()+"/ifindex")
		must(t, err)
		host0 := iface{pool: "machine", id: "bb", name: "host0", veth: c.Veth()}
		host0.ifindex, err = strconv.Atoi(strings.TrimSpace(out))
		must(t, err)
		_, err = c.Exec("ip", "link", "set", "host0", "up")
		must(t, err)
		a.expect("start, and up inside")
		must(t, a.ip("link", "set", c.Veth(), "up"))
		a.expect("up on the host", host0.says("up"))
		a.flip(&host0, c.Exec)
		must(t, a.ip("link", "set", c.Veth(), "down"))
		a.expect("down on the host", host0.says("down"))
		must(t, a.ip("link", "set", c.Veth(), "up"))
		a.expect("up on the host again", host0.says("up"))
		must(t, end())
		a.expect("end", host0.says("down"))
	}
	a.finish()
}

// report reports a change of an interface, as a container manager does.
func (a *account) report(action string, i iface) {
	a.t.Helper()
	_, err := a.client.Report(a.t.Context(), hub.TypeNetif, hub.Options{
		{Name: "pool", Value: hub.String(i.pool)},
		{Name: "id", Value: hub.String(i.id)},
		{Name: "action", Value: hub.String(action)},
		{Name: "name", Value: hub.String(i.name)},
		{Name: "veth", Value: hub.String(i.veth)},
	})
	must(a.t, err)
}

// TestReportedOwner reports whose a veth is that nobody else can tell: its namespace
// has no name and no process.
func TestReportedOwner(t *testing.T) {
	h := cttest.NewHost(t)
	a := follow(t, daemonOn(t, h), h.Exec)
	for _, first := range []string{"veth", "report"} {
		inside := nstest.New(t)
		eth0 := iface{pool: "tank", id: "7", name: "eth0", veth: "bound0"}
		if first == "report" {
			a.report("add", eth0)
		}
		ifindex, err := h.NS().Pair("bound0", "eth0", inside)
		must(t, err)
		eth0.ifindex = ifindex
		if first == "veth" {
			a.report("up", eth0)
		}
		run := func(args ...string) (string, error) {
			return h.Exec("nsenter", append([]string{"--net=" + inside.Path(), "--"}, args...)...)
		}
		must(t, h.NS().Up(ifindex))
		_, err = run("ip", "link", "set", "eth0", "up")
		must(t, err)
		a.expect("up, bound by the report, first the "+first, eth0.says("up"))
		a.flip(&eth0, run)
		must(t, h.NS().Rename(ifindex, "bound1"))
		a.expect("rename of the host end", eth0.renamedOnHost("bound1"))
		must(t, h.NS().Delete(ifindex))
		a.expect("delete", eth0.says("down"))
	}

	inside := nstest.New(t)
	ifindex, err := h.NS().Pair("bound1", "eth0", inside)
	must(t, err)
	eth0 := iface{name: "eth0", veth: "bound1", ifindex: ifindex}
	must(t, h.NS().Up(ifindex))
	peer, err := inside.Index("eth0")
	must(t, err)
	must(t, inside.Up(peer))
	a.expect("another veth of the name", eth0.says("up"))
	must(t, h.NS().Delete(ifindex))
	a.expect("delete of that", eth0.says("down"))
	a.finish()
}

// TestReportWins reports another owner than the one that was found, until the veth goes.
func TestReportWins(t *testing.T) {
	h := cttest.NewHost(t)
	a := follow(t, daemonOn(t, h), h.Exec)
	c := h.LXC(t, cttest.LXCConfig{Pool: "tank", ID: "8", Interfaces: []cttest.Interface{{Pair: "ct-8"}}})
	must(t, c.Start())
	found := iface{pool: "tank", id: "8", name: "eth0", veth: "ct-8"}.at(t, h.NS())
	a.expect("start", found.says("up"))
	bound := found
	bound.pool, bound.id = "dozer", "nine"
	a.report("up", bound)
	a.flip(&bound, c.Exec)
	must(t, c.Reboot())
	found = found.at(t, h.NS())
	a.expect("reboot", bound.says("down"), found.says("up"))
	must(t, c.Kill())
	a.expect("kill", found.says("down"))
	a.finish()
}
