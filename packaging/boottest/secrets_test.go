package boottest

import (
	"strings"
	"testing"

	"github.com/osctl/eventd/dbusapi/bustest"
)

// secret is in all that must not get out.
const secret = "hunter2-"

// TestSecrets reports a management event with secrets at several depths and spellings,
// taken and refused, and wants them in no signal, reply, log file, journal or state.
func TestSecrets(t *testing.T) {
	eachBus(t, func(t *testing.T, s *system) {
		s.useJournal()
		s.shell("sed -i 's/--journal/--journal --log-level debug/' /etc/systemd/system/osctl-eventd.service.d/journal.conf; " +
			"systemctl daemon-reload; systemctl restart osctl-eventd")
		root := s.client(0)
		rule := new(bustest.Body).String("type='signal',interface='" + service + "'")
		if _, err := root.CallDriver(bounded(t), "AddMatch", "s", rule); err != nil {
			t.Fatal(err)
		}
		// By the tool for any service, as it sends what it is told.
		call := "busctl call " + service + " " + object + " " + service + " Report 'sa{sv}' management "
		options := "cmd s user_create opts 'a{sv}' 6" +
			" password s S1 user a{sv} 2 Api-Token s S2 shown s clear" +
			" deep av 1 a{sv} 1 list a{ss} 2 PASSPHRASE S3 name clear" +
			" credentials as 2 S4 S5 userPasswd i 5 SecretKey ay 2 104 117"
		options = strings.NewReplacer("S1", secret+"1", "S2", secret+"2", "S3", secret+"3", "S4", secret+"4", "S5", secret+"5").Replace(options)
		s.shell(call + "4 id i 7 state s run " + options)
		s.shell("! " + call + "4 id i 7 state i 1 " + options) // refused: state is no text
		s.shell("! " + call + "5 id i 7 state s run token s " + secret + "6 -x- s no " + options)

		signal, err := root.Receive(bounded(t))
		for err == nil && signal.Interface != service {
			signal, err = root.Receive(bounded(t))
		}
		must(t, err)
		reply, err := root.Call(bounded(t), deeds()["WaitEvents"])
		must(t, err)
		s.run("systemctl", "stop", unit)
		places := map[string]string{
			"the signal":          string(signal.Body),
			"the reply":           string(reply.Body),
			"the journal":         s.journal("--all", "-o", "export"),
			"the state directory": s.run("find", "/var/lib/osctl-eventd", "-type", "f", "-exec", "cat", "{}", "+"),
			"other log files":     s.run("find", "/var/log", "-type", "f", "-not", "-path", "*/journal/*", "-exec", "cat", "{}", "+"),
		}
		for place, text := range places {
			if strings.Contains(text, secret) {
				t.Errorf("a secret is in %s", place)
			}
		}
		// And these do have the event.
		for _, place := range []string{"the signal", "the reply", "the journal", "the state directory"} {
			if strings.Count(places[place], "[redacted]") < 5 || !strings.Contains(places[place], "clear") {
				t.Errorf("the event is not in %s: %q", place, places[place])
			}
		}
	})
}

// TestNoCore wants the memory of the service to get nowhere.
func TestNoCore(t *testing.T) {
	t.Parallel()
	s := install(t, bustest.Daemon)
	pid := s.show("MainPID")
	for line := range strings.Lines(s.run("cat", "/proc/"+pid+"/limits")) {
		if strings.HasPrefix(line, "Max core file size") && !strings.HasPrefix(strings.Join(strings.Fields(line)[4:], " "), "0 0") {
			t.Error(line)
		}
	}
	// Its files in /proc are root's, as of a process that is not dumpable.
	if owner := strings.TrimSpace(s.run("stat", "-c", "%U", "/proc/"+pid+"/mem")); owner != "root" {
		t.Errorf("its memory belongs to %s", owner)
	}
	if _, err := s.Exec("setpriv", "--reuid=osctl-eventd", "--regid=osctl-eventd", "--clear-groups", "head", "-c", "1", "/proc/"+pid+"/maps"); err == nil {
		t.Error("another process of its user may look into its memory")
	}
	s.run("systemctl", "kill", "--signal=ABRT", unit)
	s.awaitRestart(pid)
	if out := s.run("find", "/", "-xdev", "-name", "core*", "-size", "+1M", "-newer", "/proc/1/cmdline"); out != "" {
		t.Errorf("cores: %s", out)
	}
}
