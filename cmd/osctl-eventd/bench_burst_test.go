package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/cttest"
)

// BenchmarkBurst starts 1,000 containers in a row. Each is what the watcher looks at: a process
// in a cgroup that is the init of a pid namespace, in a network namespace with a veth that is up
// on both ends. The benchmark reports the CPU time of the daemon until all are announced, and of
// `ip monitor link` until all are printed. An op is the whole burst.
func BenchmarkBurst(b *testing.B) {
	for name, cgroup := range map[string]func(id string) string{
		"flat":  func(id string) string { return "/lxc.payload." + id },
		"osctl": func(id string) string { return osctlCgroup(id) },
	} {
		b.Run(name, func(b *testing.B) {
			var daemon, ip time.Duration
			for b.Loop() {
				d, i := startBurst(b, 1000, cgroup)
				daemon, ip = daemon+d, ip+i
			}
			b.ReportMetric(float64(daemon.Milliseconds())/float64(b.N), "daemon-ms")
			b.ReportMetric(float64(ip.Milliseconds())/float64(b.N), "ip-monitor-ms")
			b.ReportMetric(daemon.Seconds()/ip.Seconds(), "daemon/ip-monitor")
		})
	}
}

// osctlCgroup returns the cgroup in which osctld runs a container.
func osctlCgroup(id string) string {
	return fmt.Sprintf("/osctl/pool.tank/group.default/user.%s/ct.%[1]s/user-owned/lxc.payload.%[1]s", id)
}

// startBurst starts containers and returns the CPU time that the daemon and ip used.
func startBurst(b *testing.B, containers int, cgroup func(id string) string) (daemon, ip time.Duration) {
	b.Helper()
	b.StopTimer()
	defer b.StartTimer()
	h := cttest.NewHost(b)
	d := startWith(b, h)
	monitor := monitorLinks(b, h)
	daemon, ip = -processorTime(b, d.Cmd.Process.Pid), -processorTime(b, monitor.cmd.Process.Pid)

	b.StartTimer()
	ids := make(chan string)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for id := range ids {
				startProcess(b, h, cgroup(id), syscall.CLONE_NEWNET|syscall.CLONE_NEWPID, "sleep", "infinity").addVeth(b, h.NS(), "v"+id)
			}
		})
	}
	for n := range containers {
		ids <- strconv.Itoa(1000 + n)
	}
	close(ids)
	wg.Wait()
	events := collect(b, d.Client(b), typeFilter(b, hub.TypeNetif), containers)
	b.StopTimer()
	monitor.await(b, fmt.Sprintf("v%d@", 1000+containers-1), func() {})
	daemon += processorTime(b, d.Cmd.Process.Pid)
	ip += processorTime(b, monitor.cmd.Process.Pid)
	for _, e := range events {
		if e.Action != "up" || "v"+e.ID != e.Options.Text("veth") {
			b.Fatalf("unexpected event: %s", formatFull(e))
		}
	}
	return daemon, ip
}

// processorTime returns the CPU time that all threads of a process have used.
func processorTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	must(b, err)
	var total time.Duration
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		must(b, err)
		used, _, _ := strings.Cut(string(text), " ")
		ns, err := strconv.ParseInt(used, 10, 64)
		must(b, err)
		total += time.Duration(ns)
	}
	return total
}
