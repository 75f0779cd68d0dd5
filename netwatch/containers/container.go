package containers

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// askPauses is when a container is asked again that has no nsid: it gets one some time after its
// cgroup was made. What comes later is found when it is asked for.
var askPauses = []time.Duration{
	2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second,
}

// container is a container's cgroup, and what was found out about it. With v1 beside v2 a
// container has two.
type container struct {
	Container
	node    *node
	rule    *matcher
	process process // that was asked last; pid 0 is none
	nsid    int32   // that it said; none
	tries   int
	again   time.Time
	named   bool // the id is what the monitor says
	watch   int32
	// The values in cgroup.events; false on v1, which has no such file.
	populated, frozen bool
}

// empty reports whether no process is in the container, as far as its cgroup tells.
func (c *container) empty() bool { return c.node.h.v2 && !c.populated }

// addContainer takes the cgroup of a container that is new.
func (t *Tracker) addContainer(n *node, name Container, m *matcher) {
	if n.within != 0 {
		u := t.usageOf(n.within)
		if u.containers >= maxPerUser {
			u.beyond = true
			return
		}
		u.containers++
		name.Pool = show(name.Pool + "@" + strconv.FormatUint(uint64(n.within), 10))
	} else {
		if t.room == 0 {
			t.lack(lackLimit, "containers")
			return
		}
		t.room--
	}
	c := &container{Container: name, node: n, rule: m, nsid: none, named: !m.argv || !endsInNumber(name.ID)}
	n.container = c
	n.parent.kids[n.name] = n
	t.containers[n] = c
	t.enter(c)
	t.watchEvents(c)
	t.takeState(c)
}

// spare reports whether a container need not be asked: it is empty, or on v1 and has a cgroup of v2
// that is not.
func (t *Tracker) spare(c *container) bool {
	populated := func(twin *container) bool { return twin.populated }
	return c.empty() || !c.node.h.v2 && slices.ContainsFunc(t.standings[c.Container].cgroups, populated)
}

func (t *Tracker) dropContainer(n *node) {
	c := n.container
	t.unwatchEvents(c)
	delete(t.containers, n)
	delete(t.unsettled, c)
	t.leave(c)
	if n.within != 0 {
		t.usageOf(n.within).containers--
		t.makeRoom(n.within)
	} else {
		t.room++
	}
	t.changed(c, c.nsid)
}

// changed tells that questions about a container and an nsid may have other answers.
func (t *Tracker) changed(c *container, nsid int32) {
	if t.tell != nil && nsid != none {
		t.tell(c.Container, nsid)
	}
}

// inquire asks a container what nsid its network namespace has: that of its init, or of the first
// process that has one. It is a hint, which Owner verifies.
func (t *Tracker) inquire(c *container) {
	if c.empty() { // as far as it told: the kernel may be late
		t.readState(c)
		t.tellState(c.Container)
	}
	if t.spare(c) {
		return
	}
	before := c.nsid
	c.process, c.nsid = process{}, none
	for _, p := range t.processes(c) {
		nsid, err := t.ids.GetNetNsIdByPid(p.pid)
		if err != nil {
			t.fault(err)
			continue
		}
		if c.process.pid == 0 || t.foreign(nsid) != none {
			c.process, c.nsid = p, t.foreign(nsid)
		}
		if p.rank == rankInit || c.nsid != none {
			break
		}
	}
	if c.process.pid != 0 && !c.named {
		t.leave(c)
		c.ID, c.named = nameByMonitor(c), true
		t.enter(c)
		t.tellState(c.Container)
	}
	if c.nsid == before {
		return
	}
	t.changed(c, before)
	t.changed(c, c.nsid)
}

// refresh asks a container again if its last answer no longer holds.
func (t *Tracker) refresh(c *container) {
	if c.process.pid != 0 {
		nsid, err := t.ids.GetNetNsIdByPid(c.process.pid)
		if err == nil && t.foreign(nsid) == c.nsid && (c.nsid != none || c.process.rank == rankInit) {
			return
		}
	}
	t.inquire(c)
}

// endsInNumber reports whether an id ends in -DIGITS.
func endsInNumber(id string) bool {
	at := strings.LastIndexByte(id, '-')
	if at <= 0 || at == len(id)-1 {
		return false
	}
	return strings.Trim(id[at+1:], "0123456789") == ""
}

// nameByMonitor asks the monitor of an LXC container, the parent of its init, what that is called.
// LXC appends -1 and so on to the name of a cgroup that is taken, and a container may be called so.
func nameByMonitor(c *container) string {
	pid, err := strconv.Atoi(strings.TrimSpace(string(readStatus(c.process.pid, "PPid"))))
	if err != nil || pid <= 1 {
		return c.ID
	}
	argv, err := readProc(pid, "cmdline")
	if err != nil {
		return c.ID
	}
	// [lxc monitor] PATH NAME
	words := strings.Fields(strings.TrimRight(string(bytes.ReplaceAll(argv, []byte{0}, []byte(" "))), " "))
	if len(words) < 4 || words[0] != "[lxc" || words[1] != "monitor]" {
		return c.ID
	}
	name := show(words[len(words)-1])
	if name != "" && strings.HasPrefix(c.ID, name) {
		return name
	}
	return c.ID
}

// readStatus reads a value of the status of a process; it is empty if that cannot be read.
func readStatus(pid int, key string) []byte {
	status, _ := readProc(pid, "status") // the process may be gone
	_, value, _ := bytes.Cut(status, []byte("\n"+key+":"))
	value, _, _ = bytes.Cut(value, []byte("\n"))
	return value
}

// readProc reads the beginning of a file about a process.
func readProc(pid int, name string) ([]byte, error) {
	return readFile("/proc/" + strconv.Itoa(pid) + "/" + name)
}

// readFile reads the first 4 KiB of a file.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // of proc or a cgroup
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	b := make([]byte, 4<<10)
	n, err := f.Read(b)
	if n > 0 {
		err = nil
	}
	return b[:n], err
}
