package bridge

import (
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/hub"
)

// TestEngine follows an engine through the life of a container.
func TestEngine(t *testing.T) {
	d, e := startEventd(t), startEngine(t)
	web, old := idOf("4f5e"), idOf("01d0")
	e.setList("[" + listed(web, "web", "nginx:1", "running") + "," + listed(old, "old", "nginx:0", "exited") + "]")
	e.happen("die", old, time.Hour, "name", "old", "exitCode", "1") // before the bridge was ever there
	b := startBridge(t, Config{Bus: d.bus.Address(), Docker: e.socket, StateDir: t.TempDir()})
	want := []string{`ct_info docker:4f5e name=web image=nginx:1 labels={"a":"b"}`}
	d.want(t, want...)
	next := idOf("9c9c")
	for _, step := range []struct {
		action, id string
		attributes []string
		want       string
	}{
		{"create", next, []string{"name", "db", "image", "pg", "env", "test"}, "db docker:9c9c action=add ct_name=db"},
		{"", "", nil, `ct_info docker:9c9c name=db image=pg labels={"env":"test"}`}, // before it starts
		{"attach", next, []string{"name", "db", "image", "pg"}, ""},
		{"start", next, []string{"name", "db", "image", "pg", "env", "test"}, ""},
		{"start", web, []string{"name", "web", "image", "nginx:1"}, ""},
		{"rename", next, []string{"name", "db2", "oldName", "/db", "image", "pg"}, "ct_info docker:9c9c name=db2 image=pg"},
		{"health_status: healthy", next, []string{"name", "db2", "image", "pg"}, "ct_health docker:9c9c health=healthy ct_name=db2"},
		{"health_status: healthy", next, []string{"name", "db2", "image", "pg"}, ""},
		{"health_status: unhealthy", next, []string{"name", "db2", "image", "pg"}, "ct_health docker:9c9c health=unhealthy ct_name=db2"},
		{"exec_die", next, []string{"name", "db2", "image", "pg", "exitCode", "7", "execID", "x"}, ""},
		{"kill", next, []string{"name", "db2", "image", "pg", "signal", "9"}, ""},
		{"die", next, []string{"name", "db2", "image", "pg", "exitCode", "137"}, "ct_exit docker:9c9c exit_type=exit exit_code=137 ct_name=db2"},
		{"destroy", next, []string{"name", "db2", "image", "pg"}, "db docker:9c9c action=remove ct_name=db2"},
		{"start", "not an id", []string{"name", "x"}, ""},
	} {
		if step.action != "" {
			e.happen(step.action, step.id, 0, step.attributes...)
		}
		if step.want != "" {
			want = append(want, step.want)
		}
	}
	d.want(t, want...)
	b.wantStatus(t, "docker: 2 containers")
}

// TestNothingTwice starts bridges one after the other, with and without an engine, and wants each
// event once.
func TestNothingTwice(t *testing.T) {
	d, e := startEventd(t), startEngine(t)
	web := idOf("4f5e")
	config := Config{Bus: d.bus.Address(), Docker: e.socket, StateDir: t.TempDir()}
	first := startBridge(t, config)
	first.wantStatus(t, "docker: 0 containers")
	first.stop()
	e.setList("[" + listed(web, "web", "nginx", "running") + "]")
	e.happen("create", web, 0, "name", "tmp", "image", "nginx")
	e.happen("start", web, 0, "name", "tmp", "image", "nginx")
	e.happen("rename", web, 0, "name", "web", "image", "nginx")
	e.happen("die", web, 0, "name", "web", "image", "nginx", "exitCode", "3")
	e.happen("die", web, -time.Millisecond, "name", "web", "image", "nginx", "exitCode", "4")
	want := []string{
		`ct_info docker:4f5e name=web image=nginx labels={"a":"b"}`, "db docker:4f5e action=add ct_name=tmp",
		"ct_exit docker:4f5e exit_type=exit exit_code=3 ct_name=web", "ct_exit docker:4f5e exit_type=exit exit_code=4 ct_name=web",
	}
	b := startBridge(t, config)
	d.want(t, want...)
	settle := func(action string) {
		t.Helper()
		id := idOf(action)
		e.happen("die", id, 0, "name", action) // comes after all that is told again
		want = append(want, "ct_exit docker:"+action+" exit_type=exit ct_name="+action)
		d.want(t, want...)
	}
	for _, id := range []string{"aa01", "aa02", "aa03"} {
		b.stop()
		b = startBridge(t, config)
		settle(id)
	}
	// The engine is restarted: it is listed anew, and followed on.
	e.stop()
	apitest.Eventually(t, "the bridge sees the end", func() bool { status, _ := b.said(); return status != "docker: 1 containers" })
	e.happen("die", web, 0, "name", "web", "image", "nginx", "exitCode", "5")
	e.setList("[" + listed(web, "renamed", "nginx", "running") + "]")
	e.start(t)
	want = append(want, `ct_info docker:4f5e name=renamed image=nginx labels={"a":"b"}`, "ct_exit docker:4f5e exit_type=exit exit_code=5 ct_name=web")
	d.want(t, want...)
	settle("bb01")
	// The service is restarted, and has lost everything.
	d.stop()
	d.serve(t, apitest.NewHub(t, hub.Config{}))
	apitest.Eventually(t, "the name is told again", func() bool {
		rows, _ := d.hub.Containers()
		return len(rows) == 1 && rows[0].Name == "renamed"
	})
	// A container is gone while the bridge is away, and the engine has forgotten.
	b.stop()
	e.setList("[]")
	startBridge(t, config)
	apitest.Eventually(t, "the container is gone", func() bool { rows, _ := d.hub.Containers(); return len(rows) == 0 })
}

// TestGoneWithoutName wants a container to leave that another one took the name of while the bridge
// was away.
func TestGoneWithoutName(t *testing.T) {
	d, e := startEventd(t), startEngine(t)
	for _, id := range []string{idOf("01d0"), idOf("4f5e")} {
		r := infoReport("docker", id, newInfo("web", "nginx", nil))
		event, err := hub.NewEvent(r.Type, r.Options, "uid:0")
		if err == nil {
			_, err = d.hub.Commit(hub.Batch{Events: []*hub.Event{event}})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	e.setList("[" + listed(idOf("4f5e"), "web", "nginx", "running") + "]")
	startBridge(t, Config{Bus: d.bus.Address(), Docker: e.socket, StateDir: t.TempDir()})
	d.want(t, "ct_info docker:01d0 name=web image=nginx", "ct_info docker:4f5e name=web image=nginx", "db docker:01d0 action=remove")
}

// TestPodmanHealth wants the result of a health check to be asked for where the event lacks it.
func TestPodmanHealth(t *testing.T) {
	d, e := startEventd(t), startEngine(t)
	web := idOf("4f5e")
	e.setList("[" + listed(web, "web", "nginx", "running") + "]")
	e.health[web] = "unhealthy"
	startBridge(t, Config{Bus: d.bus.Address(), Podman: e.socket, StateDir: t.TempDir()})
	want := []string{`ct_info podman:4f5e name=web image=nginx labels={"a":"b"}`}
	d.want(t, want...)
	e.happen("health_status", web, 0, "name", "web")
	e.happen("exec_died", web, 0, "name", "web")
	d.want(t, append(want, "ct_health podman:4f5e health=unhealthy ct_name=web")...)
}
