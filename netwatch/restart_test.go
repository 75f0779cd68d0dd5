package netwatch

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/nstest"
)

// TestAnotherPlace expects all known interfaces to be gone after a reboot and in another network
// namespace, because the same numbers mean other links there.
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

// TestRebootEndsContainers expects the containers of another boot to be announced as stopped, once and
// before the watcher runs, and no event of those of the same boot.
func TestRebootEndsContainers(t *testing.T) {
	ns, h := nstest.New(t), newHub(t)
	state := func(id, state string) {
		e, err := hub.NewEvent(hub.TypeState, hub.Options{
			{Name: "pool", Value: hub.String("tank")}, {Name: "id", Value: hub.String(id)}, {Name: "state", Value: hub.String(state)},
		}, "osctld.service")
		must(t, err)
		_, err = h.Commit(hub.Batch{Events: []*hub.Event{e}})
		must(t, err)
	}
	t.Run("first", func(t *testing.T) { run(t, newWatcherIn(t, ns, &Config{Hub: h, Boot: "one"})) })
	state("101", "running")
	state("102", "stopped")
	state("103", "frozen")
	events := follow(t, h)
	for _, boot := range []string{"one", "two"} {
		w := newWatcherIn(t, nstest.New(t), &Config{Hub: h, Boot: boot})
		if n := len(events.read(t)); boot == "one" && n != 0 {
			t.Errorf("%d events in the same boot", n)
		}
		must(t, w.Close())
	}
	t.Run("third", func(t *testing.T) { run(t, newWatcherIn(t, ns, &Config{Hub: h, Boot: "two"})) })
	t.Run("fourth", func(t *testing.T) { run(t, newWatcherIn(t, ns, &Config{Hub: h, Boot: "two"})) })
	var got []string
	for _, e := range events.read(t) {
		resync, _ := e.Options.Get("resync")
		got = append(got, fmt.Sprintf("%s %s:%s %s by %s %v", e.Type, e.Pool, e.ID, e.Action, e.Source, resync.Bool()))
	}
	want := []string{"state tank:101 stopped by cgroup true", "state tank:103 stopped by cgroup true"}
	if !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
}

// TestBindingOutlivesRestart expects a reported owner of a veth to count after a restart.
func TestBindingOutlivesRestart(t *testing.T) {
	p := &place{TB: t, host: nstest.New(t), inside: nstest.New(t)}
	p.bare = openBare(t, p.host)
	h := newHub(t)
	host, _ := p.running()
	t.Run("first", func(t *testing.T) {
		w := newWatcherIn(t, p.host, &Config{Hub: h})
		run(t, w)
		report(t, h, "osctld.service", "action", "add", "pool", "tank", "id", "101", "name", "eth7", "veth", "h")
		// settle does not wait for reports, because another goroutine reads them.
		for started := time.Now(); ; {
			settle(t, w)
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
		settle(t, w)
	})
	all := events.read(t)
	if len(all) != 1 || all[0].Pool != "tank" || all[0].ID != "101" || all[0].Options.Text("bound_by") != "osctld.service" || all[0].Action != "down" {
		t.Errorf("events are %q", describeAll(all))
	}
}
