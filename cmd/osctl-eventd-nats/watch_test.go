package main

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/osctl/eventd/cmd/internal/daemontest"
	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleettest"
	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/nstest"
)

// startWatch starts watch at the oldest event, unless args say otherwise.
func startWatch(t *testing.T, server *fleettest.Server, args ...string) *process {
	t.Helper()
	return launch(t, nil, append([]string{"watch", "--server", server.URL, "--since", "oldest"}, args...)...)
}

// awaitNotice waits until a process has printed a text on stderr.
func (p *process) awaitNotice(t *testing.T, text string) {
	t.Helper()
	apitest.Eventually(t, text+" is printed", func() bool { return strings.Contains(p.Err.String(), text) })
}

// interrupt sends SIGINT, and returns the exit status.
func (p *process) interrupt(t *testing.T) int {
	t.Helper()
	p.Signal(t, syscall.SIGINT)
	return p.Wait(t)
}

// watched is an event as watch --json prints it.
type watched struct {
	Host, Type, Reason, Cursor string
	Seq, Lost                  uint64
}

// events returns the events that a process printed as JSON, without a line that a kill cut off.
func (p *process) events(t *testing.T) (all []watched) {
	t.Helper()
	for line := range strings.Lines(p.Out.String()) {
		var e watched
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			if strings.HasSuffix(line, "\n") {
				t.Fatalf("%s: %v", line, err)
			}
			break
		}
		all = append(all, e)
	}
	return all
}

// numbers returns HOST:NUMBER of each event, and TYPE:REASON:LOST of each gap.
func numbers(all []watched) string {
	var texts []string
	for _, e := range all {
		if e.Type[0] == '_' {
			e.Host, e.Seq = e.Type+":"+e.Reason, e.Lost
		}
		texts = append(texts, fmt.Sprint(e.Host, ":", e.Seq))
	}
	return strings.Join(texts, " ")
}

// kernelHost is a host in a network namespace, with the interface of a container.
type kernelHost struct {
	*daemontest.Daemon

	ns   *nstest.NS
	link int
	up   bool
	n    uint64 // events so far
}

func newKernelHost(t testing.TB) *kernelHost {
	t.Helper()
	h := &kernelHost{ns: nstest.New(t)}
	h.Daemon = daemontest.Start(t, programs, h.ns, "", nil)
	inside := nstest.New(t)
	var err error
	if h.link, err = h.ns.Pair("veth7", "eth0", inside); err != nil {
		t.Fatal(err)
	}
	peer, err := inside.Index("eth0")
	if err == nil {
		err = inside.Up(peer)
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// flip sets the interface up or down. Each change is an event.
func (h *kernelHost) flip(t testing.TB, times int) {
	t.Helper()
	c := h.Client(t)
	for range times {
		change := h.ns.Up
		if h.up {
			change = h.ns.Down
		}
		if err := change(h.link); err != nil {
			t.Fatal(err)
		}
		h.up = !h.up
		h.n++
		apitest.Eventually(t, "the event is there", func() bool {
			p, err := c.Properties(t.Context())
			last, _ := p.Get("LastSequence")
			return err == nil && last.Uint() == h.n
		})
	}
}

// monitored returns the lines of osctl-eventctl events.
func (h *kernelHost) monitored(t *testing.T) (lines []string) {
	t.Helper()
	out, err := exec.Command(filepath.Join(programs, "osctl-eventctl"), "--bus", h.Address, "events").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

// TestWatchTwoHosts checks that watch shows the same lines as monitor on two hosts. One host is cut off for a
// while: its events come late, and none is missing.
func TestWatchTwoHosts(t *testing.T) {
	server := fleettest.StartServer(t, "")
	server.MakeStream(t, nil)
	proxy := fleettest.StartProxy(t, server)
	a, b := newKernelHost(t), newKernelHost(t)
	launch(t, nil, bridge(t, server, a.Address)...)
	launch(t, nil, bridge(t, server, b.Address, "--host", "n2", "--server", proxy.URL)...)
	p := startWatch(t, server)
	a.flip(t, 2)
	b.flip(t, 2)
	apitest.Eventually(t, "both hosts are seen", func() bool { return strings.Count(p.Out.String(), "\n") == 4 })
	if line := regexp.MustCompile(`(?m)^node1  [0-9:.]+  ct_netif up        -               eth0 \(veth7 on the host\)$`); !line.MatchString(p.Out.String()) {
		t.Errorf("no line %s in\n%s", line, &p.Out)
	}
	proxy.Cut()
	b.flip(t, 6)
	a.flip(t, 4)
	wantA, cutOff := a.monitored(t), b.monitored(t)
	apitest.Eventually(t, "the other host is seen", func() bool { return strings.Count(p.Out.String(), "node1 ") == len(wantA) })
	if n := strings.Count(p.Out.String(), "n2 "); n != 2 {
		t.Errorf("%d events of the host that is cut off:\n%s", n, &p.Out)
	}
	proxy.Mend()
	apitest.Eventually(t, "the host is seen again", func() bool { return strings.Count(p.Out.String(), "n2 ") == len(cutOff) })
	got := map[string][]string{}
	for line := range strings.Lines(p.Out.String()) {
		host, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		got[host] = append(got[host], strings.TrimLeft(rest, " "))
	}
	if !slices.Equal(got["node1"], wantA) || !slices.Equal(got["n2"], cutOff) {
		t.Errorf("watch shows\n%s\nmonitor shows\n%s\nand\n%s", &p.Out, strings.Join(wantA, "\n"), strings.Join(cutOff, "\n"))
	}
	if status := p.interrupt(t); status != 0 || p.Err.String() != "" {
		t.Errorf("exit status %d: %s", status, &p.Err)
	}
}

// TestWatchKilled kills watch and the server at any instant. With a cursor file no event is skipped, and only
// events that a killed run had printed come again.
func TestWatchKilled(t *testing.T) {
	e, server := fleettest.StartEventd(t, 1_000_000), fleettest.StartServer(t, "")
	stream := server.MakeStream(t, nil)
	launch(t, nil, bridge(t, server, e.Bus.Address())...)
	args := []string{"--json", "--cursor-file", filepath.Join(t.TempDir(), "cursor")}
	stop := produce(t, e)
	seen, last := uint64(0), uint64(0) // the highest number and the last one
	check := func(p *process) {
		t.Helper()
		for _, event := range p.events(t) {
			if event.Seq > seen+1 || event.Seq != last+1 && last != 0 && event.Seq > seen {
				t.Fatalf("event %d comes after %d, the highest one was %d", event.Seq, last, seen)
			}
			last, seen = event.Seq, max(seen, event.Seq)
		}
	}
	for i := range daemontest.Kills(t, 10) {
		p := startWatch(t, server, args...)
		instant(t)
		instant(t)
		if i%5 == 4 {
			server.Kill()
			server.Start(t)
			instant(t)
		}
		p.Kill()
		check(p)
	}
	cursor, n := stop()
	fleettest.AwaitCursor(t, stream, host, cursor)
	p := startWatch(t, server, append(args, "--no-follow")...)
	if status := p.Wait(t); status != 0 {
		t.Errorf("the last run has exit status %d, %s", status, &p.Err)
	}
	check(p)
	if seen != uint64(n) {
		t.Errorf("the last event is %d of %d", seen, n)
	}
}

// TestWatchFiniteBusy runs watch --no-follow while events come: it prints all events up to the newest one at
// its start, and keeps that position.
func TestWatchFiniteBusy(t *testing.T) {
	e, server := fleettest.StartEventd(t, 1_000_000), fleettest.StartServer(t, "")
	stream := server.MakeStream(t, nil)
	launch(t, nil, bridge(t, server, e.Bus.Address())...)
	produce(t, e)
	file, seen := filepath.Join(t.TempDir(), "cursor"), uint64(0)
	for range 3 {
		apitest.Eventually(t, "the stream moves", func() bool {
			_, at, _ := hub.ParseCursor(fleettest.Cursor(t.Context(), stream, host))
			return at > seen+100
		})
		_, newest, err := hub.ParseCursor(fleettest.Cursor(t.Context(), stream, host))
		if err != nil {
			t.Fatal(err)
		}
		p := startWatch(t, server, "--json", "--no-follow", "--cursor-file", file)
		if status := p.Wait(t); status != 0 {
			t.Fatalf("exit status %d: %s", status, &p.Err)
		}
		for _, event := range p.events(t) {
			if event.Seq != seen+1 {
				t.Fatalf("event %d comes after %d", event.Seq, seen)
			}
			seen = event.Seq
		}
		if seen < newest {
			t.Fatalf("the last event is %d, though the stream had %d", seen, newest)
		}
	}
}

// TestWatchAnew recreates the stream during a watch.
func TestWatchAnew(t *testing.T) {
	e, server := fleettest.StartEventd(t, 100), fleettest.StartServer(t, "")
	stream := server.MakeStream(t, nil)
	launch(t, nil, bridge(t, server, e.Bus.Address(), "--alive", "1s")...)
	for range 10 {
		fleettest.AwaitCursor(t, stream, host, e.Commit(t, 1))
	}
	p := startWatch(t, server, "--json", "--cursor-file", filepath.Join(t.TempDir(), "cursor"))
	apitest.Eventually(t, "the events are seen", func() bool { return len(p.events(t)) == 10 })
	stream = server.RemakeStream(t)
	fleettest.AwaitCursor(t, stream, host, e.Commit(t, 1))
	p.awaitNotice(t, "the stream was recreated")
	apitest.Eventually(t, "the next event is seen", func() bool { return strings.HasSuffix(numbers(p.events(t)), "node1:10 node1:11") })
	if status := p.interrupt(t); status != exitLost {
		t.Errorf("exit status %d, want %d: %s", status, exitLost, &p.Err)
	}
}
