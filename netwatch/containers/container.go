package containers

import (
	"bytes"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// askPauses are the pauses before a container without an nsid is asked again, because it gets the nsid
// some time after its cgroup. After the last pause only Owner asks again.
var askPauses = []time.Duration{
	2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second,
}

// maxLeft is how many of the namespaces that an init left are remembered: the first ones, so that root of the
// container cannot displace one by moving on.
const maxLeft = 8

// container is the cgroup of a container. On a hybrid system a container has two.
type container struct {
	Container
	node    *node
	rule    *matcher
	process process // whose namespace was asked for last; pid 0 is none
	nsid    int32   // the last answer; none
	left    []int32 // the first maxLeft nsids of the namespaces that the same init left
	keeper  bool    // an interface may be kept by this container, so its end is reported even without an nsid
	tries   int
	retryAt time.Time
	named   bool // the id is certain; else the monitor may correct it
	watch   int32
	// The values in cgroup.events; false on v1, which has no such file.
	populated, frozen bool
}

// empty reports whether the container has no process according to its cgroup.events.
func (c *container) empty() bool { return c.node.h.v2 && !c.populated }

// addContainer adds the cgroup of a new container.
func (t *Tracker) addContainer(n *node, name Container, m *matcher) {
	if n.within != 0 {
		u := t.usageOf(n.within)
		if u.containers >= maxPerUser {
			u.limited = true
			return
		}
		u.containers++
		name.Pool = show(name.Pool + "@" + strconv.FormatUint(uint64(n.within), 10))
	} else {
		if t.room == 0 {
			t.setMissing(missingLimit, "containers")
			return
		}
		t.room--
	}
	c := &container{Container: name, node: n, rule: m, nsid: none, named: !m.argv || !numbered.MatchString(name.ID)}
	n.container = c
	n.parent.kids[n.name] = n
	t.containers[n] = c
	t.joinGroup(c)
	t.watchEvents(c)
	t.updateState(c)
}

func (t *Tracker) dropContainer(n *node) {
	c := n.container
	t.unwatchEvents(c)
	delete(t.containers, n)
	delete(t.pending, c)
	t.leaveGroup(c)
	if n.within != 0 {
		t.usageOf(n.within).containers--
		t.makeRoom(n.within)
	} else {
		t.room++
	}
	t.notifyNSID(c, c.nsid)
}

// notifyNSID reports that Owner, Runs or Left may have another answer for a container and an nsid.
func (t *Tracker) notifyNSID(c *container, nsid int32) {
	if t.onNSID != nil && (nsid != none || c.keeper) {
		t.onNSID(c.Container, nsid)
	}
}

// queryNSID asks for the nsid of a container's network namespace: that of its first process. The answer is
// a hint, which Owner verifies.
func (t *Tracker) queryNSID(c *container) {
	if c.empty() { // the kernel may report new processes late
		t.readState(c)
		t.notifyState(c.Container)
	}
	if c.empty() {
		return
	}
	before := c.nsid
	same := c.process.init && t.holdsProcess(c)
	if !same {
		c.process, c.left = t.findFirst(c), nil
	}
	id := c.ID
	if c.process.pid != 0 && !c.named {
		if name := readMonitorName(c); name != "" {
			id = name
		} else if !c.process.init { // its monitor is not known
			c.process = process{}
		}
	}
	if c.nsid = none; c.process.pid != 0 {
		nsid, err := t.nsidOf(c.process.pid)
		if err != nil {
			t.logFault(err)
			c.process = process{}
		}
		c.nsid = nsid
	}
	if c.process.pid != 0 && !c.named {
		t.leaveGroup(c)
		c.ID, c.named = id, true
		t.joinGroup(c)
		t.notifyState(c.Container)
	}
	if c.nsid == before {
		return
	}
	if same && before != none && len(c.left) < maxLeft && !slices.Contains(c.left, before) {
		c.left = append(c.left, before)
	}
	t.notifyNSID(c, before)
	t.notifyNSID(c, c.nsid)
}

// refreshNSID asks a container again if its last answer is outdated.
func (t *Tracker) refreshNSID(c *container) {
	if c.process.pid != 0 {
		nsid, err := t.nsidOf(c.process.pid)
		if err == nil && nsid == c.nsid && (c.nsid != none || c.process.init) {
			return
		}
	}
	t.queryNSID(c)
}

// numbered is an id that ends in -DIGITS.
var numbered = regexp.MustCompile(`.-[0-9]+$`)

// mayBeCalled reports whether the LXC container whose cgroup has an id may have a name: the id itself, or that id
// without the -1 and so on that LXC appends if the name of a cgroup is taken.
func mayBeCalled(id, name string) bool { return id == name || strings.HasPrefix(id, name+"-") }

// readMonitorName returns the name of an LXC container from the command line of its monitor, the parent
// of its init, because a number at the end of a cgroup's name may also be part of the container's name. The name is
// empty if the parent is no monitor. A parent in the container is none, because root of the container can choose its
// command line.
func readMonitorName(c *container) string {
	parent, _ := readStatus(c.process.pid, "PPid")
	pid, err := strconv.Atoi(strings.TrimSpace(string(parent)))
	if err != nil || pid <= 1 {
		return ""
	}
	argv, err := readProc(pid, "cmdline")
	// In a cgroup namespace of our own the path to the container's cgroup may be another one, but its name is the same.
	if inside, unknown := c.holds(pid, "/"+c.node.name); err != nil || inside || unknown != nil {
		return ""
	}
	// [lxc monitor] PATH NAME
	words := strings.Fields(strings.TrimRight(string(bytes.ReplaceAll(argv, []byte{0}, []byte(" "))), " "))
	if len(words) < 4 || words[0] != "[lxc" || words[1] != "monitor]" {
		return ""
	}
	if name := show(words[len(words)-1]); mayBeCalled(c.ID, name) {
		return name
	}
	return ""
}

// readStatus reads a value from the status of a process, and the size of that status in bytes. The value is empty if
// the status cannot be read.
func readStatus(pid int, key string) (value []byte, size int) {
	status, _ := readProc(pid, "status") // the process may be gone
	_, value, _ = bytes.Cut(status, []byte("\n"+key+":"))
	value, _, _ = bytes.Cut(value, []byte("\n"))
	return value, len(status)
}

// maxProc is the most that is read of a file about a process. A container's root can make status long, by up to
// 65536 groups, and cgroup, by a path of up to 4 KiB in each hierarchy of v1.
const maxProc = 1 << 20

// readProc reads a file about a process.
func readProc(pid int, name string) ([]byte, error) {
	return readFile("/proc/"+strconv.Itoa(pid)+"/"+name, maxProc)
}

// readFile reads a file up to a limit. With an error, it returns what it read before.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // of proc or a cgroup
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	b := bytes.NewBuffer(make([]byte, 0, 4<<10))
	_, err = b.ReadFrom(io.LimitReader(f, limit))
	return b.Bytes(), err
}
