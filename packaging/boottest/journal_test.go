package boottest

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/osctl/eventd/dbusapi/bustest"
)

// useJournal has the service write events to the journal, as the example says.
func (s *system) useJournal() {
	s.t.Helper()
	s.shell(`cd /usr/share/doc/osctl-eventd/examples
		install -D -m 644 journal.conf /etc/systemd/system/osctl-eventd.service.d/journal.conf
		systemctl daemon-reload && systemctl restart osctl-eventd`)
}

// TestJournal wants events in the real journal, from the service as its unit confines
// it: ordinary ones, one that does not fit into a datagram, and what they mean.
func TestJournal(t *testing.T) {
	eachBus(t, func(t *testing.T, s *system) {
		s.useJournal()
		s.run("osctl-eventctl", "report", "ct_netif", "pool=tank", "id=101", "action=add", "name=eth0\nPRIORITY=0", "veth=ct-101")
		// In JSON each of these takes six bytes.
		s.run("osctl-eventctl", "report", "long", "id=102", "text="+strings.Repeat("\x01", 60_000))
		s.run("systemctl", "stop", unit) // which writes all

		var entries []map[string]any
		for line := range strings.Lines(s.journal("-o", "json", "--all", "OSCTL_POOL=tank", "+", "OSCTL_ID=102")) {
			entry := map[string]any{}
			must(t, json.Unmarshal([]byte(line), &entry))
			entries = append(entries, entry)
		}
		if len(entries) != 2 {
			t.Fatalf("%d entries, want 2: %v", len(entries), entries)
		}
		for name, want := range map[string]string{
			"OSCTL_TYPE": "ct_netif", "OSCTL_ACTION": "add", "OSCTL_POOL": "tank", "OSCTL_ID": "101", "OSCTL_VETH": "ct-101",
			"OSCTL_NAME": "eth0\nPRIORITY=0", "PRIORITY": "6", "SYSLOG_IDENTIFIER": "osctl-eventd", "_SYSTEMD_UNIT": unit,
		} {
			if entries[0][name] != want {
				t.Errorf("%s is %q, want %q", name, entries[0][name], want)
			}
		}
		if opts, _ := entries[1]["OSCTL_OPTS"].(string); len(opts) < 6*60_000 {
			t.Errorf("OSCTL_OPTS of the long event has %d bytes", len(opts))
		}
		id, _ := entries[0]["MESSAGE_ID"].(string)
		if out := s.journal("-x", "MESSAGE_ID="+id, "OSCTL_POOL=tank"); !strings.Contains(out, "An event of type ct_netif") {
			t.Errorf("journalctl -x does not explain it:\n%s", out)
		}
	})
}

// TestJournalKilled wants everything that was answered to be in the journal, also when
// the service is killed while journald has not taken it all.
func TestJournalKilled(t *testing.T) {
	t.Parallel()
	s := install(t, bustest.Daemon)
	s.useJournal()
	l := s.startLoad()
	queue := s.number(s.run("cat", "/proc/sys/net/unix/max_dgram_qlen"))
	journald := strings.TrimSpace(s.run("pidof", "systemd-journald"))
	for range 3 {
		s.run("kill", "-STOP", journald)
		for range 2 + queue/100 { // more than there is room for
			s.awaitMoreEvents()
		}
		pid := s.show("MainPID")
		s.run("systemctl", "kill", "--signal=KILL", unit)
		s.run("kill", "-CONT", journald)
		s.awaitRestart(pid)
	}
	s.awaitMoreEvents()
	l.end()
	s.run("systemctl", "stop", unit)
	inJournal := map[string]bool{}
	for line := range strings.Lines(s.journal("-o", "cat", "--output-fields=OSCTL_SEQ", "OSCTL_TYPE=load")) {
		inJournal[strings.TrimSpace(line)] = true
	}
	for n, seq := range l.answered {
		if !inJournal[strconv.FormatUint(seq, 10)] {
			t.Errorf("event %d of the load, number %d, is not in the journal", n, seq)
		}
	}
	t.Logf("%d events answered, %d in the journal", len(l.answered), len(inJournal))
}
