package owner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestFindLearnsAllAtOnce(t *testing.T) {
	h := newHost(t)
	h.init(100, "/lxc.payload.a", 5)
	h.init(200, "/osctl/pool.tank/group.default/user.1/ct.b/user-owned/lxc.payload.b", 6)
	h.process(300, "/machine.slice/machine-c.scope/supervisor", "300")
	h.init(301, "/machine.slice/machine-c.scope/payload/init.scope", 7)
	h.init(400, "/system.slice/ssh.service", 8) // no rule
	f := h.finder()
	if _, ok := f.lookUp(5); ok {
		t.Error("known before a walk")
	}
	wants(t, f, 5, "lxc:a")
	h.asked = map[int]int{}
	for nsid, want := range map[int32]string{6: "tank:b", 7: "machine:c"} {
		if c, ok := f.lookUp(nsid); !ok || c.Pool+":"+c.ID != want {
			t.Errorf("nsid %d: %v %v, want %s", nsid, c, ok, want)
		}
	}
	wants(t, f, 8, "")
	if len(h.asked) != 0 {
		t.Errorf("asked %v again", h.asked)
	}
	must(t, f.Close())
	if !h.closed {
		t.Error("not closed")
	}
}

func TestSystemdInside(t *testing.T) {
	h := newHost(t)
	ct := "/lxc.payload.a"
	h.process(90, ct+"/.lxc", "90\t77") // lxc-attach
	h.nsids[90] = 9
	h.process(101, ct+"/system.slice/docker-"+testID+".scope", "101\t50\t1")
	h.nsids[101] = 6
	h.init(100, ct+"/init.scope", 5)
	f := h.finder()
	wants(t, f, 5, "lxc:a")
	if h.asked[101]+h.asked[90] != 0 {
		t.Error("another process than init was asked")
	}
	// The namespace of the inner container is found by the walk over all processes.
	wants(t, f, 6, "")
	wants(t, f, 6, "lxc:a")
	wants(t, f, 5, "lxc:a")
}

func TestInitBehindOthers(t *testing.T) {
	h := newHost(t)
	h.process(100, "/lxc.payload.a", "100\t7")
	h.nsids[100] = 6
	h.process(101, "/lxc.payload.a", "101\t8\t1")
	h.nsids[101] = 7
	h.init(102, "/lxc.payload.a", 5)
	f := h.finder()
	wants(t, f, 5, "lxc:a")
	if h.asked[100]+h.asked[101] != 0 {
		t.Error("another process than init was asked")
	}
}

func TestNoPidNamespace(t *testing.T) {
	h := newHost(t)
	h.process(100, "/docker/"+testID, "100") // in the host's network namespace
	h.process(101, "/docker/"+testID, "101")
	h.nsids[101] = 5
	f := h.finder()
	wants(t, f, 5, "docker:"+testID)
}

func TestHostNetwork(t *testing.T) {
	h := newHost(t)
	h.own = 3
	h.init(100, "/lxc.payload.a", 3) // self-referring
	h.init(101, "/lxc.payload.b", none)
	f := h.finder()
	wants(t, f, 3, "")
	wants(t, f, 4, "")
	wants(t, f, -1, "")
	if len(f.known) != 0 {
		t.Errorf("known: %v", f.known)
	}
	h.nsids[101] = 4 // a veth was moved in
	wants(t, f, 4, "lxc:b")
}

func TestRuntimesOwnProcesses(t *testing.T) {
	h := newHost(t)
	pod := "/kubepods.slice/kubepods-pod" + slUID + ".slice"
	h.process(99, pod+"/crio-conmon-"+testID+".scope", "99")
	h.nsids[99] = 9 // as if it were in some namespace
	h.init(100, pod+"/crio-"+testID+".scope", 5)
	h.process(88, "/machine.slice/machine-x.scope/supervisor", "88")
	h.nsids[88] = 8
	f := h.finder()
	wants(t, f, 5, "k8s:"+testUID)
	for _, nsid := range []int32{8, 9} {
		wants(t, f, nsid, "")
		wants(t, f, nsid, "")
	}
}

func TestSharedNamespace(t *testing.T) {
	h := newHost(t)
	h.init(100, "/lxc.payload.a", 5)
	f := h.finder()
	wants(t, f, 5, "lxc:a")
	h.init(200, "/lxc.payload.b", 5)
	for range 3 {
		wants(t, f, 77, "")
	}
	wants(t, f, 5, "lxc:a")
	if h.asked[200] != 1 || h.asked[100] != 1 {
		t.Errorf("asked %v, want each once", h.asked)
	}
}

func TestNames(t *testing.T) {
	h := newHost(t)
	h.name("blue", 5)
	h.name("cni-"+testUID, 6)
	h.name("bad\xff", 7)
	h.name("both", 8)
	h.init(100, "/lxc.payload.a", 8)
	must(t, os.WriteFile(h.dir("netns", "stale"), nil, 0o644))
	f := h.finder()
	wants(t, f, 5, "netns:blue")
	wants(t, f, 7, `netns:bad\xff`)
	wants(t, f, 8, "lxc:a")
	wants(t, f, 6, "")
	f.missed[6] = time.Now()
	wants(t, f, 6, "") // too early
	f.missed[6] = time.Now().Add(-nameGrace)
	wants(t, f, 6, "netns:cni-"+testUID)
	h.init(101, "/lxc.payload.b", 6) // its first process comes late
	wants(t, f, 99, "")
	wants(t, f, 6, "lxc:b")
}

func TestHierarchies(t *testing.T) {
	for _, names := range [][]string{{"unified", "systemd"}, {"systemd", "memory"}, {"memory", "cpu"}, {"unified"}} {
		t.Run(strings.Join(names, "+"), func(t *testing.T) {
			h := newHost(t)
			must(t, os.RemoveAll(h.dir("cgroup")))
			h.cgroups = names
			h.init(100, "/lxc.payload.a", 5)
			h.process(101, "/lxc.payload.a/x", "101\t9")
			h.nsids[101] = 6
			f := h.finder()
			wants(t, f, 5, "lxc:a")
			wants(t, f, 98, "")
			if h.asked[100] != 1 {
				t.Errorf("asked %v, want once although in several hierarchies", h.asked)
			}
			wants(t, f, 6, "")
			wants(t, f, 6, "lxc:a") // by /proc/PID/cgroup
			f.Forget(5)
			wants(t, f, 5, "lxc:a")
		})
	}
}

// TestOnlyInOne is a hybrid system with a container in one of the hierarchies.
func TestOnlyInOne(t *testing.T) {
	for _, only := range []string{"unified", "systemd"} {
		h := newHost(t)
		must(t, os.RemoveAll(h.dir("cgroup")))
		h.cgroups = []string{"unified", "systemd"}
		h.cgroup("")
		h.cgroups = []string{only}
		h.init(100, "/lxc.payload.a", 5)
		wants(t, h.finder(), 5, "lxc:a")
	}
}

func TestNotDueIsNoWalk(t *testing.T) {
	h := newHost(t)
	f := h.finder()
	if !f.NextWalk().IsZero() {
		t.Error("no walk at once")
	}
	before := time.Now()
	f.Find(t.Context(), 5)
	if next := f.NextWalk(); !next.After(before) || next.After(time.Now().Add(maxRest)) {
		t.Errorf("next walk %v after the last one began", next.Sub(before))
	}
	h.init(100, "/lxc.payload.a", 5)
	f.mu.Lock()
	f.looks.broke = time.Now().Add(time.Hour)
	f.mu.Unlock()
	if c, ok := f.Find(t.Context(), 5); ok {
		t.Errorf("found %v without a walk", c)
	}
	wants(t, f, 5, "lxc:a")
}

func TestContextEnds(t *testing.T) {
	h := newHost(t)
	h.init(100, "/lxc.payload.a", 5)
	f := h.finder()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, ok := f.Find(ctx, 5); ok || len(h.asked) != 1 { // itself, by probe
		t.Errorf("walked on: %v", h.asked)
	}
	wants(t, f, 5, "lxc:a")
}

func TestDepth(t *testing.T) {
	h := newHost(t)
	h.init(100, strings.Repeat("/x", maxDepth-1)+"/lxc.payload.a", 5)
	h.init(200, strings.Repeat("/y", maxDepth)+"/lxc.payload.b", 6)
	f := h.finder()
	wants(t, f, 5, "lxc:a")
	wants(t, f, 6, "")
	wants(t, f, 6, "lxc:b") // by its process
	if lines := f.Missing(); len(lines) != 1 || !strings.HasPrefix(lines[0], "cgroups: there are too many") {
		t.Errorf("missing: %q", lines)
	}
}

func TestMissing(t *testing.T) {
	h := newHost(t)
	f := h.finder()
	if lines := f.Missing(); len(lines) != 0 {
		t.Errorf("missing: %q", lines)
	}
	must(t, os.RemoveAll(h.dir("proc", "1")))
	must(t, os.RemoveAll(h.dir("cgroup")))
	must(t, os.RemoveAll(h.dir("netns")))
	must(t, os.WriteFile(h.dir("netns"), nil, 0o644))
	h.weak, h.err = true, errors.New("broken")
	f = h.finder()
	lines := f.Missing()
	for i, want := range []string{"RTM_GETNSID: ", "cgroups: no hierarchy", "CAP_SYS_PTRACE: ", "pidfd_open: ", "named network namespaces: "} {
		if i >= len(lines) || !strings.HasPrefix(lines[i], want) {
			t.Fatalf("line %d of %q does not begin with %q", i, lines, want)
		}
	}
	if len(lines) != 5 {
		t.Errorf("too many lines: %q", lines)
	}
}

// TestMissingIsText wants a path of any bytes to be shown as text.
func TestMissingIsText(t *testing.T) {
	f := newHost(t).finder()
	f.lack(lackNetns, "open /run/a\xff\x1bb")
	if lines := f.Missing(); len(lines) != 1 || !strings.HasSuffix(lines[0], `(open /run/a\xff\x1bb)`) {
		t.Errorf("%q", lines)
	}
}

// TestFaultsSaidOnce says each error once, and of ever new ones only so many.
func TestFaultsSaidOnce(t *testing.T) {
	f := newHost(t).finder()
	var said strings.Builder
	f.log = slog.New(slog.NewTextHandler(&said, nil))
	for range 3 {
		f.fault(errors.New("one"))
		f.fault(errors.New("another"))
		f.fault(unix.ENOENT)
	}
	if n := strings.Count(said.String(), "\n"); n != 2 {
		t.Errorf("%d lines, want 2: %s", n, said.String())
	}
	for i := range 100 {
		f.fault(fmt.Errorf("number %d", i))
	}
	if n := strings.Count(said.String(), "\n"); n != maxSaid || strings.Count(said.String(), "hour=true") != 1 {
		t.Errorf("%d lines, want %d: %s", n, maxSaid, said.String())
	}
	f.since = f.since.Add(-saidFor)
	f.fault(errors.New("one"))
	if n := strings.Count(said.String(), "\n"); n != maxSaid+1 {
		t.Errorf("%d lines an hour later", n)
	}
}
