package bridge

import (
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/hub"
)

// TestLinkedName lists a container that another one links to. Docker sorts its names, and the link's may come first.
func TestLinkedName(t *testing.T) {
	for names, want := range map[string]string{`["/app/alias","/db"]`: "db", `["/db","/web/alias"]`: "db", `["db"]`: "db", `[]`: ""} {
		s, ok := parseSummary([]byte(`{"Id":"` + idOf("4f5e") + `","Names":` + names + `}`))
		if !ok || s.info.name != want {
			t.Errorf("%s: %q, %t, want %q", names, s.info.name, ok, want)
		}
	}
}

// TestEngine follows an engine through the life of a container, as recorded from docker.
func TestEngine(t *testing.T) {
	d, e := startEventd(t), startEngine(t)
	list := recorded[[]object]("docker/list.json")
	e.setList(encode(list[1:])) // one that was never started, and one that ended; web is created below
	unstarted, ended := list[1]["Id"].(string), list[2]["Id"].(string)
	e.emit("die", ended, time.Hour) // before the bridge ran for the first time
	b := startBridge(t, Config{Bus: d.bus.Address(), Docker: e.socket, StateDir: t.TempDir()})
	want := []string{"ct_info docker:8818 name=new image=nginx:1"}
	d.want(t, want...)
	want = append(want,
		"db docker:0b42 action=add ct_name=web",
		`ct_info docker:0b42 name=web image=nginx:1 labels={"a":"b"}`, // before it starts
		"ct_health docker:0b42 health=healthy ct_name=web",
	)
	e.health = map[string]string{list[0]["Id"].(string): "healthy", unstarted: "healthy"}
	for _, event := range recordedEvents("docker") {
		e.emitAt(time.Now(), event)
		if event["Action"] == "health_status: healthy" { // it follows an unhealthy within the second
			d.want(t, want...)
		}
	}
	want = append(want,
		`ct_info docker:0b42 name=web2 image=nginx:1 labels={"a":"b"}`,
		"ct_exit docker:0b42 exit_type=exit exit_code=137 ct_name=web2",
		"ct_exit docker:0b42 exit_type=exit exit_code=137 ct_name=web2",
		"db docker:0b42 action=remove ct_name=web2",
	)
	d.want(t, want...)
	e.emit("start", unstarted, 0, "name", "new")
	e.emit("start", "not an id", 0)
	e.emit("health_status: healthy", unstarted, 0, "name", "new")
	e.emit("health_status: healthy", unstarted, 0, "name", "new")
	e.emit("die", unstarted, 0, "name", "new", "exitCode", "0")
	d.want(t, append(want, "ct_exit docker:8818 exit_type=exit exit_code=0 ct_name=new", "ct_health docker:8818 health=healthy ct_name=new")...)
	b.wantStatus(t, "docker: 2 containers")
}

// TestNothingTwice restarts the bridge, the engine and the service, and checks that each event is reported once.
func TestNothingTwice(t *testing.T) {
	d, e := startEventd(t), startEngine(t)
	web := idOf("4f5e")
	config := Config{Bus: d.bus.Address(), Docker: e.socket, StateDir: t.TempDir()}
	first := startBridge(t, config)
	first.wantStatus(t, "docker: 0 containers")
	first.stop()
	e.setList("[" + listed(web, "web") + "]")
	e.emit("create", web, 0, "name", "tmp", "image", "nginx")
	e.emit("start", web, 0, "name", "tmp", "image", "nginx")
	e.emit("rename", web, 0, "name", "web", "image", "nginx")
	e.emit("die", web, 0, "name", "web", "image", "nginx", "exitCode", "3")
	e.emit("die", web, -time.Millisecond, "name", "web", "image", "nginx", "exitCode", "4")
	want := []string{
		`ct_info docker:4f5e name=web image=nginx labels={"a":"b"}`, "db docker:4f5e action=add ct_name=tmp",
		"ct_exit docker:4f5e exit_type=exit exit_code=3 ct_name=web", "ct_exit docker:4f5e exit_type=exit exit_code=4 ct_name=web",
	}
	b := startBridge(t, config)
	d.want(t, want...)
	emitLast := func(action string) {
		t.Helper()
		id := idOf(action)
		e.emit("die", id, 0, "name", action) // follows the events that the engine sends again
		want = append(want, "ct_exit docker:"+action+" exit_type=exit exit_code=137 ct_name="+action)
		d.want(t, want...)
	}
	for _, id := range []string{"aa01", "aa02", "aa03"} {
		b.stop()
		b = startBridge(t, config)
		emitLast(id)
	}
	// The engine is restarted.
	e.stop()
	apitest.Eventually(t, "the bridge sees the end", func() bool { status, _ := b.output(); return status != "docker: 1 container" })
	e.emit("die", web, 0, "name", "web", "image", "nginx", "exitCode", "5")
	e.setList("[" + listed(web, "renamed") + "]")
	e.start(t)
	want = append(want, `ct_info docker:4f5e name=renamed image=nginx labels={"a":"b"}`, "ct_exit docker:4f5e exit_type=exit exit_code=5 ct_name=web")
	d.want(t, want...)
	emitLast("bb01")
	// The service is restarted without its log.
	d.stop()
	d.serve(t, apitest.NewHub(t, hub.Config{}))
	apitest.Eventually(t, "the name is reported again", func() bool {
		rows, _ := d.hub.Containers()
		return len(rows) == 1 && rows[0].Name == "renamed"
	})
	// A container is removed while the bridge does not run, and the engine has lost the event.
	b.stop()
	e.setList("[]")
	startBridge(t, config)
	apitest.Eventually(t, "the container is removed", func() bool { rows, _ := d.hub.Containers(); return len(rows) == 0 })
}

// TestGoneWithoutName checks that a container is reported as removed if another one took its name while the
// bridge did not run.
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
	e.setList("[" + listed(idOf("4f5e"), "web") + "]")
	startBridge(t, Config{Bus: d.bus.Address(), Docker: e.socket, StateDir: t.TempDir()})
	d.want(t, "ct_info docker:01d0 name=web image=nginx", "ct_info docker:4f5e name=web image=nginx", "db docker:01d0 action=remove")
}

// TestHealthNotTwice restarts the bridge after two changes of a container's health. The engine sends their events
// again, and nothing is reported again.
func TestHealthNotTwice(t *testing.T) {
	d, e := startEventd(t), startEngine(t)
	web, other := idOf("4f5e"), idOf("aa01")
	e.setList("[" + listed(web, "web") + "]")
	config := Config{Bus: d.bus.Address(), Docker: e.socket, StateDir: t.TempDir()}
	b := startBridge(t, config)
	want := []string{`ct_info docker:4f5e name=web image=nginx labels={"a":"b"}`}
	d.want(t, want...)
	for _, health := range []string{"unhealthy", "healthy"} {
		e.setHealth(web, health, "health_status: "+health)
		want = append(want, "ct_health docker:4f5e health="+health+" ct_name=web")
		d.want(t, want...)
	}
	b.stop()
	startBridge(t, config)
	e.setHealth(other, "healthy", "health_status: healthy") // queried together with that of web
	want = append(want, "ct_health docker:aa01 health=healthy")
	d.want(t, want...)
	e.emit("die", other, 0, "name", "other")
	d.want(t, append(want, "ct_exit docker:aa01 exit_type=exit exit_code=137 ct_name=other")...)
}

// TestPodmanHealth checks that the bridge queries the result of a health check, which podman's event lacks.
func TestPodmanHealth(t *testing.T) {
	d, e := startEventd(t), startEngine(t)
	web := idOf("4f5e")
	e.setList("[" + listed(web, "web") + "]")
	startBridge(t, Config{Bus: d.bus.Address(), Podman: e.socket, StateDir: t.TempDir()})
	want := []string{`ct_info podman:4f5e name=web image=nginx labels={"a":"b"}`}
	d.want(t, want...)
	e.setHealth(web, "unhealthy", "health_status")
	e.emit("exec_died", web, 0, "name", "web")
	d.want(t, append(want, "ct_health podman:4f5e health=unhealthy ct_name=web")...)
}
