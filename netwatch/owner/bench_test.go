package owner

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/osctl/eventd/netwatch/nstest"
)

// hostOf starts containers with processes in each, in a namespace of a host.
func hostOf(b testing.TB, containers, processes int, path func(int) string) (ns *nstest.NS, root string, nsids []int32) {
	b.Helper()
	ns, root = nstest.New(b), cgroupRoot(b)
	script := strings.Repeat("sleep 300 & ", processes-1) + "exec sleep 300"
	for i := range containers {
		s := startIn(b, filepath.Join(root, path(i)), newNet|newPid, "sh", "-c", script)
		nsids = append(nsids, nsidOf(b, ns, s.pid()))
	}
	return ns, root, nsids
}

var layouts = map[string]func(int) string{
	"flat": func(i int) string { return fmt.Sprintf("lxc.payload.ct%d", i) },
	"osctl": func(i int) string {
		return fmt.Sprintf("osctl/pool.tank/group.default/user.%d/ct.%d/user-owned/lxc.payload.%d", i, i, i)
	},
}

// BenchmarkHost measures a host with 500 containers and 5,000 processes. Beside the
// time that passed it reports what the thread used of a processor, at the median:
// the other depends on what else the machine does.
func BenchmarkHost(b *testing.B) {
	containers, processes := 500, 10
	if s := os.Getenv("OWNER_CONTAINERS"); s != "" { // fewer, to try things out
		containers, _ = strconv.Atoi(s)
	}
	for _, name := range []string{"flat", "osctl"} {
		b.Run(name, func(b *testing.B) { benchmarkHost(b, containers, processes, layouts[name]) })
	}
}

// measure runs a benchmark's step, with what comes before and after it not counted. The
// processor time is that of this thread; others may have helped.
func measure(b *testing.B, before, step, after func()) {
	b.Helper()
	b.ReportAllocs()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var used, took []time.Duration
	for b.Loop() {
		b.StopTimer()
		before()
		b.StartTimer()
		start, cpu := time.Now(), threadTime()
		step()
		took, used = append(took, time.Since(start)), append(used, threadTime()-cpu)
		b.StopTimer()
		after()
		b.StartTimer()
	}
	for unit, all := range map[string][]time.Duration{"ns": took, "cpu-ns": used} {
		slices.Sort(all)
		b.ReportMetric(float64(all[len(all)/2].Nanoseconds()), unit+"/median")
		b.ReportMetric(float64(all[0].Nanoseconds()), unit+"/best")
	}
}

// nobody is an nsid that no namespace has.
const nobody = 1 << 20

func benchmarkHost(b *testing.B, containers, processes int, path func(int) string) {
	ns, root, nsids := hostOf(b, containers, processes, path)
	var f *Finder
	nothing := func() {}
	b.Run("cold", func(b *testing.B) {
		names := b.TempDir()
		measure(b, func() {
			var err error
			ns.Do(func() { f, err = New(Config{Cgroup: root, Netns: names}) })
			must(b, err)
		}, func() { f.Find(b.Context(), nobody) }, func() {
			if len(f.known) != containers {
				b.Fatalf("found %d of %d", len(f.known), containers)
			}
			must(b, f.Close()) // or the kernel has ever more watches of each cgroup to go over
		})
	})
	f = finderIn(b, ns, Config{Cgroup: root})
	f.Find(b.Context(), nobody)
	var nsid int32
	i := 0
	found := func() {
		if _, ok := f.Find(b.Context(), nsid); !ok {
			b.Fatal("not found")
		}
	}
	b.Run("known cgroup", func(b *testing.B) {
		measure(b, func() {
			i++
			nsid = nsids[i%len(nsids)]
			f.Forget(nsid)
			rested(f)
		}, found, nothing)
	})
	b.Run("new cgroup", func(b *testing.B) {
		var s sleeper
		measure(b, func() {
			i++
			s = sleepIn(b, filepath.Join(root, path(containers+i)))
			nsid = nsidOf(b, ns, s.pid())
			f.Forget(nsid)
			rested(f)
		}, found, func() { s.stop() })
	})
	b.Run("foreign", func(b *testing.B) {
		measure(b, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.looks.next, f.looks.broke, f.walks.next, f.scans.next = time.Time{}, time.Time{}, time.Time{}, time.Now().Add(time.Hour)
		}, func() { f.Find(b.Context(), nobody) }, nothing)
	})
	b.Run("all processes", func(b *testing.B) {
		measure(b, nothing, func() { f.walkProcesses(b.Context(), nobody) }, nothing)
	})
	b.Run("in the map", func(b *testing.B) {
		for b.Loop() {
			f.lookUp(nsids[0])
		}
	})
}
