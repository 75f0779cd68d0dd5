package boottest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/osctl/eventd/dbusapi/bustest"
)

// TestActivation wants a call to start the service, and a restart of the bus to leave
// it running.
func TestActivation(t *testing.T) {
	eachBus(t, func(t *testing.T, s *system) {
		s.run("systemctl", "stop", unit)
		if out := s.run("busctl", "list", "--activatable", "--no-legend"); !strings.Contains(out, service+" ") {
			t.Errorf("the bus cannot activate it:\n%s", out)
		}
		c := s.client(memberUID)
		if _, err := c.Call(bounded(t), deeds()["ListInterfaces"]); err != nil {
			t.Error("a call while the service is stopped:", err)
		}
		s.until("the unit is active", func() bool { return s.show("ActiveState") == "active" })

		// Everybody may introspect, and so start it; who starts it may do no more than before.
		s.run("systemctl", "stop", unit)
		c = s.client(userUID)
		if _, err := c.Call(bounded(t), deeds()["ListInterfaces"]); bustest.ErrorName(err) != accessDenied {
			t.Errorf("a call without the right while it is stopped: %v", err)
		}
		if _, err := c.Call(bounded(t), deeds()["Introspect"]); err != nil {
			t.Errorf("Introspect while it is stopped: %v", err)
		}
		if _, err := c.Call(bounded(t), deeds()["ListInterfaces"]); bustest.ErrorName(err) != accessDenied {
			t.Errorf("a call without the right: %v", err)
		}

		// Neither who follows nor who asks how it is starts it.
		s.follow()
		s.until("somebody follows", func() bool { _, err := s.Exec("test", "-s", "/var/lib/cursor"); return err == nil })
		s.run("systemctl", "stop", unit)
		s.until("the follower notices", func() bool { return s.journalHas("follow", "osctl-eventd went away") })
		for range 5 {
			if out, err := s.Exec("osctl-eventctl", "status"); err == nil {
				t.Errorf("the status of a stopped service is\n%s", out)
			}
		}
		if got := s.show("ActiveState"); got != "inactive" {
			t.Errorf("after it was stopped the service is %s", got)
		}

		s.run("systemctl", "start", unit)
		s.until("the follower is back", func() bool { return s.journalHas("follow", "osctl-eventd is back") })
		pid := s.show("MainPID")
		s.run("systemctl", "restart", "dbus")
		s.until("the service is back on the new bus", s.answers)
		if now := s.show("MainPID"); now != pid {
			t.Errorf("the restart of the bus made process %s of %s", now, pid)
		}
	})
}

// journal returns what journalctl(1) prints once journald has taken all that was sent to it
// before: it may be behind.
func (s *system) journal(args ...string) string {
	s.t.Helper()
	s.run("journalctl", "--sync")
	return s.run("journalctl", append([]string{"--no-pager"}, args...)...)
}

// journalHas reports whether a unit printed a text.
func (s *system) journalHas(unit, text string) bool {
	s.t.Helper()
	return strings.Contains(s.journal("-u", unit), text)
}

// TestShutdown wants the service to stop in order, while the bus is still there.
func TestShutdown(t *testing.T) {
	eachBus(t, func(t *testing.T, s *system) {
		s.shell(`mkdir -p /run/systemd/system/osctl-eventd.service.d
			cat >/run/systemd/system/osctl-eventd.service.d/note.conf <<'X'
[Service]
ExecStopPost=+/bin/sh -c 'echo $SERVICE_RESULT $EXIT_STATUS $(systemctl is-active dbus.service) >/mnt/stopped'
X
			systemctl daemon-reload`)
		must(t, s.Stop())
		text, err := os.ReadFile(filepath.Join(s.Shared(), "stopped"))
		if got := strings.TrimSpace(string(text)); got != "success 0 active" {
			t.Errorf("it ended with %q, %v", got, err)
		}
	})
}
