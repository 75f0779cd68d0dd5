package main

import (
	"strings"
	"testing"
	"time"

	"github.com/osctl/eventd/hub"
)

// TestShowGone shows removed containers from the history.
func TestShowGone(t *testing.T) {
	bus, d := startService(t)
	client := d.Client(t)
	reportOne := func(typ, pool, id string, options ...string) {
		report(t, client, 1, typ, append([]string{"pool", pool, "id", id}, options...)...)
	}
	remove := func(pool, id string) { reportOne("db", pool, id, "object", "container", "action", "remove") }
	reportOne("ct_info", "podman", idA, "name", "web", "image", "nginx:1")
	reportOne("state", "podman", idA, "state", "stopped")
	remove("podman", idA)
	reportOne("ct_exit", "podman", idA, "exit_type", "exit") // reported late
	reportOne("ct_info", "k8s", "d0b3b3e8-5f5c-4b7e-9f51-0d6f5a1c2e3f", "name", "default/web")
	remove("k8s", "d0b3b3e8-5f5c-4b7e-9f51-0d6f5a1c2e3f")
	remove("tank", "1")
	reportOne("db", "tank", "user1", "object", "user", "action", "remove")
	remove("tank", "2")
	reportOne("state", "tank", "2", "state", "running") // created again
	reportOne("ct_info", "tank", "3", "name", "old", "image", "nginx:1")
	remove("tank", "3")
	reportOne("db", "tank", "3", "object", "container", "action", "add") // created again, not started
	gone := "Container:  podman:" + idA + "\nName:       web\nImage:      nginx:1\nState:      gone since "
	for _, test := range []struct {
		args   string
		code   int
		stdout string
		stderr string
	}{
		{"podman:web", 0, gone, ""},
		{"podman:web", 0, "ct_exit ", ""},
		{"podman:" + idA + " --lines 1", 0, gone, ""},
		{"podman:4f5e6d7c", 0, gone, ""},
		{"podman:web --json", 0, `"state":"","removed":"20`, ""},
		{"k8s:default/web", 0, "Name:       default/web\nState:      gone since ", ""},
		{"tank:1", 0, "Container:  tank:1\nState:      gone since ", ""},
		{"tank:user1", 0, "State:      unknown", ""},
		{"tank:2", 0, "State:      running since", ""},
		{"tank:3", 0, "Container:  tank:3\nState:      unknown\n", ""},
		{"tank:old", 1, "", "tank:old is unknown; "},
		{"podman:web/eth0", 1, "", "expected a container as POOL:ID"},
		{"podman:4f5", 1, "", "podman:4f5 is unknown; "},
		{"docker:web", 1, "", "docker:web is unknown; "},
	} {
		r := ctl(t, bus.Env(), append([]string{"show"}, strings.Fields(test.args)...)...)
		if r.code != test.code || !strings.Contains(r.stdout, test.stdout) || !strings.Contains(r.stderr, test.stderr) {
			t.Errorf("%s: %+v, want %+v", test.args, r, test)
		}
	}
	if r := ctl(t, bus.Env(), "show", "tank:2", "--json"); strings.Contains(r.stdout, "removed") {
		t.Errorf("a container that was created again: %+v", r)
	}
	reportOne("ct_info", "podman", idB, "name", "web")
	if r := ctl(t, bus.Env(), "show", "podman:web"); !strings.HasPrefix(r.stdout, "Container:  podman:"+idB) {
		t.Errorf("the name belongs to another container: %+v", r)
	}
	remove("podman", idB)
	for args, want := range map[string]string{"podman:web": "Container:  podman:" + idB, "podman:" + idA: gone} {
		if r := ctl(t, bus.Env(), "show", args); !strings.HasPrefix(r.stdout, want) {
			t.Errorf("%s: %+v, want %s", args, r, want)
		}
	}
	if r := ctl(t, bus.Env(), "show", "podman:4f5e6d"); r.code != 1 || !strings.Contains(r.stderr, "could be any of podman:"+idA) {
		t.Errorf("the beginning of two ids: %+v", r)
	}
}

// TestComesBack checks that a container that came back after its removal is not gone, even if the service
// no longer lists it.
func TestComesBack(t *testing.T) {
	removal := event(t, hub.TypeDB, "pool", "podman", "id", idA, "object", "container", "action", "remove")
	addition := event(t, hub.TypeDB, "pool", "podman", "id", idA, "object", "container", "action", "add", "ct_name", "new")
	exit := event(t, hub.TypeExit, "pool", "podman", "id", idA, "exit_type", "exit")
	state := event(t, hub.TypeState, "pool", "podman", "id", idA, "state", "stopped")
	for i, test := range []struct {
		events []*hub.Event
		gone   bool
		name   string
	}{
		{[]*hub.Event{state, removal, exit}, true, ""},
		{[]*hub.Event{removal, state}, false, ""},
		{[]*hub.Event{removal, info(t, idA, "web")}, false, "web"},
		{[]*hub.Event{info(t, idA, "web"), removal, addition}, false, "new"},
		{[]*hub.Event{info(t, idA, "web"), addition}, false, "new"},
	} {
		past := &pastContainers{newNameTable(nil, nil), map[containerRef]pastContainer{}}
		for _, e := range test.events {
			e.Time = time.Now()
			if _, err := past.event(t.Context(), e, ""); err != nil {
				t.Fatal(err)
			}
		}
		c := past.containers[containerRef{"podman", idA}]
		if gone := !c.removed.IsZero(); gone != test.gone || c.name != test.name {
			t.Errorf("%d: gone %v, name %q, want %v, %q", i, gone, c.name, test.gone, test.name)
		}
	}
}
