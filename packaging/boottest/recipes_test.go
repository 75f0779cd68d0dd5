package boottest

import (
	"strings"
	"testing"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/packaging/man"
)

// recipeScene is what the recipes want to be there: a container with an interface, and the
// commands and the unit that are the reader's own.
const recipeScene = `
for command in backup notify-send; do
	printf '#!/bin/sh\necho "$0 $*" >>/run/ran\n' >/usr/local/bin/$command
	chmod 755 /usr/local/bin/$command
done
printf '[Service]\nType=oneshot\nExecStart=touch /run/started\n' >/run/systemd/system/backup.service
mkdir -p /var/lib/prometheus/node-exporter
ip link add veth101 type veth peer name peer101
osctl-eventctl report ct_netif pool=tank id=101 action=add name=eth0 veth=veth101
osctl-eventctl report state pool=tank id=101 state=running
`

// recipeTest is how a recipe is tested: the event to report, again until the recipe took effect,
// and the command that succeeds then. Without an event the recipe ends, and its output has want.
type recipeTest struct{ event, effect, want string }

// TestRecipes runs each recipe of osctl-eventd-recipes(7) as it is there.
func TestRecipes(t *testing.T) {
	t.Parallel()
	down, state := "ct_netif pool=tank id=101 action=down name=eth0", "state pool=tank id=101 state="
	tests := map[string]recipeTest{
		"Run a script when an interface goes down": {event: down, effect: "journalctl -t on-down | grep 'tank:101: eth0 is down$'"},
		"Keep such a command running":              {event: down, effect: "journalctl -u osctl-eventctl-run@on-down -t on-down | grep 'is down$'"},
		"Wait for a container, then back it up":    {effect: "grep '^/usr/local/bin/backup tank:101$' /run/ran", want: "running"},
		"Show the last hour of one container":      {want: " tank:101 "},
		"Find the container of a veth":             {want: "\ntank:101  "},
		"Show what is known of one container":      {want: "tank:101"},
		"Write metrics for Prometheus": {effect: `systemctl is-active osctl-eventd-metrics.timer
			systemctl start osctl-eventd-metrics; grep '^osctl_eventd_up 1$' /var/lib/prometheus/node-exporter/osctl-eventd.prom`},
		"Notify a desktop":            {event: state + "error", effect: "grep '^/usr/local/bin/notify-send tank:101 is in state error$' /run/ran"},
		"Write events to the journal": {event: down, effect: "journalctl OSCTL_TYPE=ct_netif OSCTL_POOL=tank OSCTL_ID=101 -o cat | grep ."},
		"Write events to syslog":      {event: down, effect: `journalctl -t containers -o cat | grep '^{"type":"ct_netif"'`},
		"Start a unit on an event":    {event: state + "running", effect: "test -e /run/started"},
	}
	s := install(t, bustest.Daemon)
	s.shell(recipeScene)
	for _, recipe := range man.Recipes() {
		test, ok := tests[recipe.Title]
		if !ok {
			t.Errorf("no test for the recipe %q", recipe.Title)
			continue
		}
		switch {
		case strings.Contains(recipe.Code, "osctl-eventctl run"): // which does not end
			s.run("systemd-run", "--quiet", "--unit=recipe", "--collect", "/bin/sh", "-ec", recipe.Code)
		default:
			if out := s.run("/bin/sh", "-ec", recipe.Code); !strings.Contains(out, test.want) {
				t.Errorf("%s: the output is without %q:\n%s", recipe.Title, test.want, out)
			}
		}
		s.until(recipe.Title, func() bool {
			if test.event != "" {
				s.run("osctl-eventctl", append([]string{"report"}, strings.Fields(test.event)...)...)
			}
			_, err := s.Exec("/bin/sh", "-ec", "true; "+test.effect)
			return err == nil
		})
		s.shell("systemctl stop recipe 2>/dev/null || true")
	}
}
