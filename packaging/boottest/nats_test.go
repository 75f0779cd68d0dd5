package boottest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/osctl/eventd/dbusapi/bustest"
)

// natsServer makes a fleet of one host and its stream, with a server in the system. The stream is
// made by a request in NATS's own protocol, as there is no client for a shell in Debian.
const natsServer = `
osctl-eventd-nats setup --out /root/fleet --max-bytes 10000000 node1
cd /root/fleet
printf 'host: 127.0.0.1\njetstream { store_dir: /root/fleet/store }\ninclude ./accounts.conf\n' >nats.conf
systemd-run --unit=nats /root/nats-server -c /root/fleet/nats.conf
until (exec 3<>/dev/tcp/127.0.0.1/4222) 2>/dev/null; do sleep 0.1; done
exec 3<>/dev/tcp/127.0.0.1/4222
config=$(cat stream.json)
printf 'CONNECT {"verbose":false,"user":"fleet-admin","pass":"%s"}\r\nSUB r 1\r\nPUB $JS.API.STREAM.CREATE.OSCTL r %d\r\n%s\r\n' \
	"$(cat fleet-admin/password)" ${#config} "$config" >&3
while read -r line <&3; do case $line in *stream_create_response*) break ;; esac; done
case $line in *'"error"'*) echo "$line" >&2; exit 1 ;; esac
install -m 600 node1/password /etc/osctl-eventd-nats/password
printf 'NATS_URL=nats://127.0.0.1:4222\nNATS_USER=node1\nOPTIONS=--host node1 --alive 1h\n' >/etc/osctl-eventd-nats/env
`

// TestNATS installs the bridge beside the service: it is not enabled, and once it is configured it
// forwards, confined, as a user of its own that may read events by its unit alone.
func TestNATS(t *testing.T) {
	t.Parallel()
	const unit = "osctl-eventd-nats.service"
	s := install(t, bustest.Daemon)
	show := func(property string) string {
		t.Helper()
		return strings.TrimSpace(s.run("systemctl", "show", "--value", "--property="+property, unit))
	}
	s.run("dpkg", "--install", s.copyIn(packageFile(t, "osctl-eventd-nats_"+firstVersion+"_*.deb")))
	if got := show("UnitFileState") + " " + show("ActiveState"); got != "disabled inactive" {
		t.Errorf("before it is configured the unit is %s", got)
	}
	path, err := exec.LookPath("nats-server")
	must(t, err)
	server, err := os.ReadFile(path)
	must(t, err)
	copied := filepath.Join(t.TempDir(), "nats-server")
	must(t, os.WriteFile(copied, server, 0o755))
	s.run("install", "-m", "755", s.copyIn(copied), "/root/nats-server")
	s.run("/bin/bash", "-ec", natsServer)
	s.run("osctl-eventctl", "report", "probe")
	s.run("systemctl", "enable", "--now", unit)
	forwards := regexp.MustCompile(`^Forwarding to osctl\.events\.node1, at \S+:[1-9]\d*, 0 of [1-9]\d* events behind$`)
	s.until("the bridge forwards", func() bool { return forwards.MatchString(show("StatusText")) })

	status := s.run("cat", "/proc/"+show("MainPID")+"/status")
	for _, want := range []string{"CapEff:\t0000000000000000\n", "CapBnd:\t0000000000000000\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n"} {
		if !strings.Contains(status, want) {
			t.Errorf("the process's status is without %q:\n%s", want, status)
		}
	}
	exposure(t, s, unit)
	modes := s.run("stat", "-c", "%U %a", "/etc/osctl-eventd-nats/password", "/var/lib/osctl-eventd-nats/cursor")
	if modes != "root 600\nosctl-eventd-nats 600\n" {
		t.Errorf("password and state are %q", modes)
	}
	const left = "ls -d /etc/osctl-eventd-nats /var/lib/osctl-eventd-nats 2>/dev/null | grep . || getent passwd osctl-eventd-nats"
	s.run("dpkg", "--purge", "osctl-eventd-nats")
	if out, err := s.Exec("/bin/sh", "-c", left); err == nil {
		t.Errorf("after the purge there is %s", out)
	}
	if got := s.show("ActiveState"); got != "active" {
		t.Errorf("the service is %s", got)
	}
}
