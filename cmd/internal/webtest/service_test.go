package webtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/osctl/eventd/dbusapi/bustest"
)

// TestRestart checks that the page survives restarts of the service without losing kept events.
func TestRestart(t *testing.T) {
	s := newScene(t, bustest.PolicyOpen)
	dir := t.TempDir()
	s.start("--state-dir", dir)
	s.report("probe", "pool", "tank")
	before := s.epoch()
	b := s.open("")
	b.until("the event", names("events")+` === "1"`)
	b.until("durable", `document.querySelector("#chips").textContent === "livedurable"`)
	s.daemon.Kill()
	b.state("stopped")
	b.until("what to do", `document.querySelector("#empty").textContent.includes("is not")`)
	b.until("nothing about its log", `document.querySelector("#chips").textContent === "stopped"`)
	s.start("--state-dir", dir)
	b.state("live")
	s.report("probe", "pool", "tank")
	b.until("the next event", names("events")+` === "2 1"`)

	s.daemon.Kill()
	s.start() // in memory: another epoch
	b.state("live")
	b.until("in memory", `document.querySelector("#chips").textContent === "livein memory only"`)
	s.report("probe", "pool", "tank")
	b.until("a new history", names("events")+` === "1 g1 2 1"`)
	b.until("it says so", `document.querySelector("#events .gap").textContent.includes("new history")`)

	for row, epoch := range map[int]string{5: before, 2: s.epoch()} {
		b.click(fmt.Sprintf(`#events [aria-rowindex="%d"]`, row))
		b.until("the details of an event 1", fmt.Sprintf(`[...document.querySelectorAll("#details dd")].some(dd => dd.textContent === "%s:1")`, epoch))
	}
	b.run(chromedp.Evaluate(`location.hash = "#/?pool=tank"`, nil))
	b.until("what is kept of the pool", names("events")+` === "1"`)
	s.report("probe", "pool", "tank")
	b.until("and what comes", names("events")+` === "2 1"`)
}

// epoch returns the epoch of the service.
func (s *scene) epoch() string {
	status, err := s.client.Properties(s.t.Context())
	must(s.t, err)
	return status.Text("Epoch")
}

// TestBusGone checks that the page reports a missing bus, and works with the next one.
func TestBusGone(t *testing.T) {
	s := startScene(t)
	s.report("probe", "n", "1")
	b := s.open("")
	b.state("live")
	s.bus.Kill()
	b.until("what to do", `document.querySelector("#empty h2")?.textContent === "The system bus is gone"`)
	s.bus.Restart(t)
	s.daemon.WaitForService(t)
	next := s.open("")
	next.until("the event that was kept meanwhile", names("events")+` === "1"`)
}

// TestNeverStarts checks that the page never starts a stopped service, neither when it is opened nor
// when the service stops later.
func TestNeverStarts(t *testing.T) {
	dir := t.TempDir()
	started := filepath.Join(dir, "started")
	service := fmt.Sprintf("[D-BUS Service]\nName=org.osctl.Eventd\nExec=/usr/bin/touch %s\nUser=root\n", started)
	must(t, os.WriteFile(filepath.Join(dir, "org.osctl.Eventd.service"), []byte(service), 0o600))
	s := newScene(t, fmt.Sprintf("<busconfig><servicedir>%s</servicedir>%s</busconfig>", dir, bustest.PolicyOpen))
	b := s.open("")
	b.state("stopped")
	b.until("what to do", `document.querySelector("#empty h2").textContent === "osctl-eventd is not running"`)
	s.start()
	b.state("live")
	s.report("probe", "n", "1")
	b.until("the event", names("events")+` === "1"`)
	must(t, s.daemon.Cmd.Process.Signal(syscall.SIGTERM))
	s.daemon.Wait(t)
	b.state("stopped")
	b.until("some more refreshes", fmt.Sprintf("performance.now() > %s", b.text("performance.now() + 5000")))
	if _, err := os.Stat(started); err == nil {
		t.Error("the page had the bus start the service")
	}
}

// policyFor returns the installed bus policy, with a group that exists on this machine.
func policyFor(t *testing.T, group string) string {
	t.Helper()
	policy, err := os.ReadFile("../../../packaging/dbus/org.osctl.Eventd.conf")
	must(t, err)
	return strings.NewReplacer(`group="osctl-eventd"`, fmt.Sprintf("group=%q", group), `user="osctl-eventd"`, `user="root"`).Replace(string(policy))
}

// TestRights checks that the page tells a user without rights what to do, and shows a member of the
// group everything.
func TestRights(t *testing.T) {
	const games = 60 // the gid of a group that every Debian has
	s := newScene(t, policyFor(t, "games"))
	s.start()
	s.report("state", "pool", "tank", "id", "101", "state", "running")
	nobody := openPage(t, startCockpit(t, s.bus.Address(), user{uid: bustest.NobodyUID}), "", look{})
	nobody.state("no access")
	nobody.until("what to do", `document.querySelector("#empty code").textContent === "usermod -aG osctl-eventd nobody"`)
	nobody.until("what everybody may know", `document.querySelector("#chips").textContent === "no accessin memory only"`)
	nobody.shot("no-access")
	member := openPage(t, startCockpit(t, s.bus.Address(), user{uid: bustest.NobodyUID, groups: []int{games}}), "#/?tab=containers", look{})
	member.state("live")
	member.row("containers", "tank:101", "tank:101", "running")
	member.until("the event", names("events")+` === "1"`)
}

// TestHung checks that the page reports a hung service, and continues when it answers again.
func TestHung(t *testing.T) {
	s := startScene(t)
	s.report("probe", "n", "1")
	b := s.open("")
	b.until("the event", names("events")+` === "1"`)
	must(t, s.daemon.Cmd.Process.Signal(syscall.SIGSTOP))
	b.state("no answer")
	must(t, s.daemon.Cmd.Process.Signal(syscall.SIGCONT))
	b.state("live")
	s.report("probe", "n", "2")
	b.until("the next event", names("events")+` === "2 1"`)
}
