package boottest

import (
	"strings"
	"testing"
)

// TestKilled wants a service that is killed to be there again at once, with all that was
// answered.
func TestKilled(t *testing.T) {
	eachBus(t, func(t *testing.T, s *system) {
		l := s.startLoad()
		output := s.follow()
		for range 3 {
			s.awaitMoreEvents()
			pid := s.show("MainPID")
			s.run("systemctl", "kill", "--signal=KILL", unit)
			s.awaitRestart(pid)
		}
		s.awaitMoreEvents()
		l.checkFollowed(output)
		if got := s.show("NRestarts"); got != "3" {
			t.Errorf("%s restarts, want 3", got)
		}
	})
}

// TestWatchdog wants a service that hangs to be restarted, and told of what happened
// meanwhile. A bus that hangs is no reason: the service leaves it and comes back.
func TestWatchdog(t *testing.T) {
	eachBus(t, func(t *testing.T, s *system) {
		s.shell(`mkdir -p /run/systemd/system/osctl-eventd.service.d
			printf '[Service]\nWatchdogSec=8s\n' >/run/systemd/system/osctl-eventd.service.d/watchdog.conf
			ip link add try0 type veth peer name try1; ip link set try0 up
			systemctl daemon-reload; systemctl restart osctl-eventd`)
		pid := s.show("MainPID")
		s.run("systemctl", "kill", "--signal=STOP", unit)
		s.run("ip", "link", "set", "try1", "up")
		s.awaitRestart(pid)
		if out := s.journal("-u", unit); !strings.Contains(out, "Watchdog timeout") {
			t.Errorf("it was not the watchdog:\n%s", out)
		}
		s.awaitEvent("up", "", "", "try1", "try0")

		pid = s.show("MainPID")
		s.run("kill", "-STOP", s.busPID)
		s.until("the service leaves a bus that hangs", func() bool { return s.journalHas(unit, "the bus does not answer") })
		for range 3 { // and systemd is told that all is well
			const told = "WatchdogTimestampMonotonic"
			before := s.show(told)
			s.until("the watchdog is told", func() bool { return s.show(told) != before })
		}
		s.run("kill", "-CONT", s.busPID)
		s.until("the service is back on the bus", s.answers)
		if now := s.show("MainPID"); now != pid {
			t.Errorf("a bus that hung made process %s of %s", now, pid)
		}
	})
}
