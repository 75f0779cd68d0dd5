package boottest

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/netwatch/cttest"
)

const (
	service = "org.osctl.Eventd"
	object  = "/org/osctl/Eventd"
	unit    = "osctl-eventd.service"
)

// Users of a [system], beside root.
const (
	userUID     = 2001 // plain
	memberUID   = 2002 // a member of the group osctl-eventd
	reporterUID = 2003 // plain, named in an example
)

// system is a booted Debian with the package installed.
type system struct {
	*cttest.Machine
	t       *testing.T
	bus     *bustest.Bus
	busPID  string // of the process that passes the messages
	members uint32 // gid of the group osctl-eventd
}

// eachBus runs a test on a system with each of the two message buses.
func eachBus(t *testing.T, test func(t *testing.T, s *system)) {
	t.Helper()
	eachKind(t, func(t *testing.T, kind bustest.Kind) { test(t, install(t, kind)) })
}

// eachKind runs a test for each of the two message buses, beside others: they wait more
// than they compute.
func eachKind(t *testing.T, test func(t *testing.T, kind bustest.Kind)) {
	t.Helper()
	t.Parallel()
	for _, kind := range bustest.Kinds() {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			test(t, kind)
		})
	}
}

// boot boots a system without the package.
func boot(t *testing.T, kind bustest.Kind) *system {
	t.Helper()
	m := cttest.BootSystemd(t, cttest.MachineConfig{Broker: kind == bustest.Broker})
	s := &system{Machine: m, t: t, bus: bustest.Attach(t, kind, m.Path("/run/dbus"))}
	t.Cleanup(func() {
		if t.Failed() {
			journal, _ := m.Exec("journalctl", "--no-pager", "-o", "short-precise", "-n", "200")
			t.Logf("the system's journal:\n%s", journal)
		}
	})
	s.busPID = strings.TrimSpace(s.run("pidof", kind.String())) // fails where it is the other bus
	return s
}

// install boots a system, makes its users, and installs the first version.
func install(t *testing.T, kind bustest.Kind) *system {
	t.Helper()
	s := boot(t, kind)
	s.run("dpkg", "--install", s.copyIn(deb(t, firstVersion)))
	s.shell("useradd -u 2001 user; useradd -u 2002 -G osctl-eventd member; useradd -u 2003 reporter")
	s.members = s.number(strings.Split(s.run("getent", "group", "osctl-eventd"), ":")[2])
	return s
}

// copyIn copies a file into the system and returns its path there.
func (s *system) copyIn(file string) string {
	s.t.Helper()
	path, err := s.CopyIn(file)
	must(s.t, err)
	return path
}

// run runs a command in the system that must succeed, and returns what it printed.
func (s *system) run(name string, args ...string) string {
	s.t.Helper()
	out, err := s.Exec(name, args...)
	must(s.t, err)
	return out
}

// shell is run for lines of sh(1).
func (s *system) shell(lines string) {
	s.t.Helper()
	s.run("/bin/sh", "-ec", lines)
}

// show returns a property of the service's unit.
func (s *system) show(property string) string {
	s.t.Helper()
	return strings.TrimSpace(s.run("systemctl", "show", "--value", "--property="+property, unit))
}

// until waits until something is so.
func (s *system) until(what string, ok func() bool) {
	s.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(end) {
			s.t.Fatalf("not so within %v: %s", patience, what)
		}
	}
}

// awaitRestart waits until systemd has started the service again, whose process was
// the one given.
func (s *system) awaitRestart(pid string) {
	s.t.Helper()
	s.until("the service is restarted", func() bool {
		now := s.show("MainPID")
		return now != pid && now != "0" && s.show("ActiveState") == "active"
	})
}

// answers reports whether the service answers a call, which does not start it.
func (s *system) answers() bool {
	_, err := s.Exec("busctl", "--timeout=1", "--auto-start=no", "call", service, object, "org.freedesktop.DBus.Peer", "Ping")
	return err == nil
}

// client connects to the system bus as a user.
func (s *system) client(uid uint32) *bustest.Client {
	s.t.Helper()
	groups := []uint32{}
	if uid == memberUID {
		groups = append(groups, s.members)
	}
	return s.bus.ClientAs(s.t, uid, bustest.WithGroups(uid, groups...))
}

// dial connects to the system bus by the library. Who calls it closes it. A busy machine gets
// another try: the library gives up after a few seconds.
func (s *system) dial() *client.Client {
	s.t.Helper()
	var c *client.Client
	s.until("a client connects", func() bool {
		var err error
		c, err = client.Dial(s.t.Context(), s.bus.Address())
		return err == nil
	})
	return c
}

// bounded is a context for one thing that must come.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// number reads a number that a command printed.
func (s *system) number(text string) uint32 {
	s.t.Helper()
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32)
	must(s.t, err)
	return uint32(n)
}
