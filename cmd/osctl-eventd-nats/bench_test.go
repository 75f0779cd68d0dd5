package main

import (
	"bufio"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/osctl/eventd/cmd/internal/daemontest"
	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleettest"
	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/netwatch/nstest"
)

// BenchmarkWatchLatency measures the time from setting a container's interface up on one of two hosts until
// watch prints it. Each host is a network namespace with a daemon and a bridge. An op is one interface, from
// its creation to its deletion.
func BenchmarkWatchLatency(b *testing.B) {
	server := fleettest.StartServer(b, "")
	server.MakeStream(b, nil)
	hosts := []*nstest.NS{nstest.New(b), nstest.New(b)}
	var daemons []*daemontest.Daemon
	for i, ns := range hosts {
		d := daemontest.Start(b, programs, ns, "", nil)
		daemons = append(daemons, d)
		launch(b, nil, bridge(b, server, d.Address, "--host", fmt.Sprint("node", i))...)
	}
	lines := watchLines(b, server)
	inside := nstest.New(b)
	var took []time.Duration
	for n := 0; b.Loop(); n++ {
		ns, veth := hosts[n%2], fmt.Sprint("veth", n)
		link, err := ns.Pair(veth, fmt.Sprint("eth", n), inside)
		if err != nil {
			b.Fatal(err)
		}
		peer, err := inside.Index(fmt.Sprint("eth", n))
		if err == nil {
			err = inside.Up(peer)
		}
		if err == nil { // report the owner, as its manager does
			options := apitest.Options("pool", "tank", "id", fmt.Sprint(n), "action", "add", "name", "eth0", "veth", veth)
			_, err = daemons[n%2].Client(b).Report(b.Context(), "ct_netif", options)
		}
		if err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		if err := ns.Up(link); err != nil {
			b.Fatal(err)
		}
		for {
			if l := apitest.Await(b, "the line", lines); strings.Contains(l.text, `"`+veth+`"`) {
				took = append(took, l.at.Sub(start))
				break
			}
		}
		if err := ns.Delete(link); err != nil {
			b.Fatal(err)
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median-ms")
	b.ReportMetric(float64(took[len(took)*9/10].Microseconds())/1000, "p90-ms")
}

// timedLine is a line and the time when it was read.
type timedLine struct {
	text string
	at   time.Time
}

// watchLines returns the lines of watch for interfaces that come up.
func watchLines(b *testing.B, server *fleettest.Server) <-chan timedLine {
	b.Helper()
	cmd := exec.Command(program(), "watch", "--server", server.URL, "--since", "oldest", "--json", "--source", "netlink", "--action", "up")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	lines, done := make(chan timedLine, 1024), make(chan struct{})
	go func() {
		defer close(done)
		for read := bufio.NewScanner(out); read.Scan(); {
			lines <- timedLine{read.Text(), time.Now()}
		}
		_ = cmd.Wait()
	}()
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
	})
	return lines
}
