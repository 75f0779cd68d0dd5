package boottest

import (
	"slices"
	"strings"
	"testing"

	"github.com/osctl/eventd/dbusapi/bustest"
)

// footprint is what a package may leave traces in: files, users, units.
const footprint = `
	find / -xdev -not -path '/mnt*' -not -path '/proc/*' -not -path '/sys/*' -not -path '/run/*' -not -path '/tmp/*' \
		-not -path '/var/log/*' -not -path '/var/cache/*' -not -path '/var/lib/dpkg/*' -not -path '/var/lib/apt/*' \
		-not -path '/var/lib/systemd/catalog/database' -not -path '/root/*' | sort
	cut -d: -f1 /etc/passwd /etc/group /etc/shadow /etc/gshadow
	systemctl list-units --all --plain --no-legend 'osctl*' '*Eventd*'
	systemctl list-unit-files --no-legend 'osctl*' '*Eventd*'
	dpkg-query -W -f '${Package} ${db:Status-Status}\n' 'osctl*' 'cockpit-osctl*' 2>/dev/null || true
	journalctl --list-catalog 2>/dev/null
	busctl list --activatable --no-legend | grep -o '^org.osctl[^ ]*' || true
`

// ping are arguments of busctl(1) for a call that everybody may make.
const ping = "--timeout=1 call " + service + " " + object + " org.freedesktop.DBus.Peer Ping"

// enableAll enables all units that run beside the service, and waits for the files that they make. The last one is
// what a stop midway leaves.
const enableAll = `
	systemctl enable --now osctl-eventd-runtimes.service osctl-eventd-metrics.timer osctl-eventctl-run@x.service
	timeout 120 sh -c 'until ls /var/lib/prometheus/node-exporter/osctl-eventd.prom /var/lib/osctl-eventctl/x; do sleep 0.1; done'
	touch /var/lib/prometheus/node-exporter/osctl-eventd.prom.new
`

// prepareUnits makes what these units need.
const prepareUnits = `
	mkdir -p /var/lib/prometheus/node-exporter /etc/osctl-eventctl
	echo COMMAND=true >/etc/osctl-eventctl/x.conf
`

// noUnitsLeft wants that none of them is enabled or runs, and that there are no metrics.
const noUnitsLeft = `
	test -z "$(find /etc/systemd -name '*osctl*'; find /var/lib/prometheus -type f; systemctl list-units --plain --no-legend 'osctl-*')"
`

// TestPurge wants a removal to keep the history and the user, a new installation to find
// them, and purging to leave nothing.
func TestPurge(t *testing.T) {
	eachKind(t, func(t *testing.T, kind bustest.Kind) {
		s := boot(t, kind)
		// What useradd makes when it is first used, be there before, and what timers make, not at all.
		s.shell("systemctl stop '*.timer'; useradd -r before; userdel before" + prepareUnits)
		before := s.run("/bin/sh", "-c", footprint)
		s.run("apt-get", "install", "-q", "-y", s.copyIn(deb(t, firstVersion))) // as README.md says
		s.run("osctl-eventctl", "report", "probe", "id=101")
		s.shell(enableAll)
		uid := s.run("id", "-u", "osctl-eventd")

		// Who calls it meanwhile starts it again.
		s.run("systemd-run", "--quiet", "--unit=caller", "--collect", "sh", "-c", "while :; do busctl "+ping+"; done")
		s.run("dpkg", "--remove", "osctl-eventd")
		s.run("systemctl", "stop", "caller")
		if got := s.show("ActiveState") + " " + s.show("MainPID"); got != "inactive 0" {
			t.Errorf("after the removal the service is %s", got)
		}
		if _, err := s.Exec("busctl", strings.Fields(ping)...); err == nil {
			t.Error("after the removal the service answers")
		}
		s.run("test", "-d", "/var/lib/osctl-eventd")
		s.run("dpkg", "--install", s.copyIn(deb(t, firstVersion)))
		if got := s.show("ActiveState") + " " + s.show("UnitFileState"); got != "active enabled" {
			t.Errorf("after another installation the unit is %s", got)
		}
		if now := s.run("id", "-u", "osctl-eventd"); now != uid {
			t.Errorf("after another installation the user is %s, was %s", now, uid)
		}

		s.run("dpkg", "--purge", "osctl-eventd")
		if after := s.run("/bin/sh", "-c", footprint); after != before {
			t.Errorf("purging leaves\n%s", difference(before, after))
		}
	})
}

// TestCockpitPage wants the package of the page to install whole, without starting the service, and to leave nothing
// when it is purged. Cockpit itself is not there.
func TestCockpitPage(t *testing.T) {
	t.Parallel()
	s := install(t, bustest.Daemon)
	s.shell("systemctl stop '*.timer' " + unit)
	before := s.run("/bin/sh", "-c", footprint)
	s.run("dpkg", "--force-depends", "--install", s.copyIn(packageFile(t, "cockpit-osctl-eventd_"+firstVersion+"_all.deb")))
	if wrong := s.run("dpkg", "--verify", "cockpit-osctl-eventd"); wrong != "" {
		t.Errorf("not as in the package:\n%s", wrong)
	}
	s.run("grep", "-q", "Container events", "/usr/share/cockpit/osctl-eventd/manifest.json")
	if got := s.show("ActiveState"); got != "inactive" {
		t.Errorf("after the installation the service is %s", got)
	}
	s.run("dpkg", "--purge", "cockpit-osctl-eventd")
	if after := s.run("/bin/sh", "-c", footprint); after != before {
		t.Errorf("purging leaves\n%s", difference(before, after))
	}
}

// difference returns the lines that only one of two texts has.
func difference(before, after string) string {
	var b strings.Builder
	was, is := strings.Split(before, "\n"), strings.Split(after, "\n")
	for _, line := range was {
		if !slices.Contains(is, line) {
			b.WriteString("- " + line + "\n")
		}
	}
	for _, line := range is {
		if !slices.Contains(was, line) {
			b.WriteString("+ " + line + "\n")
		}
	}
	return b.String()
}

// TestWithoutSystemd installs, upgrades, removes and purges where no systemd runs, as in
// the making of an image: the service is enabled for the first boot.
func TestWithoutSystemd(t *testing.T) {
	t.Parallel()
	s := boot(t, bustest.Daemon)
	// Seen from in there, systemd does not run; nor is there a bus.
	chroot := func(line string) {
		s.run("unshare", "--mount", "/bin/sh", "-ec", "mount -t tmpfs tmpfs /run; "+line)
	}
	enabled := "/etc/systemd/system/multi-user.target.wants/" + unit
	chroot("dpkg --install " + s.copyIn(deb(t, firstVersion)))
	s.run("test", "-L", enabled)
	chroot("dpkg --install " + s.copyIn(deb(t, secondVersion)))
	s.run("systemctl", "daemon-reload")
	s.run("systemctl", "start", unit)
	s.run("systemctl", "stop", unit)
	chroot("dpkg --remove osctl-eventd")
	chroot("dpkg --purge osctl-eventd")
	for _, gone := range []string{"test -e " + enabled, "test -L " + enabled, "id osctl-eventd", "test -e /var/lib/osctl-eventd"} {
		if _, err := s.Exec("/bin/sh", "-c", gone); err == nil {
			t.Errorf("after purging: %s", gone)
		}
	}
}

// TestDisabled wants a service that an administrator disabled to stay so, over an upgrade
// and when it is called.
func TestDisabled(t *testing.T) {
	t.Parallel()
	s := install(t, bustest.Daemon)
	s.run("systemctl", "disable", "--now", unit)
	s.run("dpkg", "--install", s.copyIn(deb(t, secondVersion)))
	if _, err := s.Exec("busctl", strings.Fields(ping)...); err == nil {
		t.Error("it answers")
	}
	if got := s.show("ActiveState") + " " + s.show("UnitFileState"); got != "inactive disabled" {
		t.Errorf("after an upgrade and a call the unit is %s", got)
	}
}
