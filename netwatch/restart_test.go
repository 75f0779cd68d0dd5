package netwatch

import (
	"strings"
	"testing"
	"time"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/nstest"
)

// TestAnotherPlace wants all that was known to be gone where the same numbers are of
// other links: after a reboot, and in another network namespace.
func TestAnotherPlace(t *testing.T) {
	for _, test := range []struct{ name, boot, want string }{
		{"restart", "one", "up h name=p resync"},
		{"reboot", "two", "up h name=p resync\ndown h name=p gone resync\nup h name=p resync"},
		{"namespace", "one", "up h name=p resync\ndown h name=p gone resync"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &place{TB: t, host: nstest.New(t), inside: nstest.New(t)}
			p.bare = openBare(t, p.host)
			h := newHub(t)
			events := follow(t, h)
			p.running()
			t.Run("first", func(t *testing.T) { run(t, patient(newWatcherIn(t, p.host, &Config{Hub: h, Boot: "one"}))) })
			where := p.host
			if test.name == "namespace" {
				where = nstest.New(t)
			}
			t.Run("second", func(t *testing.T) { run(t, patient(newWatcherIn(t, where, &Config{Hub: h, Boot: test.boot}))) })
			t.Run("third", func(t *testing.T) { run(t, patient(newWatcherIn(t, where, &Config{Hub: h, Boot: test.boot}))) })
			if got := strings.Join(describeAll(events.read(t)), "\n"); got != test.want {
				t.Errorf("events:\n%s\nwant:\n%s", got, test.want)
			}
			rows, _ := h.Interfaces()
			if test.name == "namespace" && len(rows) != 0 {
				t.Errorf("rows are %+v", rows)
			}
		})
	}
}

// TestBindingOutlivesRestart wants what was reported of a veth to hold after a restart,
// until the veth is gone.
func TestBindingOutlivesRestart(t *testing.T) {
	p := &place{TB: t, host: nstest.New(t), inside: nstest.New(t)}
	p.bare = openBare(t, p.host)
	h := newHub(t)
	host, _ := p.running()
	t.Run("first", func(t *testing.T) {
		w := newWatcherIn(t, p.host, &Config{Hub: h})
		run(t, w)
		report(t, h, "osctld.service", "action", "add", "pool", "tank", "id", "101", "name", "eth7", "veth", "h")
		// Reports come to the watcher by another way than what the kernel says.
		for started := time.Now(); ; {
			must(t, w.Settle(t.Context()))
			if rows, _ := h.Interfaces(); len(rows) == 1 && rows[0].BoundBy == "osctld.service" || time.Since(started) > patience {
				return
			}
		}
	})
	rows, _ := h.Interfaces()
	if len(rows) != 1 || rows[0].BoundBy != "osctld.service" || !rows[0].Announced || rows[0].Pool != "tank" {
		t.Fatalf("rows are %+v", rows)
	}
	events := follow(t, h)
	t.Run("second", func(t *testing.T) {
		w := newWatcherIn(t, p.host, &Config{Hub: h})
		run(t, w)
		must(t, p.host.Down(host))
		p.until("h", hub.LinkDown)
		must(t, w.Settle(t.Context()))
	})
	all := events.read(t)
	if len(all) != 1 || all[0].Pool != "tank" || all[0].ID != "101" || all[0].Options.Text("bound_by") != "osctld.service" || all[0].Action != "down" {
		t.Errorf("events are %q", describeAll(all))
	}
}
