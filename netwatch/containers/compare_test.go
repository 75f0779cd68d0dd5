package containers

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/netwatch/nstest"
)

// TestStateAfterOverflow expects changes whose events were lost to be found by comparing, with Resync.
func TestStateAfterOverflow(t *testing.T) {
	root := cgroupRoot(t)
	l := listen(t, root)
	at := func(id string) string { return filepath.Join(root, "lxc.payload."+id) }
	var before []sleeper
	for _, id := range []string{"stops", "goes", "replaced"} {
		before = append(before, sleepIn(t, at(id)))
		l.wants("lxc:" + id + " - running")
	}
	l.mu.Lock()
	for _, s := range before {
		s.stop()
	}
	must(t, unix.Rmdir(at("goes")))
	must(t, unix.Rmdir(at("replaced")))
	sleepIn(t, at("replaced"))
	sleepIn(t, at("starts"))
	awaitEvents(t, at("stops"), "populated 0")
	discard(t, l.system)
	l.handleEvents(l.system, []byte("\xff\xff\xff\xff\x00\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	l.rescan(l.system)
	l.mu.Unlock()
	var got []string
	for len(got) < 5 {
		got = append(got, describe(<-l.states))
	}
	slices.Sort(got)
	want := []string{
		"lxc:goes running stopped resync", "lxc:replaced - running resync", "lxc:replaced running stopped resync",
		"lxc:starts - running resync", "lxc:stops running stopped resync",
	}
	if !slices.Equal(got, want) {
		t.Errorf("reported %q, want %q", got, want)
	}
	l.ends(root)
}

// TestStateAfterFlood expects the states of a user's containers after that user overflowed the queue of
// events.
func TestStateAfterFlood(t *testing.T) {
	root := cgroupRoot(t)
	given := filepath.Join(root, "user.slice/user-1000.slice/user@1000.service")
	must(t, os.MkdirAll(given, 0o755))
	must(t, os.Chown(given, 1000, 1000))
	l := listen(t, root)
	a := sleepIn(t, filepath.Join(given, "lxc.payload.a"))
	l.wants("lxc@1000:a - running")
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	must(t, err)
	most, err := strconv.Atoi(strings.TrimSpace(string(text)))
	must(t, err)
	l.mu.Lock()
	for range most/2 + 1 { // each causes two events
		must(t, os.Mkdir(filepath.Join(given, "x"), 0o755))
		must(t, unix.Rmdir(filepath.Join(given, "x")))
	}
	a.stop()
	sleepIn(t, filepath.Join(given, "lxc.payload.b"))
	awaitEvents(t, filepath.Join(given, "lxc.payload.a"), "populated 0")
	l.mu.Unlock()
	got := []string{describe(<-l.states), describe(<-l.states)}
	for i := range got { // the kernel may queue this event late, when there is room again
		got[i] = strings.Replace(got[i], "running stopped resync", "running stopped", 1)
	}
	slices.Sort(got)
	if want := []string{"lxc@1000:a running stopped", "lxc@1000:b - running resync"}; !slices.Equal(got, want) {
		t.Errorf("reported %q, want %q", got, want)
	}
	l.ends(root)
}

// awaitEvents waits until the cgroup.events of a cgroup has a text.
func awaitEvents(t *testing.T, dir, what string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(filepath.Join(dir, "cgroup.events"))
		must(t, err)
		if strings.Contains(string(text), what) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("cgroup.events of %s never has %q", dir, what)
		}
	}
}

// running lists containers that run.
func running(names ...Container) map[Container]State {
	listed := map[Container]State{}
	for _, name := range names {
		listed[name] = Running
	}
	return listed
}

// TestBegin compares the cgroups with a list.
func TestBegin(t *testing.T) {
	root := cgroupRoot(t)
	given := filepath.Join(root, "user.slice/user-1000.slice/user@1000.service")
	must(t, os.MkdirAll(given, 0o755))
	must(t, os.Chown(given, 1000, 1000))
	for _, empty := range []string{"lxc.payload.empty", "lxc.payload.never", "osctl/pool.lxc/ct.1/user-owned"} {
		must(t, os.MkdirAll(filepath.Join(root, empty), 0o755))
	}
	s := sleepIn(t, filepath.Join(root, "lxc.payload.goes-on"))
	sleepIn(t, filepath.Join(root, "lxc.payload.new"))
	l := &listener{Tracker: trackerIn(t, nstest.New(t), Config{Cgroup: root}), t: t, states: make(chan StateChange, 10)}
	begin := func(names ...Container) (lines []string) {
		for _, c := range l.Begin(running(names...)) {
			lines = append(lines, describe(c))
		}
		return lines
	}
	got := begin([]Container{
		{"lxc", "goes-on"},
		{"lxc", "empty"},
		{"lxc", "gone"},
		{"lxc", "1"},
		{"tank", "101"},
		{"podman@1000", "u"},
		{"odd@1000", "u"},
		{"", "x"},
	}...)
	want := []string{
		"lxc:empty running stopped resync", "lxc:goes-on - running resync", "lxc:gone running stopped resync",
		"lxc:new - running resync", "podman@1000:u running stopped resync",
	}
	if !slices.Equal(got, want) {
		t.Errorf("changes\n%q, want\n%q", got, want)
	}
	s.stop()
	awaitEvents(t, filepath.Join(root, "lxc.payload.goes-on"), "populated 0")
	l.mu.Lock()
	for !l.groups[Container{"lxc", "goes-on"}].cgroups[0].empty() {
		l.readWatches(l.system) // as Owner does
	}
	l.mu.Unlock()
	l.run()
	l.wants("lxc:goes-on running stopped")
	l.ends(root)

	l.mu.Lock()
	l.usageOf(1000).limited = true
	l.mu.Unlock()
	if got := begin(Container{"podman@1000", "u"}, Container{"podman@1001", "u"}); !slices.Contains(got, "podman@1001:u running stopped resync") || slices.Contains(got, "podman@1000:u running stopped resync") {
		t.Errorf("with a user at the limit: %q", got)
	}
	l.mu.Lock()
	delete(l.perUser, 1000)
	l.setMissing(missingLimit, "containers")
	l.mu.Unlock()
	if got := begin(Container{"lxc", "gone"}); slices.Contains(got, "lxc:gone running stopped resync") {
		t.Errorf("with the system at the limit: %q", got)
	}
	blind := trackerIn(t, nstest.New(t), Config{Cgroup: t.TempDir()})
	if got := blind.Begin(running(Container{"lxc", "gone"})); len(got) != 0 {
		t.Errorf("without cgroups: %v", got)
	}
}

// TestEndBeforeRun expects Run to report a container that ended after Begin.
func TestEndBeforeRun(t *testing.T) {
	root := cgroupRoot(t)
	dir := filepath.Join(root, "lxc.payload.web")
	s := sleepIn(t, dir)
	l := &listener{Tracker: trackerIn(t, nstest.New(t), Config{Cgroup: root}), t: t, states: make(chan StateChange, 10)}
	l.Begin(nil)
	s.stop()
	must(t, unix.Rmdir(dir))
	eventually(t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.readWatches(l.system) // as Owner does
		return len(l.containers) == 0
	})
	l.run()
	l.wants("lxc:web running stopped")
	l.mu.Lock()
	if len(l.groups) != 0 {
		t.Errorf("%d groups are left", len(l.groups))
	}
	l.mu.Unlock()
	l.ends(root)
}

// TestBeginWithoutName has a container whose name is not certain yet, and which was listed as frozen. Only
// containers that it may be are not reported as stopped, not each whose name begins its own. Once its name is certain, it is reported as running.
func TestBeginWithoutName(t *testing.T) {
	root := cgroupRoot(t)
	sleepIn(t, filepath.Join(root, "lxc.payload.web-1"))
	tracker := trackerIn(t, nstest.New(t), Config{Cgroup: root})
	for _, c := range tracker.containers {
		c.named = false
	}
	var got []string
	add := func(c StateChange) { got = append(got, describe(c)) }
	listed := running(Container{"lxc", "web"}, Container{"lxc", "we"}, Container{"lxc", "mail"})
	listed[Container{"lxc", "web-1"}] = Frozen
	for _, c := range tracker.Begin(listed) {
		add(c)
	}
	for _, c := range tracker.containers {
		c.named = true
	}
	tracker.onState = add
	tracker.notifyState(Container{"lxc", "web-1"})
	if want := []string{"lxc:mail running stopped resync", "lxc:we running stopped resync", "lxc:web-1 frozen running"}; !slices.Equal(got, want) {
		t.Errorf("reported %q, want %q", got, want)
	}
}
