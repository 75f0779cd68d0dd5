package boottest

import (
	"strings"
	"testing"
)

// TestUpgrade wants an upgrade under load to lose nothing and to repeat nothing for who
// follows, also when the follower is restarted meanwhile. Who reports is answered always.
func TestUpgrade(t *testing.T) {
	eachBus(t, func(t *testing.T, s *system) {
		l := s.startLoad()
		output := s.follow()
		s.awaitMoreEvents()
		s.run("dpkg", "--install", s.copyIn(deb(t, secondVersion)))
		s.awaitMoreEvents()
		s.run("systemctl", "stop", "follow")
		s.awaitMoreEvents()
		s.follow()
		s.awaitMoreEvents()
		l.checkFollowed(output)
		for _, err := range l.failed {
			t.Error("a report was neither taken nor refused:", err)
		}
		if out := s.run("osctl-eventctl", "status"); !strings.Contains(out, secondVersion) {
			t.Errorf("after the upgrade runs\n%s", out)
		}
	})
}
