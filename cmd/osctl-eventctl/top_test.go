package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/osctl/eventd/cmd/internal/daemontest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/netwatch/nstest"
)

// TestTop follows real veths and a restart of the service, and checks that an idle screen sends little.
func TestTop(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	host := nstest.New(t)
	d := daemontest.Start(t, programs, host, bus.Address(), nil)
	client := d.Client(t)
	here, peer := bind(t, host, client, "veth101", "tank", "101", "eth0")
	report(t, client, 1, "state", "pool", "tank", "id", "101", "state", "running")
	s := onScreen(t, bus, 80, 24, "top")
	s.untilText(t, "tank:101   running  eth0     down")
	s.untilText(t, "state running") // from before
	sent := int64(0)
	for range 3 { // on a busy machine the end of a picture, or a late event, may come in the first seconds
		before, began := s.written.Load(), time.Now()
		s.until(t, "a few seconds", func([]string) bool { return time.Since(began) > 3*time.Second })
		if sent = s.written.Load() - before; sent <= 1000 {
			break
		}
	}
	if sent > 1000 {
		t.Errorf("%d bytes were sent while nothing happened", sent)
	}
	for _, end := range []int{here, peer} {
		if err := host.Up(end); err != nil {
			t.Fatal(err)
		}
	}
	s.until(t, "it is up", func(lines []string) bool {
		all := strings.Join(lines, "\n")
		return strings.Contains(all, "tank:101   running  eth0     up") && strings.Contains(all, "ct_netif up")
	})
	s.keys(t, "/tank:101\r\r")
	s.untilText(t, "Events of tank:101")
	s.until(t, "its history", func(lines []string) bool {
		return strings.Contains(strings.Split(strings.Join(lines, "\n"), "Events of")[1], "state running")
	})
	d.Kill()
	s.untilText(t, "osctl-eventd went away")
	daemontest.Start(t, programs, host, bus.Address(), nil)
	s.untilText(t, "· live ·")
	s.untilText(t, "the service began a new history")
	s.keys(t, "q")
	if code := s.wait(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
}

// TestTopNeedsTerminal checks the message in a pipe.
func TestTopNeedsTerminal(t *testing.T) {
	bus, _ := startService(t)
	if r := ctl(t, bus.Env(), "top"); r.code != 1 || !strings.Contains(r.stderr, "top needs a terminal") {
		t.Errorf("%+v", r)
	}
	if r := ctl(t, bus.Env(), "top", "tank:101"); r.code != 1 || !strings.Contains(r.stderr, fmt.Sprintf("argument %q", "tank:101")) {
		t.Errorf("%+v", r)
	}
}
