package owner

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// fakeHost is a tree of cgroups, a proc and a kernel that answers as told.
type fakeHost struct {
	t    testing.TB
	root string

	cgroups []string // paths of hierarchies in the directory of cgroups; "" is that itself
	own     int32
	mu      sync.Mutex       // of what is asked for by several at a time
	nsids   map[int]int32    // of processes
	files   map[string]int32 // of named namespaces
	asked   map[int]int      // how often a process was asked about in earnest
	helpers []kernel
	probed  int           // how often one was asked about quickly
	during  func(pid int) // while a process is asked about
	err     error
	weak    bool // no pidfd
	closed  bool
	blind   bool // no inotify
}

func newHost(t testing.TB) *fakeHost {
	t.Helper()
	h := &fakeHost{
		t: t, root: t.TempDir(), cgroups: []string{""}, own: none,
		nsids: map[int]int32{}, files: map[string]int32{}, asked: map[int]int{},
	}
	must(t, os.MkdirAll(h.dir("netns"), 0o755))
	h.cgroup("")
	h.process(1, "", "1")
	return h
}

func (h *fakeHost) dir(parts ...string) string {
	return filepath.Join(append([]string{h.root}, parts...)...)
}

func (h *fakeHost) finder() *Finder {
	h.t.Helper()
	f, err := newFinder(Config{Cgroup: h.dir("cgroup"), Proc: h.dir("proc"), Netns: h.dir("netns")}, append(h.helpers, h)...)
	must(h.t, err)
	h.t.Cleanup(f.watches.close)
	if h.blind {
		f.watches.close()
		f.watches.err = unix.EMFILE
	}
	return f
}

// eachWay runs a test with watches and without.
func eachWay(t *testing.T, run func(t *testing.T, h *fakeHost)) {
	t.Helper()
	for _, blind := range []bool{false, true} {
		t.Run(fmt.Sprintf("blind=%v", blind), func(t *testing.T) {
			h := newHost(t)
			h.blind = blind
			run(t, h)
		})
	}
}

func (h *fakeHost) cgroup(path string) {
	h.t.Helper()
	for _, c := range h.cgroups {
		dir := h.dir("cgroup", c)
		for _, part := range append([]string{""}, strings.Split(strings.Trim(path, "/"), "/")...) {
			dir = filepath.Join(dir, part)
			must(h.t, os.MkdirAll(dir, 0o755))
			if _, err := os.Stat(dir + "/cgroup.procs"); err != nil {
				must(h.t, os.WriteFile(dir+"/cgroup.procs", nil, 0o644))
			}
		}
	}
}

// process adds a process with its pids in all pid namespaces.
func (h *fakeHost) process(pid int, path, nspid string) {
	h.t.Helper()
	h.cgroup(path)
	proc := h.dir("proc", fmt.Sprint(pid))
	must(h.t, os.MkdirAll(proc, 0o755))
	must(h.t, os.WriteFile(proc+"/status", []byte("Name:\tx\nNSpid:\t"+nspid+"\nThreads:\t1\n"), 0o644))
	text := ""
	for _, c := range h.cgroups {
		procs := h.dir("cgroup", c, path, "cgroup.procs")
		old, _ := os.ReadFile(procs)
		must(h.t, os.WriteFile(procs, append(old, fmt.Sprintln(pid)...), 0o644))
		line := map[string]string{"": "0:", "unified": "0:", "systemd": "1:name=systemd"}[c]
		if line == "" {
			line = "2:x," + c
		}
		text += line + ":/" + strings.TrimPrefix(path, "/") + "\n"
	}
	must(h.t, os.WriteFile(proc+"/cgroup", []byte(text), 0o644))
	h.nsids[pid] = none
}

// init adds the init of a container, in a namespace with an nsid.
func (h *fakeHost) init(pid int, path string, nsid int32) {
	h.t.Helper()
	h.process(pid, path, fmt.Sprintf("%d\t1", pid))
	h.nsids[pid] = nsid
}

// kill ends a process and takes it out of its cgroup.
func (h *fakeHost) kill(pid int) {
	h.t.Helper()
	delete(h.nsids, pid)
	must(h.t, os.RemoveAll(h.dir("proc", fmt.Sprint(pid))))
	_ = filepath.WalkDir(h.dir("cgroup"), func(path string, _ os.DirEntry, err error) error {
		if err == nil && filepath.Base(path) == "cgroup.procs" {
			text, _ := os.ReadFile(path)
			lines := slices.DeleteFunc(strings.Split(string(text), "\n"), func(l string) bool { return l == fmt.Sprint(pid) })
			must(h.t, os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o644))
		}
		return nil
	})
}

func (h *fakeHost) remove(path string) {
	h.t.Helper()
	for _, c := range h.cgroups {
		// Who has a file of it open reads no more from it, as in the kernel.
		_ = filepath.WalkDir(h.dir("cgroup", c, path), func(path string, _ os.DirEntry, err error) error {
			if err == nil && filepath.Base(path) == "cgroup.procs" {
				must(h.t, os.Truncate(path, 0))
			}
			return nil
		})
		must(h.t, os.RemoveAll(h.dir("cgroup", c, path)))
	}
}

func (h *fakeHost) name(name string, nsid int32) {
	h.t.Helper()
	path := h.dir("netns", name)
	must(h.t, os.WriteFile(path, nil, 0o644))
	h.files[path] = nsid
}

// The kernel.

func (h *fakeHost) byPid(pid int) (int32, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probed++
	if nsid, ok := h.nsids[pid]; ok {
		return nsid, nil
	}
	return none, errGone
}

func (h *fakeHost) byProcess(pid int, still func() bool) (int32, error) {
	h.mu.Lock()
	h.asked[pid]++
	err := h.err
	nsid, ok := h.nsids[pid]
	h.mu.Unlock()
	if err != nil {
		return none, err
	}
	if !ok {
		return none, errGone
	}
	if h.during != nil {
		h.during(pid)
	}
	h.mu.Lock()
	_, alive := h.nsids[pid]
	h.mu.Unlock()
	if !still() || !alive {
		return none, errGone
	}
	return nsid, nil
}

func (h *fakeHost) pidsOf(int) ([]byte, error) { return nil, errors.ErrUnsupported }
func (h *fakeHost) release()                   {}

func (h *fakeHost) byFile(path string) (int32, error) {
	if nsid, ok := h.files[path]; ok {
		return nsid, nil
	}
	return none, errGone
}

func (h *fakeHost) self() (int32, error) { return h.own, h.err }
func (h *fakeHost) guarded() bool        { return !h.weak }
func (h *fakeHost) close() error         { h.closed = true; return nil }

// wants checks the owner of an nsid, after a walk if it is not known; "" is none.
func wants(t testing.TB, f *Finder, nsid int32, want string) {
	t.Helper()
	rested(f)
	c, ok := f.Find(t.Context(), nsid)
	got := ""
	if ok {
		got = c.Pool + ":" + c.ID
	}
	if got != want {
		t.Errorf("owner of nsid %d is %q, want %q", nsid, got, want)
	}
}
