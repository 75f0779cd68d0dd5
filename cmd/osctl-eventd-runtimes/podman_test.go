package main

import (
	"bytes"
	"debug/buildinfo"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/osctl/eventd/cmd/internal/daemontest"
	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/cttest"
)

// machine is a host with podman, the service of podman, and osctl-eventd.
type machine struct {
	t       *testing.T
	host    *cttest.Host
	socket  string
	service *exec.Cmd
	bus     *bustest.Bus
	eventd  *daemontest.Daemon
	client  *client.Client
	state   string   // state directory of osctl-eventd
	bridges string   // state directory of the bridge
	args    []string // of the bridge
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, host: cttest.NewHost(t), bus: bustest.Start(t, bustest.Daemon, bustest.PolicyOpen), state: t.TempDir(), bridges: t.TempDir()}
	m.socket = filepath.Join(m.host.Dir(), "podman.sock")
	m.startEventd()
	m.startService()
	t.Cleanup(m.stopService)
	m.args = []string{"--bus", m.bus.Address(), "--podman", m.socket, "--docker", "", "--pods", "", "--state-dir", m.bridges}
	return m
}

// launchBridge starts the bridge, and returns once it follows podman: it reports what happens from then on.
func (m *machine) launchBridge() *daemontest.Process {
	m.t.Helper()
	p := launch(m.t, m.args...)
	apitest.Eventually(m.t, "the bridge follows podman", func() bool {
		_, err := os.Stat(filepath.Join(m.bridges, "podman.position"))
		return err == nil
	})
	return p
}

func (m *machine) startEventd() {
	m.t.Helper()
	// osctl-eventd gets no cgroup view of its own, because it must see the cgroups of podman.
	cmd := m.host.Command("nice", "--adjustment=-20", filepath.Join(programs, "osctl-eventd"), "--bus", m.bus.Address(), "--state-dir", m.state)
	m.eventd = daemontest.Run(m.t, cmd, (*exec.Cmd).Start, m.bus.Address())
	m.eventd.WaitForService(m.t)
	m.client = m.eventd.Client(m.t)
}

func (m *machine) startService() {
	m.t.Helper()
	m.service = m.host.PodmanCommand(m.t, "system", "service", "--time=0", "unix://"+m.socket)
	if err := m.service.Start(); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) stopService() {
	_ = m.service.Process.Kill()
	_ = m.service.Wait()
}

// podman runs a command of podman, and returns its output.
func (m *machine) podman(args ...string) string {
	m.t.Helper()
	cmd := m.host.PodmanCommand(m.t, args...)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		m.t.Fatalf("podman %v: %v: %s", args, err, &stderr)
	}
	return strings.TrimSpace(out.String())
}

// run starts a container, and returns its id.
func (m *machine) run(name string, more ...string) string {
	m.t.Helper()
	id := m.create(name, more...)
	m.podman("start", id)
	return id
}

// create creates a container, and returns its id.
func (m *machine) create(name string, more ...string) string {
	m.t.Helper()
	args := []string{"create", "--privileged", "--name=" + name, "--label=app=" + name, "--pids-limit=-1", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"}
	return m.podman(append(args, more...)...)
}

// wantName waits until the service lists a container with a name, or not at all for "".
func (m *machine) wantName(id, want string) {
	m.t.Helper()
	filter := apitest.Only(m.t, "pool", "podman", "id", id)
	apitest.Eventually(m.t, "the name of "+id[:12]+" is "+want, func() bool {
		rows, _, err := m.client.Containers(m.t.Context(), filter)
		if err != nil {
			m.t.Fatal(err)
		}
		return len(rows) == 1 && rows[0].Name == want && rows[0].Image == cttest.PodmanImage || want == "" && len(rows) == 0
	})
}

// history returns the events of a type about a container, as the values of some options.
func (m *machine) history(typ, id string, options ...string) (texts []string) {
	m.t.Helper()
	_, events, err := m.client.WaitEvents(m.t.Context(), hub.CursorOldest, apitest.Only(m.t, "type", typ, "pool", "podman", "id", id), 0, 0)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, e := range events {
		var text []string
		for _, o := range options {
			v, _ := e.Options.Get(o)
			text = append(text, strings.Trim(string(v.AppendJSON(nil)), `"`))
		}
		texts = append(texts, strings.Join(text, " "))
	}
	return texts
}

// wantHistory waits until exactly these events are in the history.
func (m *machine) wantHistory(typ, id string, options []string, want ...string) {
	m.t.Helper()
	apitest.Eventually(m.t, typ+" "+strings.Join(want, ", "), func() bool {
		got := m.history(typ, id, options...)
		if len(got) > len(want) {
			m.t.Fatalf("%s of %s is %q, want %q", typ, id[:12], got, want)
		}
		return strings.Join(got, ",") == strings.Join(want, ",")
	})
}

var (
	exitOptions = []string{"exit_code", "ct_name"}
	dbOptions   = []string{"action", "ct_name"}
)

// TestPodman follows containers of a real podman through their lives.
func TestPodman(t *testing.T) {
	m := newMachine(t)
	bridge := m.launchBridge()
	web := m.create("web", "--health-cmd=test -e /healthy", "--health-interval=disable", cttest.PodmanImage, "/bin/sleep", "100000")
	m.wantName(web, "web")
	m.wantHistory(hub.TypeDB, web, dbOptions, "add web")
	m.podman("start", "web") // all events of the start have the name
	m.wantHistory(hub.TypeState, web, []string{"state", "ct_name"}, "running web")
	ctl := exec.Command(filepath.Join(programs, "osctl-eventctl"), "--bus", m.bus.Address(), "wait", "podman:web/eth0", "up", "--timeout", "1m")
	if out, err := ctl.CombinedOutput(); err != nil || string(out) != "up\n" {
		t.Errorf("wait podman:web/eth0 up: %s%v", out, err)
	}
	m.podman("rename", "web", "web2")
	m.wantName(web, "web2")
	_ = m.host.PodmanCommand(t, "healthcheck", "run", "web2").Run() // fails, as the check does
	m.wantHistory(hub.TypeHealth, web, []string{"health", "ct_name"}, "starting web2")
	m.podman("kill", "web2")
	m.wantHistory(hub.TypeExit, web, exitOptions, "137 web2")
	m.podman("start", "web2")
	m.podman("stop", "--time=0", "web2")
	m.wantHistory(hub.TypeExit, web, exitOptions, "137 web2", "137 web2")
	// The service of podman is restarted.
	m.stopService()
	once := m.run("once", cttest.PodmanImage, "/bin/sh", "-c", "exit 3")
	m.podman("wait", "once")
	taken := m.run("web", cttest.PodmanImage, "/bin/sleep", "100000") // the first name of web2
	m.startService()
	m.wantName(taken, "web")
	m.wantHistory(hub.TypeExit, once, exitOptions, "3 once")
	// The bridge and osctl-eventd are killed.
	bridge.Kill()
	m.podman("rm", "--force", "--time=0", "web2")
	m.eventd.Kill()
	m.startEventd()
	m.wantName(web, "web2")
	launch(t, m.args...)
	m.wantName(web, "")
	m.wantHistory(hub.TypeDB, web, dbOptions, "add web", "remove web2")
	m.eventd.Kill()
	m.podman("rm", "--force", "--time=0", "web")
	m.startEventd()
	m.wantName(taken, "")
	m.wantHistory(hub.TypeExit, taken, exitOptions, "137 web")
	m.wantHistory(hub.TypeInfo, taken, []string{"name"}, "web")
	m.wantHistory(hub.TypeInfo, web, []string{"name"}, "web", "web2")
}

// TestKilledAtAnyInstant kills the bridge at random times while containers start and end, and checks that each
// exit is reported once, with its code.
func TestKilledAtAnyInstant(t *testing.T) {
	m := newMachine(t)
	exits := map[string]string{}
	kills := daemontest.Kills(t, 5)
	m.launchBridge().Kill() // it does not report what happened before its first run
	for i := range kills {
		bridge := launch(t, m.args...)
		killed := make(chan struct{})
		time.AfterFunc(time.Duration(rand.Int64N(int64(time.Second))), func() {
			defer close(killed)
			bridge.Kill()
		})
		name := fmt.Sprint("ct", i)
		exits[m.run(name, cttest.PodmanImage, "/bin/sh", "-c", fmt.Sprint("exit ", i%256))] = fmt.Sprint(i%256, " ", name)
		<-killed
	}
	launch(t, m.args...)
	last := m.run("last", cttest.PodmanImage, "/bin/sleep", "100000")
	m.wantName(last, "last")
	for id, want := range exits {
		m.wantHistory(hub.TypeExit, id, exitOptions, want)
	}
	m.podman("rm", "--force", "--time=0", "last")
	m.wantHistory(hub.TypeDB, last, dbOptions, "add last", "remove last") // follows the events that podman sends again
	for id, want := range exits {
		m.wantHistory(hub.TypeExit, id, exitOptions, want)
		m.wantHistory(hub.TypeDB, id, dbOptions, "add "+strings.Fields(want)[1])
	}
}

// TestDaemonStaysSmall checks that only the bridge contains docker's client.
func TestDaemonStaysSmall(t *testing.T) {
	for program, want := range map[string]bool{"osctl-eventd": false, "osctl-eventctl": false, "osctl-eventd-runtimes": true} {
		info, err := buildinfo.ReadFile(filepath.Join(programs, program))
		if err != nil {
			t.Fatal(err)
		}
		has := false
		for _, dep := range info.Deps {
			has = has || strings.HasPrefix(dep.Path, "github.com/moby/") || strings.HasPrefix(dep.Path, "go.opentelemetry.io/")
		}
		if has != want {
			t.Errorf("%s has modules of docker's client: %v", program, has)
		}
	}
}
