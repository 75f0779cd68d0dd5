package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/netwatch/nstest"
)

// BenchmarkLatency measures the time from setting one end of a veth up until a client on the bus
// receives the signal for the other end. It compares that with a bare netlink socket. An op is
// one up and one down.
func BenchmarkLatency(b *testing.B) {
	for _, kind := range bustest.Kinds() {
		b.Run(kind.String(), func(b *testing.B) {
			bus := bustest.Start(b, kind, bustest.PolicyOpen)
			ns := nstest.New(b)
			startDaemon(b, ns, bus.Address(), nil)
			client := bus.ClientAs(b, 0)
			rule := (&bustest.Body{}).String("type='signal',sender='org.osctl.Eventd',arg0='ct_netif'")
			_, err := client.CallDriver(b.Context(), "AddMatch", "s", rule)
			must(b, err)
			bare := bareSocket(b, ns)

			signals := signalTimes(b, client)
			var ours, kernels []time.Duration
			b.ResetTimer()
			var va, vb int
			for i := range b.N {
				if i%4 == 0 { // a new pair, because an interface has a budget of events
					b.StopTimer()
					va, vb = newPair(b, ns)
					b.StartTimer()
				}
				heard := make(chan time.Time, 1)
				go func() { heard <- awaitUp(bare, va) }()
				start := time.Now()
				must(b, ns.Up(vb))
				kernels = append(kernels, (<-heard).Sub(start))
				<-signals // the first of both ends
				ours = append(ours, (<-signals).Sub(start))
				must(b, ns.Down(vb))
				<-signals
				<-signals
			}
			b.StopTimer()
			signal, kernel := median(ours), median(kernels)
			b.ReportMetric(float64(signal.Microseconds()), "signal-µs")
			b.ReportMetric(float64(kernel.Microseconds()), "netlink-µs")
			b.ReportMetric(float64((signal - kernel).Microseconds()), "more-µs")
		})
	}
}

// newPair replaces the last pair by a new one whose first end is up.
func newPair(b *testing.B, ns *nstest.NS) (va, vb int) {
	b.Helper()
	if old, err := ns.Index("va"); err == nil {
		must(b, ns.Delete(old))
	}
	va, err := ns.Pair("va", "vb", nil)
	must(b, err)
	vb, err = ns.Index("vb")
	must(b, err)
	must(b, ns.Up(va))
	return va, vb
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// signalTimes sends the time of each Event signal that client receives.
func signalTimes(b *testing.B, client *bustest.Client) <-chan time.Time {
	b.Helper()
	times := make(chan time.Time, 1024)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			m, err := client.Receive(ctx)
			if err != nil {
				return
			}
			if m.Member == "Event" {
				times <- time.Now()
			}
		}
	}()
	b.Cleanup(func() {
		cancel()
		<-done
	})
	return times
}

// bareSocket opens a netlink socket in ns that receives link messages.
func bareSocket(b *testing.B, ns *nstest.NS) int {
	b.Helper()
	fd := -1
	var err error
	ns.Do(func() {
		if fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE); err == nil {
			err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.RTNLGRP_LINK - 1)})
		}
	})
	must(b, err)
	b.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// awaitUp waits until the socket receives that a link has carrier. It returns the time, zero on
// an error.
func awaitUp(fd, ifindex int) time.Time {
	buf := make([]byte, 64<<10)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		now := time.Now()
		if err != nil || n < unix.SizeofNlMsghdr {
			return time.Time{}
		}
		link, err := netlink.LinkDeserialize(nil, buf[unix.SizeofNlMsghdr:n])
		if err == nil && link.Attrs().Index == ifindex && link.Attrs().RawFlags&unix.IFF_LOWER_UP != 0 {
			return now
		}
	}
}

// BenchmarkIdle reports the resident memory of an idle daemon and the wake-ups of its threads a
// second. An op is 100 ms.
func BenchmarkIdle(b *testing.B) {
	ns := nstest.New(b)
	bus := bustest.Start(b, bustest.Daemon, bustest.PolicyOpen)
	d := startDaemon(b, ns, bus.Address(), nil)
	pid := d.Cmd.Process.Pid
	time.Sleep(2 * time.Second) // let the work of the start finish
	before := wakeups(b, pid)
	b.ResetTimer()
	start := time.Now()
	time.Sleep(time.Duration(b.N) * 100 * time.Millisecond)
	b.StopTimer()
	b.ReportMetric(float64(wakeups(b, pid)-before)/time.Since(start).Seconds(), "wakeups/s")
	b.ReportMetric(float64(statusField(b, filepath.Join("/proc", strconv.Itoa(pid), "status"), "VmRSS"))/1024, "RSS-MiB")
}

// wakeups returns the number of voluntary context switches of all threads of a process.
func wakeups(b *testing.B, pid int) int {
	b.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	must(b, err)
	n := 0
	for _, task := range tasks {
		n += statusField(b, task, "voluntary_ctxt_switches")
	}
	return n
}

// statusField returns a number from a status file in /proc.
func statusField(b *testing.B, file, field string) int {
	b.Helper()
	status, err := os.ReadFile(file)
	must(b, err)
	m := regexp.MustCompile(`(?m)^` + field + `:\s+(\d+)`).FindSubmatch(status)
	if m == nil {
		b.Fatalf("%s has no %s", file, field)
	}
	n, err := strconv.Atoi(string(m[1]))
	must(b, err)
	return n
}
