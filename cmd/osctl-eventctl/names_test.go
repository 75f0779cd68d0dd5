package main

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/osctl/eventd/hub"
)

// Ids of containers. The first two share their beginning.
var (
	idA = "4f5e6d7c" + strings.Repeat("a", 56)
	idB = "4f5e6d7d" + strings.Repeat("b", 56)
	idC = "9c9c9c9c" + strings.Repeat("c", 56)
)

func event(t *testing.T, typ string, pairs ...string) *hub.Event {
	t.Helper()
	var options hub.Options
	for i := 0; i < len(pairs); i += 2 {
		options = append(options, hub.Option{Name: pairs[i], Value: hub.String(pairs[i+1])})
	}
	e, err := hub.NewEvent(typ, options, "uid:0")
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func info(t *testing.T, id, name string) *hub.Event {
	t.Helper()
	return event(t, hub.TypeInfo, "pool", "podman", "id", id, "name", name)
}

// TestResolve folds events into a table one by one, and resolves texts after each.
func TestResolve(t *testing.T) {
	removed := func(id string) *hub.Event {
		return event(t, hub.TypeDB, "pool", "podman", "id", id, "object", "container", "action", "remove")
	}
	n := newNameTable([]hub.Container{{Pool: "podman", ID: idA, Name: "web"}, {Pool: "docker", ID: idB}}, []hub.Interface{{Pool: "podman", ID: idC}})
	for _, step := range []struct {
		what  string
		event *hub.Event
		want  map[string]string // "?" for an ambiguous one
	}{
		{"at the start", nil, map[string]string{idA: idA, "web": idA, "4f5e": idA, "9c9c": idC, "4f5": "", "db": "", idB: "", "5e6d": "", "": ""}},
		{"one more", info(t, idB, "db"), map[string]string{"web": idA, "db": idB, idB: idB, "4f5e": idA, "4f5e6d": "?", "4f5e6d7d": idB}},
		{"a name that is a beginning", info(t, idC, "4f5e6d"), map[string]string{"4f5e6d": idC, "9c9c": idC}},
		{"a name that is an id", info(t, idC, idA), map[string]string{idA: idA, "4f5e6d": "?"}},
		{"the name is taken over", info(t, idB, "web"), map[string]string{"web": idB, "db": "", idA: idA}},
		{"its first owner gets another one", info(t, idA, "old"), map[string]string{"web": idB, "old": idA}},
		{"an event with a name", event(t, hub.TypeState, "pool", "podman", "id", "eeee1", "state", "running", "ct_name", "mail"), map[string]string{"mail": "eeee1", "eeee": "eeee1"}},
		{"one that was only added", event(t, hub.TypeDB, "pool", "podman", "id", "dddd1", "object", "container", "action", "add"), map[string]string{"dddd": "dddd1"}},
		{"what a beginning stood for is gone", removed(idA), map[string]string{"4f5e": idB, "old": "", idA: idC, "web": idB}},
		{"all gone", removed(idB), map[string]string{"4f5e": "", "web": ""}},
	} {
		if step.event != nil {
			n.fold(step.event)
		}
		for range 2 { // the second time from the cache
			for text, want := range step.want {
				id, err := n.resolve("podman", text)
				if _, ambiguous := errors.AsType[*ambiguousError](err); ambiguous {
					id = "?"
				}
				if id != want {
					t.Errorf("%s: %q is %q, %v, want %q", step.what, text, id, err, want)
				}
			}
		}
	}
}

func TestAmbiguous(t *testing.T) {
	var rows []hub.Container
	for i := range 12 {
		rows = append(rows, hub.Container{Pool: "p", ID: fmt.Sprintf("abcd%02d", i)})
	}
	rows[1].Name = "a \x1bb"
	_, err := newNameTable(rows, nil).resolve("p", "abcd")
	want := `p:abcd is ambiguous: it could be any of p:abcd00, p:abcd01 ("a \x1bb"), p:abcd02, p:abcd03, p:abcd04, p:abcd05, p:abcd06, p:abcd07, p:abcd08, p:abcd09 and 2 more`
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestNameTableIsBounded(t *testing.T) {
	n := newNameTable(nil, nil)
	for i := range maxNames + 10 {
		n.put(containerRef{"p", fmt.Sprint(i)}, fmt.Sprint("name", i))
	}
	if len(n.names) != maxNames || len(n.owners) != maxNames {
		t.Errorf("%d containers, %d names are kept", len(n.names), len(n.owners))
	}
}

// TestNameTableKeepsNoReplies checks that a table holds the texts of events, and not the replies that they came in.
func TestNameTableKeepsNoReplies(t *testing.T) {
	n := newNameTable(nil, nil)
	const replies, size = 100, 1 << 20
	for i := range replies {
		reply := fmt.Sprintf("tank%08dname", i) + strings.Repeat("x", size)
		e := event(t, hub.TypeState, "pool", reply[:4], "id", reply[4:12], "state", "running", "ct_name", reply[:16])
		e.Pool, e.ID = reply[:4], reply[4:12]
		n.fold(e)
	}
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	if len(n.names) != replies || memory.HeapAlloc > replies*size/2 {
		t.Errorf("%d names take %d bytes", len(n.names), memory.HeapAlloc)
	}
}

// TestNames uses all commands with names of containers.
func TestNames(t *testing.T) {
	bus, d := startService(t)
	client := d.Client(t)
	state := func(id, state string) {
		report(t, client, 1, "state", "pool", "podman", "id", id, "state", state)
	}
	name := func(id, name string) {
		report(t, client, 1, "ct_info", "pool", "podman", "id", id, "name", name, "image", "nginx:1")
	}
	name(idA, "web")
	state(idA, "running")
	name(idB, "db")
	state(idC, "stopped")
	report(t, client, 1, "ct_info", "pool", "k8s", "id", "d0b3b3e8-5f5c-4b7e-9f51-0d6f5a1c2e3f", "name", "default/web")
	report(t, client, 1, "state", "pool", "k8s", "id", "d0b3b3e8-5f5c-4b7e-9f51-0d6f5a1c2e3f", "state", "running")
	for _, test := range []struct {
		args   string
		code   int
		stdout string
		stderr string
	}{
		{"show podman:web", 0, "Container:  podman:" + idA + "\nName:       web\nImage:      nginx:1\nState:      running since ", ""},
		{"show podman:4f5e6d7c", 0, "Name:       web\n", ""},
		{"show podman:web --json", 0, `"ct_name":"web","image":"nginx:1"`, ""},
		{"show podman:4f5e", 1, "", "podman:4f5e is ambiguous: it could be any of podman:" + idA + " (web), podman:" + idB + " (db)\n"},
		{"show k8s:default/web", 0, "Name:       default/web\n", ""},
		{"show podman:nobody", 1, "", "podman:nobody is unknown;"},
		{"containers", 0, "podman:web", ""},
		{"containers --all", 0, "podman:9c9c9c9ccccc ", ""},
		{"containers podman:db", 0, "podman:db  -", ""},
		{"containers podman:db --json", 0, `{"pool":"podman","id":"` + idB + `","state":"",`, ""},
		{"containers podman:db --json", 0, `"ct_name":"db","image":"nginx:1"}`, ""},
		{"containers podman:web/eth0", 1, "", "expected a container as POOL:ID"},
		{"containers podman:4f5e6d", 1, "", "could be any of"},
		{"containers podman:nobody", 1, "", "unknown: podman:nobody;"},
		{"wait podman:web running", 0, "running\n", ""},
		{"wait podman:9c9c podman:web stopped running", 0, "podman:9c9c stopped\npodman:web running\n", ""},
		{"wait podman:4f5e running", 1, "", "could be any of"},
		{"wait podman:web/eth0 down", 0, "down\n", ""},
		{"wait k8s:default/web running", 0, "running\n", ""},
		{"wait podman:db running --timeout 2s", exitTimeout, "", "no state of podman:db is known"},
		{"events podman:web", 0, "podman:web      image=nginx:1  from uid:0\n", ""},
		{"events podman:web", 0, "  state running      podman:web      from uid:0\n", ""},
		{"events podman:web --type state --json", 0, `"opts":{"pool":"podman","id":"` + idA + `","state":"running","ct_name":"web"}`, ""},
		{"events --ct-name web", 0, "state running      podman:web", ""},
		{"events k8s:default/web", 0, "state running      k8s:default/web", ""},
		{"events podman:4f5e6d", 1, "", "could be any of"},
		{"run --no-follow podman:web -- echo x", 0, "x\nx\n", ""},
	} {
		r := ctlUntil(t, bus.Env(), func(r result) bool {
			return test.code != exitTimeout || strings.Contains(r.stderr, test.stderr)
		}, strings.Fields(test.args)...)
		if r.code != test.code || !strings.Contains(r.stdout, test.stdout) || !strings.Contains(r.stderr, test.stderr) {
			t.Errorf("%s: %+v, want %+v", test.args, r, test)
		}
	}
	for line, want := range map[string]string{
		"show podman:w": "podman:web", "show podman:4f5e6d7d": "podman:" + idB, "show podman:": "podman:" + idC + " podman:db podman:web",
		"show k8s:d": "k8s:default/web", "show k8s:default/w": "k8s:default/web", "monitor --ct-name w": "web",
	} {
		if got := completed(t, bus.Env(), line); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// TestNameIsTakenOver follows a name that moves from one container to another.
func TestNameIsTakenOver(t *testing.T) {
	bus, d := startService(t)
	client := d.Client(t)
	monitor := start(t, bus, "monitor", "podman:web", "--json")
	waiting := start(t, bus, "wait", "podman:web", "frozen")
	monitor.line(t, &monitor.Out, `"ct_name":"web"`, func() {
		report(t, client, 1, "ct_info", "pool", "podman", "id", idA, "name", "web")
		report(t, client, 1, "state", "pool", "podman", "id", idA, "state", "running")
	})
	report(t, client, 1, "ct_exit", "pool", "podman", "id", idA, "exit_type", "first")
	report(t, client, 1, "ct_info", "pool", "podman", "id", idB, "name", "web")
	report(t, client, 1, "ct_exit", "pool", "podman", "id", idA, "exit_type", "foreign")
	report(t, client, 1, "state", "pool", "podman", "id", idA, "state", "frozen")
	report(t, client, 1, "state", "pool", "podman", "id", idB, "state", "starting")
	report(t, client, 1, "ct_exit", "pool", "podman", "id", idB, "exit_type", "second")
	monitor.line(t, &monitor.Out, `"exit_type":"second"`, nil)
	taken := `{"type":"ct_info","opts":{"pool":"podman","id":"` + idB
	if text := monitor.Out.String(); !strings.Contains(text, taken) || strings.Contains(text, "foreign") || !strings.Contains(text, `"exit_type":"first"`) || !strings.Contains(text, "starting") {
		t.Errorf("monitor shows\n%s", text)
	}
	report(t, client, 1, "state", "pool", "podman", "id", idB, "state", "frozen")
	if code := waiting.Wait(t); code != 0 || waiting.Out.String() != "frozen\n" {
		t.Errorf("wait ends with %d, %q", code, waiting.Out.String())
	}
}

// TestConditionsByName folds events one by one, and checks the conditions after each.
func TestConditionsByName(t *testing.T) {
	state := func(id, state string) *hub.Event {
		return event(t, hub.TypeState, "pool", "podman", "id", id, "state", state)
	}
	up := func(id string, ifindex uint32) *hub.Event {
		e, err := hub.NewEvent(hub.TypeNetif, hub.Options{
			{Name: "pool", Value: hub.String("podman")},
			{Name: "id", Value: hub.String(id)},
			{Name: "action", Value: hub.String("up")},
			{Name: "name", Value: hub.String("eth0")},
			{Name: "ifindex", Value: hub.Uint32(ifindex)},
		}, hub.SourceNetlink)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	running := condition{target: target{"podman", "web", ""}, states: []string{"running"}}
	link := condition{target: target{"podman", "web", "eth0"}, states: []string{"up"}}
	w := knownState{names: newNameTable(nil, nil)}
	for i, step := range []struct {
		event         *hub.Event
		running, link string
	}{
		{state(idA, "running"), "", ""},
		{info(t, idA, "web"), "running", ""},
		{up(idB, 3), "running", ""},
		{info(t, idB, "web"), "", "up"},
		{up(idA, 4), "", "up"},
		{state(idB, "running"), "running", "up"},
		{info(t, idA, "web"), "running", "up"},
		{state(idA, "stopped"), "", "up"},
	} {
		w.fold(step.event)
		gotState, err := running.reachedState(&w)
		gotLink, linkErr := link.reachedState(&w)
		if gotState != step.running || gotLink != step.link || err != nil || linkErr != nil {
			t.Errorf("step %d: %q, %q, %v, %v, want %+v", i, gotState, gotLink, err, linkErr, step)
		}
	}
}

// TestHandoverIsNotDown checks that a handover does not end a wait for down.
func TestHandoverIsNotDown(t *testing.T) {
	change := func(id, action, option string) *hub.Event {
		options := hub.Options{
			{Name: "pool", Value: hub.String("podman")},
			{Name: "id", Value: hub.String(id)},
			{Name: "action", Value: hub.String(action)},
			{Name: "name", Value: hub.String("eth0")},
			{Name: "ifindex", Value: hub.Uint32(3)},
			{Name: option, Value: hub.Bool(true)},
		}
		e, err := hub.NewEvent(hub.TypeNetif, options, hub.SourceNetlink)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	down := condition{target: target{"podman", idA, "eth0"}, states: []string{"down"}}
	w := knownState{names: newNameTable(nil, nil)}
	for i, step := range []struct {
		event *hub.Event
		want  string
	}{
		{change(idA, "up", "resync"), ""},
		{change(idA, "down", "handover"), ""},
		{change(idB, "up", "handover"), ""},
		{change(idB, "down", "gone"), "down"},
	} {
		w.fold(step.event)
		if got, err := down.reachedState(&w); got != step.want || err != nil {
			t.Errorf("step %d: %q, %v, want %q", i, got, err, step.want)
		}
	}
}
